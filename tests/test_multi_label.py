"""Several classes at once: labels that are sets, right only as a whole."""

import itertools

import keras
import numpy as np
import pytest
from backends import BACKEND, FEW_STEPS, JIT
from keras import ops

import keras_ram
from keras_ram import guesses, reinforce
from keras_ram.stopping import stop_when_sure

SETS = np.array(list(itertools.product([0, 1], repeat=3)))  # all of three classes
IMAGES = np.random.default_rng(0).uniform(size=(6, 8, 8, 1)).astype("float32")
LABELS = SETS[[0, 1, 3, 7, 4, 6]]
NAMES = ["cat", "dog", "great tit"]


@pytest.fixture
def model(make_model):
    model = make_model(num_classes=3, class_names=NAMES, multi_label=True)
    model.compile(**FEW_STEPS)
    return model


def numpy(values):
    return keras.tree.map_structure(ops.convert_to_numpy, values)


def probabilities_of_sets(logits):
    """Of each of `SETS`, multiplied out: `(n, 8)`."""
    there = 1 / (1 + np.exp(-np.asarray(logits, "float64")))[:, None]
    return np.where(SETS, there, 1 - there).prod(axis=2)


def test_a_set_is_guessed_as_a_whole(rng):
    logits = rng.normal(scale=2, size=(50, 3)).astype("float32")
    every = probabilities_of_sets(logits)
    np.testing.assert_allclose(every.sum(axis=1), 1)
    best = numpy(guesses.best_guess(logits, True))
    np.testing.assert_array_equal(best, SETS[every.argmax(axis=1)])
    confidence = guesses.confidence(logits, True)
    np.testing.assert_allclose(numpy(confidence), every.max(axis=1), rtol=1e-5)
    for index, labels in enumerate(SETS):
        labels = np.tile(labels, (50, 1))
        reward = numpy(reinforce.probability_reward(labels, logits))
        np.testing.assert_allclose(reward, every[:, index], rtol=1e-5)
        log_probs = numpy(reinforce.label_log_probs(labels, logits))
        np.testing.assert_allclose(log_probs, np.log(every[:, index]), rtol=1e-5)
        right = numpy(reinforce.accuracy_reward(labels, SETS[every.argmax(axis=1)]))
        np.testing.assert_array_equal(right, every.argmax(axis=1) == index)


def test_logits_far_out_have_finite_rewards():
    logits, labels = np.full((1, 3), 1e4, "float32"), np.array([[0, 1, 1]])
    assert numpy(reinforce.label_log_probs(labels, logits)) == [-1e4]
    assert numpy(guesses.confidence(logits, True)) == [1]


def test_draws_have_the_probabilities_of_sets():
    logits = np.array([[1.0, -0.5, 0.0]], "float32")
    seed = keras.random.SeedGenerator(0)
    drawn = numpy(guesses.draw_guess(np.repeat(logits, 20_000, axis=0), True, seed))
    found = [(drawn == labels).all(axis=1).mean() for labels in SETS]
    # Five standard deviations of a share.
    np.testing.assert_allclose(found, probabilities_of_sets(logits)[0], atol=0.018)


@pytest.mark.parametrize("learning", ["hybrid", "reinforce"])
def test_losses_by_hand(learning, make_model, monkeypatch):
    """The logged numbers, from a rollout with the same samples."""
    model = make_model(num_classes=3, multi_label=True, location_stddev=0.3)
    model.classifier.bias.assign([0.3, -0.2, 0.1])
    reward = "accuracy" if learning == "reinforce" else "probability"
    model.compile(
        keras.optimizers.SGD(0.0),
        learning=learning,
        reward=reward,
        baseline=None,
        metrics=["accuracy", "binary_accuracy", "binary_crossentropy"],
        **FEW_STEPS if BACKEND == "tensorflow" else {"jit_compile": JIT},
    )
    monkeypatch.setattr(
        keras.random, "uniform", lambda shape, *_, **__: ops.zeros(shape) + 0.5
    )
    state = model.location_sampler.seed_generator.state
    state.assign([7, 0])
    rollout = numpy(model.rollout(IMAGES, training=True))
    logits = rollout["logits"][:, -1]
    labels = np.where([[0], [1], [0], [1], [0], [0]], LABELS, logits > 0)
    state.assign([7, 0])
    logs = model.train_on_batch(IMAGES, labels, return_dict=True)
    of_truth = probabilities_of_sets(logits)[np.arange(6), labels @ [4, 2, 1]]
    single = (logits > 0) == labels
    right = single.all(axis=1)
    log_probs = rollout["location_log_probs"].sum(axis=1)
    rewards = of_truth
    if learning == "reinforce":  # above one half is what a draw of 0.5 gives
        rewards = right
        log_probs = log_probs + np.log(probabilities_of_sets(logits).max(axis=1))
    expected = {
        "loss": -np.log(of_truth).mean(),
        "binary_crossentropy": -np.log(of_truth).mean() / 3,
        "accuracy": right.mean(),
        "binary_accuracy": single.mean(),
        "reward": rewards.mean(),
        "reinforce_loss": -(log_probs * rewards).mean(),
        "baseline_loss": (rewards**2.0).mean(),
    }
    assert set(logs) == set(expected) and 0 < right.mean() < 1
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-4, err_msg=name)


