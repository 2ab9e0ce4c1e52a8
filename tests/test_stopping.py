"""Images that are decided are looked at no longer."""

import keras
import numpy as np
import pytest
from backends import FEW_STEPS, JIT
from keras import ops

import keras_ram
from keras_ram import guesses
from keras_ram.stopping import stop_when_sure


def numpy(values):
    return {name: ops.convert_to_numpy(value) for name, value in values.items()}


def test_the_stop_by_hand():
    # Probabilities of the first of two classes: the sigmoid of twice the logit.
    certain = np.array([[0.0, 2.0, 0.5], [3.0, 0.0, 0.0], [0.1, 0.2, 0.3]])
    logits = np.stack([certain, -certain], axis=-1).astype("float32")
    locations = np.arange(18, dtype="float32").reshape(3, 3, 2)
    rollout = {"logits": logits, "locations": locations}
    stopped = numpy(stop_when_sure(rollout, 0.9))  # reached by logits from 1.1 on
    assert stopped["num_glimpses"].tolist() == [2, 1, 3]
    assert stopped["num_glimpses"].dtype == "int32"
    assert stopped["logits"][:, :, 0].tolist() == pytest.approx(
        np.array([[0, 2, 2], [3, 3, 3], [0.1, 0.2, 0.3]])
    )
    assert stopped["locations"][:, :, 0].tolist() == [
        [0, 2, 2],
        [6, 6, 6],
        [12, 14, 16],
    ]
    whole = numpy(stop_when_sure(rollout, None))
    assert whole["num_glimpses"].tolist() == [3, 3, 3]
    np.testing.assert_array_equal(whole["locations"], locations)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_last_bit_does_not_decide(multi_label):
    """Where a probability is near 1, float32 has it as 1 or as the number before."""
    certain = np.linspace(14, 20, 100, dtype="float32")
    logits = np.stack([certain, -certain, -certain], axis=1)
    assert ops.max(guesses.confidence(logits, multi_label)) == 1
    sure = {
        least: ops.convert_to_numpy(guesses.is_sure(logits, least, multi_label))
        for least in (0.0, 0.9999, 1.0)
    }
    assert sure[0.0].all()
    assert sure[0.9999].all()
    assert not sure[1.0].any()


@pytest.fixture(scope="module")
def trained(make_model, digits):
    """One that is sometimes sure."""
    keras.utils.set_random_seed(0)
    (images, labels), _, _ = digits
    model = make_model(num_glimpses=6, patch_size=6, core_units=32, core="lstm")
    model.compile(keras.optimizers.Adam(1e-2), discount=0.5, **FEW_STEPS)
    model.fit(images[:64], labels[:64], epochs=12, batch_size=16, verbose=0)
    return model


@pytest.fixture
def model(trained):
    copy = type(trained).from_config(trained.get_config())
    copy.build((None, 8, 8, 1))
    copy.set_weights(trained.get_weights())
    copy.compile(**FEW_STEPS)
    return copy


def test_a_stopped_loop_is_a_whole_one_stopped_afterwards(model, batch):
    images, _ = batch
    whole = numpy(model.rollout(images))
    for confidence in (0.0, 0.4, 0.7, 1.0):
        model.stop_confidence = confidence
        expected = numpy(stop_when_sure(whole, confidence))
        seen, rollout = numpy(model.decide(images)), numpy(model.rollout(images))
        for result in (seen, rollout):
            for name in ("num_glimpses", "locations", "logits"):
                np.testing.assert_allclose(result[name], expected[name], atol=1e-5)
        np.testing.assert_allclose(
            model.predict(images, verbose=0),
            expected["logits"][:, -1],
            rtol=0,
            atol=1e-5,
        )
    counts = [
        numpy(stop_when_sure(whole, c))["num_glimpses"].mean() for c in (0.0, 0.7, 1.0)
    ]
    assert counts[0] == 1 < counts[1] < counts[2] == 6


def test_evaluate_tells_the_mean_number(model, batch):
    assert "num_glimpses" not in model.evaluate(*batch, verbose=0, return_dict=True)
    model.stop_confidence = 0.7
    logs = model.evaluate(*batch, 20, verbose=0, return_dict=True)
    taken = numpy(model.rollout(batch[0]))["num_glimpses"]
    assert logs["num_glimpses"] == pytest.approx(taken.mean(), abs=1e-6)
    guesses = model.predict(batch[0], verbose=0).argmax(axis=1)
    assert logs["accuracy"] == pytest.approx(np.mean(guesses == batch[1]))


def test_it_is_saved_and_changed_after_training(model, batch, tmp_path):
    model.compile(jit_compile=JIT)
    whole = model.predict(batch[0], verbose=0)
    model.stop_confidence = 0.7
    stopped = model.predict(batch[0], verbose=0)
    assert np.abs(stopped - whole).max() > 1e-3
    model.save(tmp_path / "m.keras")
    restored = keras.saving.load_model(tmp_path / "m.keras")
    assert restored.stop_confidence == 0.7
    np.testing.assert_allclose(
        restored.predict(batch[0], verbose=0), stopped, rtol=0, atol=1e-5
    )
    model.stop_confidence = None
    np.testing.assert_allclose(
        model.predict(batch[0], verbose=0), whole, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("confidence", [-0.1, 1.1, "sure"])
def test_a_probability_is_asked_for(confidence, make_model):
    with pytest.raises(ValueError, match=r"`stop_confidence` must be in \[0, 1\]"):
        make_model(stop_confidence=confidence)
    with pytest.raises(ValueError, match="`stop_confidence` must be"):
        make_model().stop_confidence = confidence


def test_compiled_with_fixed_shapes(model, batch):
    """XLA cannot let images leave the batch, and gives the same."""
    model.stop_confidence = 0.7
    expected = numpy(model.decide(batch[0]))["logits"][:, -1]
    model.compile(jit_compile=keras.backend.backend() != "torch")
    np.testing.assert_allclose(
        model.predict(batch[0], verbose=0), expected, rtol=0, atol=1e-5
    )


def test_the_curve_against_the_stop_itself(model, batch):
    images, labels = batch
    curve = keras_ram.stopping_curve(model, images, labels, batch_size=24)
    for index in (0, 30, 60, 101):
        model.stop_confidence = curve["confidence"][index]
        seen = numpy(model.decide(images))
        wrong = np.mean(seen["logits"][:, -1].argmax(axis=1) != labels)
        assert curve["error"][index] == pytest.approx(wrong)
        assert curve["num_glimpses"][index] == pytest.approx(
            seen["num_glimpses"].mean()
        )


def test_the_cheapest_confidence_by_hand():
    curve = {
        "confidence": np.array([0.0, 0.5, 0.8, 0.9, 1.0]),
        "error": np.array([0.30, 0.10, 0.13, 0.11, 0.10]),
        "num_glimpses": np.array([1.0, 2.0, 3.0, 4.0, 6.0]),
    }
    chosen = [
        keras_ram.cheapest_confidence(curve, tolerance)
        for tolerance in (0, 0.01, 0.05, 0.2)
    ]
    # As good as with all glimpses, but not between, 0.5 is luck.
    assert chosen == [1.0, 0.9, 0.5, 0.0]
    for tolerance in (-0.1, float("nan")):  # with which nothing is allowed
        with pytest.raises(ValueError, match="`tolerance` must be in"):
            keras_ram.cheapest_confidence(curve, tolerance)
