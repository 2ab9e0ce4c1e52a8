"""What `compile` and `fit` promise."""

import keras
import numpy as np
import pytest
from backends import BACKEND, FEW_STEPS, JIT
from keras import ops
from updates import assert_same, update

import keras_ram

LOGS = {"loss", "accuracy", "reward", "reinforce_loss", "baseline_loss"}


def test_a_bare_rule_learns_digits(make_model, digits):
    (x, y), validation, _ = digits
    model = make_model(patch_size=6, core_units=64, glimpse_units=64)
    model.compile(keras.optimizers.Adam(5e-3), jit_compile=JIT)
    model.fit(x, y, epochs=8, verbose=0)
    logs = model.evaluate(*validation, verbose=0, return_dict=True)
    assert logs["accuracy"] > 0.7  # chance is 0.1


def test_hybrid_learns_digits(make_model, digits):
    (x, y), validation, _ = digits
    model = make_model(patch_size=6, core_units=64, glimpse_units=64)
    model.compile(keras.optimizers.Adam(5e-3), learning="hybrid", jit_compile=JIT)
    history = model.fit(x, y, epochs=20, validation_data=validation, verbose=0).history
    assert set(history) == LOGS | {"val_loss", "val_accuracy", "val_reward"}
    assert history["val_accuracy"][-1] > 0.7  # chance is 0.1
    assert history["val_reward"][-1] == history["val_accuracy"][-1]


def test_reinforce_learns_digits_from_the_reward_alone(make_model, digits):
    (x, y), validation, _ = digits
    model = make_model(
        num_glimpses=2, patch_size=6, core_units=64, glimpse_units=64, what_units=64
    )
    model.compile(
        keras.optimizers.Adam(1.5e-3),
        learning="reinforce",
        baseline="leave_one_out",
        episodes=8,
        jit_compile=JIT,
    )
    model.fit(x, y, batch_size=64, epochs=35, verbose=0)
    logs = model.evaluate(*validation, verbose=0, return_dict=True)
    assert logs["accuracy"] > 0.4  # chance is 0.1


def test_bare_compile_logs_what_the_design_says(make_model, batch):
    model = make_model()
    model.compile()
    history = model.fit(*batch, verbose=0).history
    assert set(history) == LOGS
    logs = model.evaluate(*batch, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "accuracy", "reward"}
    values = model.evaluate(*batch, verbose=0)
    assert sorted(values) == sorted(logs.values())


@pytest.mark.parametrize(
    "discount, guess_weights",
    [(1, None), (0.75, None), (1, (0, 1, 0.5, 2.5)), (0.75, (0, 1, 0.5, 2.5))],
)
def test_losses_by_hand(discount, guess_weights, make_model, batch):
    """The logged numbers, from a rollout with the same samples."""
    images, labels = batch
    model = make_model(num_glimpses=4)
    # XLA draws other samples than the rollout below.
    model.compile(
        keras.optimizers.SGD(0.0),
        learning="hybrid",
        reward="probability",
        baseline=None,
        discount=discount,
        guess_weights=guess_weights,
        jit_compile=JIT,
    )
    state = model.location_sampler.seed_generator.state
    state.assign([7, 0])
    logs = model.train_on_batch(images, labels, return_dict=True)
    state.assign([7, 0])
    rollout = {
        name: ops.convert_to_numpy(value)
        for name, value in model.rollout(images, training=True).items()
    }
    logits = rollout["logits"]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    rewards = probabilities[np.arange(64), :, labels].T  # (T, N)
    last = rewards[3]
    third = (1 - discount) * rewards[2] + discount * last
    second = (1 - discount) * rewards[1] + discount * third
    returns = np.stack([second, third, last], axis=1)
    shares = {1: (0, 0, 0, 1), 0.75: (1 / 4, 1 / 4, 1 / 4, 1 / 4)}[discount]
    if guess_weights:
        shares = (0, 1 / 4, 1 / 8, 5 / 8)
    expected = {
        "loss": -np.dot(shares, np.log(rewards).mean(axis=1)),
        "accuracy": (logits[:, -1].argmax(axis=1) == labels).mean(),
        "reward": last.mean(),
        "baseline_loss": (returns**2).mean(),
        "reinforce_loss": -(rollout["location_log_probs"] * returns).sum(axis=1).mean(),
    }
    assert set(logs) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-4, err_msg=name)


def test_losses_of_layers_are_learned(make_model, batch):
    # One glimpse at the centre: training and evaluation see the same.
    model = make_model(num_glimpses=1, initial_location="center")
    losses = []
    for regularizer in (None, keras.regularizers.L2(1.0)):
        model.glimpse_net.merge.activity_regularizer = regularizer
        model.compile(keras.optimizers.SGD(0.0), **FEW_STEPS)
        history = model.fit(*batch, batch_size=64, verbose=0).history
        logs = model.evaluate(*batch, batch_size=64, verbose=0, return_dict=True)
        np.testing.assert_allclose(history["loss"], logs["loss"], rtol=1e-5)
        losses.append(logs["loss"])
    glimpses = model.glimpse_net(
        model.glimpse_sensor(batch[0], np.zeros((64, 2))), np.zeros((64, 2))
    )
    penalty = np.sum(ops.convert_to_numpy(glimpses) ** 2) / 64
    np.testing.assert_allclose(losses[1] - losses[0], penalty, rtol=1e-5)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has it on the others only")