def test_it_is_evaluated_saved_and_goes_on(model, tmp_path):
    model.compile(
        optimizer="sgd",
        learning="hybrid",
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.BinaryAccuracy],
        jit_compile=JIT,
    )
    model.fit(IMAGES, LABELS, verbose=0)
    logs = model.evaluate(IMAGES, LABELS.astype(bool), verbose=0, return_dict=True)
    logits = model.predict(IMAGES, verbose=0)
    right = ((logits > 0) == LABELS).all(axis=1).mean()
    assert logs["accuracy"] == logs["reward"] == pytest.approx(right)
    model.save(tmp_path / "m.keras")
    restored = keras.saving.load_model(tmp_path / "m.keras")
    assert restored.multi_label is True
    again = restored.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    assert again == pytest.approx(logs, abs=1e-6)
    restored.fit(IMAGES, LABELS, verbose=0)
    with pytest.raises(AttributeError, match="`multi_label` cannot be changed"):
        restored.multi_label = False
    with pytest.raises(ValueError, match="`multi_label` must be one of False, True"):
        keras_ram.RAM(3, multi_label="yes")


def test_a_file_of_before_there_were_sets(make_model):
    config = make_model().get_config()
    assert config.pop("multi_label") is False
    assert keras_ram.RAM.from_config(config).multi_label is False


@pytest.mark.parametrize(
    "labels,text",
    [
        (LABELS[:, 0], r"must have shape \(batch, 3\), 1 for each.*shape=\(6,\)"),
        (LABELS[:, :1], r"must have shape \(batch, 3\), 1 for each"),
        (LABELS[:5], "as many labels as images"),
        (2 * LABELS, "0 for the others. Received: 2"),
        (LABELS - 0.5, "0 for the others. Received: -0.5"),
        (LABELS.astype(str), "Labels must be numbers"),
    ],
)
def test_labels_that_are_no_sets(labels, text, model):
    ways = [
        model.fit,
        model.evaluate,
        model.train_on_batch,
        lambda x, y: model.fit(IMAGES, LABELS, validation_data=(x, y), verbose=0),
        lambda x, y: keras_ram.stopping_curve(model, x, y),
        lambda x, y: keras_ram.vital_signs(model, x, y),
        lambda x, y: keras_ram.plot_glimpses(model, x, y),
    ]
    for way in ways:
        with pytest.raises(ValueError, match=text):
            way(IMAGES, labels)


def test_a_later_batch_cannot_teach_what_is_no_set(model):
    def batches():
        yield IMAGES, LABELS
        yield IMAGES, LABELS + 1

    with pytest.raises(RuntimeError, match="NaN or Inf loss"):
        model.fit(batches(), shuffle=False, verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_sets_for_a_model_of_one_class(make_model):
    model = make_model(num_classes=3)
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True), **FEW_STEPS)
    with pytest.raises(ValueError, match=r"`RAM\(..., multi_label=True\)`"):
        model.fit(IMAGES, LABELS, verbose=0)
    with pytest.raises(ValueError, match="must go with `multi_label=False`"):
        model.compile(loss="binary_crossentropy")


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        keras.losses.CategoricalCrossentropy(from_logits=True),
        keras.losses.CategoricalHinge,
        keras.losses.categorical_focal_crossentropy,
    ],
)
def test_losses_of_one_class_are_refused(loss, model):
    with pytest.raises(ValueError, match="must go with `multi_label=True`, as binary"):
        model.compile(loss=loss)


def test_losses_on_probabilities_are_refused(model):
    with pytest.raises(ValueError, match="or one of binary_crossentropy"):
        model.compile(loss=keras.losses.BinaryCrossentropy())


def test_class_weights_are_refused(model):
    for way in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match="Pass a `sample_weight`"):
            way(IMAGES, LABELS, class_weight={0: 2.0})


@pytest.mark.parametrize(
    "metric,text",
    [
        ("sparse_categorical_accuracy", "is one of single classes"),
        (keras.metrics.TopKCategoricalAccuracy(2), "is one of single classes"),
        (keras.metrics.BinaryAccuracy(), r"keras.ops.sigmoid\(logits\)"),
        (keras.metrics.F1Score(threshold=0.5), "expects probabilities"),
    ],
)
def test_metrics_that_mean_nothing_are_told_of(metric, text, model):
    with pytest.warns(UserWarning, match=text):
        model.compile(metrics=[metric])


def test_it_stops_when_the_whole_set_is_sure(model):
    whole = numpy(model.rollout(IMAGES))
    sure = probabilities_of_sets(whole["logits"].reshape(-1, 3)).max(axis=1)
    sure = sure.reshape(6, 3)
    model.stop_confidence = float(np.median(sure[:, :2]))
    expected = [1 + np.argmax(s >= model.stop_confidence) for s in sure]
    expected = np.where((sure >= model.stop_confidence).any(axis=1), expected, 3)
    assert 1 < expected.mean() < 3
    seen = numpy(model.decide(IMAGES))
    np.testing.assert_array_equal(seen["num_glimpses"], expected)
    alone = numpy(stop_when_sure(whole, model.stop_confidence, multi_label=True))
    np.testing.assert_allclose(seen["logits"], alone["logits"], atol=1e-5)