def test_steps_per_execution(make_model, batch):
    images, labels = batch
    weights = []
    for steps in (1, 4):
        keras.utils.set_random_seed(0)
        model = make_model()
        model.compile(
            keras.optimizers.SGD(0.1), steps_per_execution=steps, jit_compile=JIT
        )
        model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
        weights.append([w.numpy() for w in model.trainable_weights])
    assert_same(*weights, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"jit_compile": JIT},
        pytest.param(
            {"jit_compile": True},
            marks=pytest.mark.skipif(BACKEND == "torch", reason="not promised there"),
        ),
    ],
)
def test_ways_to_run_a_step_agree(options, make_model, batch):
    # One glimpse at the centre: nothing is drawn, and the updates must agree.
    model = make_model(initial_location="center", num_glimpses=1)
    eager = update(model, *batch, {"run_eagerly": True})
    assert_same(update(model, *batch, options), eager, 1e-5)


def test_sampled_rollouts_run_eagerly(make_model, batch):
    model = make_model()
    eager = update(model, *batch, {"run_eagerly": True})
    assert_same(eager, update(model, *batch, {"jit_compile": JIT}), 1e-5)


@pytest.mark.parametrize("baseline", ["learned", "mean", "leave_one_out", None])
def test_episodes(baseline, make_model, batch):
    images, labels = batch
    model = make_model()
    model.compile(baseline=baseline, episodes=3, **FEW_STEPS)
    logs = model.fit(images, labels, verbose=0).history
    assert np.isfinite([values[-1] for values in logs.values()]).all()
    assert (float(model.mean_reward.numpy()) > 0) == (baseline == "mean")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX has no float64 by default")
def test_a_model_trains_beside_another_floatx(make_model, batch):
    model = make_model()
    expected = update(model, *batch)
    try:
        keras.config.set_floatx("float64")
        assert_same(update(model, *batch), expected, 1e-6)
    finally:
        keras.config.set_floatx("float32")


def test_half_precision_scales_the_loss(make_model, batch):
    # One glimpse at the centre: nothing is drawn, and the updates must agree.
    changes = []
    for policy in ("float32", "mixed_float16"):
        keras.utils.set_random_seed(0)
        model = make_model(num_glimpses=1, initial_location="center", dtype=policy)
        optimizer = keras.optimizers.SGD(0.5)
        if policy == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 1024)
        before = model.get_weights()
        model.compile(optimizer, **FEW_STEPS)
        model.fit(*batch, batch_size=64, verbose=0)
        changes.append(
            [b - a for a, b in zip(before, model.get_weights(), strict=True)]
        )
    for exact, half in zip(*changes, strict=True):
        np.testing.assert_allclose(half, exact, rtol=0, atol=0.02 * np.abs(exact).max())


@pytest.mark.slow
def test_real_mnist_is_learned(mnist):
    (x, y), (x_val, y_val), _ = mnist
    assert x.shape == (50000, 28, 28, 1) and x.dtype == "uint8"
    assert len(x_val) == 10000
    model = keras_ram.RAM(10, seed=0)
    model.compile()
    model.fit(x[:32000], y[:32000], batch_size=128, verbose=0)
    logs = model.evaluate(x_val[:2000], y_val[:2000], verbose=0, return_dict=True)
    assert logs["accuracy"] > 0.4  # chance is 0.1


def test_exploration_is_annealed_by_a_callback(make_model, batch, tmp_path):
    """As a learning rate is, in what was compiled as well, and saved with it."""
    model = make_model(initial_location="center", num_glimpses=2)
    rule = {"learning": "hybrid", "baseline": None}
    model.compile(keras.optimizers.SGD(0.0), **rule, jit_compile=JIT)
    seen = []

    def spread(epoch, logs):
        model.location_sampler.stddev = [0.5, 0.01, 0.01][epoch]
        model.location_sampler.initial_location = ["center", "center", "random"][epoch]

    def read(epoch, logs):
        seen.append(abs(logs["reinforce_loss"]))

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=spread, on_epoch_end=read)
    # With zero rate and no baseline the loss is the mean of -log_prob where right.
    model.fit(*batch, batch_size=64, epochs=3, verbose=0, callbacks=[callback])
    assert model.location_sampler.stddev == 0.01
    assert model.get_config()["location_stddev"] == 0.01
    assert seen[1] > 1.5 * seen[0]  # a density 2,500 times as high has a log of 7.8
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    restored = keras.saving.load_model(tmp_path / "m.keras")
    assert restored.location_sampler.stddev == 0.01
    assert restored.location_sampler.initial_location == "random"
    fresh = make_model(num_glimpses=2)
    fresh.load_weights(tmp_path / "m.weights.h5")
    assert fresh.location_sampler.stddev == 0.01


def test_more_glimpses_after_training(make_model, batch):
    model = make_model()
    model.compile(jit_compile=JIT)
    three = model.predict(batch[0], verbose=0)
    model.num_glimpses = 5
    five = model.predict(batch[0], verbose=0)
    assert np.abs(five - three).max() > 1e-4
    expected = ops.convert_to_numpy(model.rollout(batch[0])["logits"])
    np.testing.assert_allclose(five, expected[:, 4], rtol=0, atol=1e-5)
    np.testing.assert_allclose(three, expected[:, 2], rtol=0, atol=1e-5)
    model.fit(*batch, verbose=0)
    model.num_glimpses = 3
    model.fit(*batch, verbose=0)


def test_within_another_model_it_says_what_it_does_not_learn(make_model, batch):
    ram = make_model()
    before = ops.convert_to_numpy(ram.location_sampler.mean.kernel).copy()
    around = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Rescaling(1.0), ram]
    )
    around.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    with pytest.warns(UserWarning) as warned:
        around.fit(*batch, verbose=0)
    texts = [str(warning.message) for warning in warned]
    assert any("trains its location network" in text for text in texts)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ram.location_sampler.mean.kernel), before
    )