def test_the_curve_against_the_stop_itself(model):
    labels = numpy(model.rollout(IMAGES))["logits"][:, 1] > 0
    labels[0] = ~labels[0]
    curve = keras_ram.stopping_curve(model, IMAGES, labels, batch_size=4)
    for index in (0, 30, 101):
        model.stop_confidence = curve["confidence"][index]
        seen = numpy(model.decide(IMAGES))
        wrong = ((seen["logits"][:, -1] > 0) != labels).any(axis=1).mean()
        assert curve["error"][index] == pytest.approx(wrong)
        taken = seen["num_glimpses"].mean()
        assert curve["num_glimpses"][index] == pytest.approx(taken)


def test_answers_name_all_that_is_there(model):
    logits = numpy(model.rollout(IMAGES))["logits"][:, -1]
    there = 1 / (1 + np.exp(-logits))
    for i, answer in enumerate(model.classify(IMAGES)):
        assert answer["classes"] == [NAMES[k] for k in range(3) if there[i, k] > 0.5]
        assert answer["probabilities"] == pytest.approx(
            dict(zip(NAMES, there[i], strict=True)), abs=1e-5
        )
        whole = np.maximum(there[i], 1 - there[i]).prod()
        assert answer["probability"] == pytest.approx(whole, abs=1e-5)


def test_pictures_show_sets(model):
    model.classifier.kernel.assign(np.zeros((16, 3)))
    model.classifier.bias.assign([2.0, -2.0, 2.0])
    figure = keras_ram.plot_glimpses(model, IMAGES[:3], SETS[[5, 4, 0]])
    texts = [(a.get_title(), a.title.get_color()) for a in figure.axes]
    assert [text for text, _ in texts[::4]] == [
        "image of cat, great tit",
        "image of cat",
        "image of nothing",
    ]
    # 1 / (1 + exp(-2)) is 0.881, and its cube 0.683.
    guess = "3: cat, great tit (68%)"
    assert texts[3::4] == [(guess, "green"), (guess, "red"), (guess, "red")]
    names = ["road works", "dog", "traffic light"]  # too long for one line
    figure = keras_ram.plot_glimpses(model, IMAGES[:1], SETS[5:6], names)
    assert figure.axes[0].get_title() == "image of road works,\ntraffic light"


def test_signs_count_whole_sets(model):
    model.compile(learning="hybrid")
    model.classifier.kernel.assign(np.zeros((16, 3)))
    model.classifier.bias.assign([2.0, -2.0, 2.0])
    signs = keras_ram.vital_signs(model, IMAGES, SETS[[5, 5, 4, 7, 0, 5]])
    assert signs["reward_spread"] == signs["reward_lost"] == 0


def test_a_preset_learns_sets(make_model, tmp_path):
    one = make_model(num_classes=3, class_names=NAMES, stop_confidence=0.9)
    one.save(tmp_path / "m.keras")
    load = keras_ram.RAM.from_preset
    assert load(tmp_path / "m.keras", multi_label=False).stop_confidence == 0.9
    several = load(tmp_path / "m.keras", multi_label=True, class_names=NAMES)
    assert several.multi_label and several.stop_confidence is None
    np.testing.assert_array_equal(
        several.glimpse_net.get_weights()[0], one.glimpse_net.get_weights()[0]
    )
    assert np.abs(several.get_weights()[-4] - one.get_weights()[-4]).max() > 0
    several.save(tmp_path / "s.keras")
    more = load(tmp_path / "s.keras", num_classes=7)
    assert more.multi_label and more(IMAGES).shape == (6, 7)


def two_digits(images, labels, number):
    """Pairs of digits side by side, and the set of both."""
    pairs = np.random.default_rng(0).integers(0, len(images), (2, number))
    sets = np.eye(10, dtype=int)[labels[pairs]].max(axis=0)
    return np.concatenate(images[pairs], axis=2), sets


@pytest.mark.slow
@pytest.mark.parametrize("learning", ["hybrid", "joint"])
def test_two_digits_are_learned(learning, digits):
    train, validation, _ = digits
    model = keras_ram.RAM(
        10,
        num_glimpses=3,
        scales=(1, 2),
        core_units=128,
        glimpse_units=128,
        initial_location="center",
        multi_label=True,
        seed=0,
    )
    model.compile(keras.optimizers.Adam(5e-3), learning=learning)
    model.fit(*two_digits(*train, 4000), batch_size=64, epochs=8, verbose=0)
    held_out = two_digits(*validation, 500)
    logs = model.evaluate(*held_out, verbose=0, return_dict=True)
    assert logs["accuracy"] > 0.4  # the most frequent set: less than 0.04
