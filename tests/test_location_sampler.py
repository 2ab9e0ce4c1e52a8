import keras
import numpy as np
import pytest
from backends import gradients_of
from keras import ops

from keras_ram import LocationSampler


def numpy(look):
    return {name: ops.convert_to_numpy(value) for name, value in look.items()}


def test_inference_is_the_mean_and_draws_nothing(rng):
    sampler = LocationSampler(0.2, seed=3)
    hidden = rng.normal(size=(6, 5)).astype("float32")
    state = ops.convert_to_numpy(sampler.seed_generator.state.value)
    look = numpy(sampler(hidden))
    kernel, bias = (ops.convert_to_numpy(weight) for weight in sampler.mean.weights)
    np.testing.assert_allclose(look["mean"], np.tanh(hidden @ kernel + bias), atol=1e-6)
    np.testing.assert_array_equal(look["location"], look["mean"])
    np.testing.assert_array_equal(sampler.seed_generator.state.value, state)
    np.testing.assert_array_equal(sampler.first(6), np.zeros((6, 2)))


def test_relative_to_where_it_looks_now(rng):
    sampler = LocationSampler(0.2, seed=3, relative=True)
    hidden = rng.normal(size=(6, 5)).astype("float32")
    origin = rng.uniform(-1, 1, (6, 2)).astype("float32")
    reach = np.array([[0.5, 2.0]], "float32")
    look = numpy(sampler(hidden, origin=origin, reach=reach))
    kernel, bias = (ops.convert_to_numpy(weight) for weight in sampler.mean.weights)
    mean = origin + reach * np.tanh(hidden @ kernel + bias)
    assert np.abs(mean).max() > 1
    mean = np.clip(mean, -1, 1)
    np.testing.assert_allclose(look["mean"], mean, atol=1e-6)
    np.testing.assert_allclose(look["location"], mean, atol=1e-6)
    sampled = numpy(sampler(hidden, training=True, origin=origin, reach=reach))
    np.testing.assert_allclose(sampled["mean"], mean, atol=1e-6)
    twin = LocationSampler.from_config(sampler.get_config())
    assert twin.relative


def test_a_mean_beyond_the_edge_comes_back():
    sampler = LocationSampler(0.2, relative=True)
    sampler.build((None, 2))
    sampler.mean.set_weights([np.eye(2), np.zeros(2)])

    def log_prob(hidden):
        origin = ops.convert_to_tensor([[0.9, 0.0]])
        mean = sampler(hidden, origin=origin, reach=1.0)["mean"]  # (1, tanh(-2))
        return sampler.log_prob(mean, ops.convert_to_tensor([[0.8, -0.9]]))

    (gradient,) = gradients_of(log_prob, [[2.0, -2.0]])
    errors = np.array([[0.8 - 1, -0.9 - np.tanh(-2)]])
    expected = errors / 0.2**2 * (1 - np.tanh(2) ** 2)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4)


def test_samples_have_the_stated_distribution():
    sampler = LocationSampler(0.1, seed=3)
    look = numpy(sampler(np.zeros((20000, 4)), training=True))
    # The mean of a zero hidden state is zero; standard errors are 7e-4 and 5e-4.
    np.testing.assert_allclose(look["location"].mean(axis=0), 0, atol=3e-3)
    np.testing.assert_allclose(look["location"].std(axis=0), 0.1, atol=2e-3)
    first = ops.convert_to_numpy(sampler.first(20000, training=True))
    assert first.min() < -0.999 and first.max() > 0.999
    np.testing.assert_allclose(first.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(first.var(axis=0), 1 / 3, atol=0.01)


def test_log_prob_by_hand():
    # Within the image, the sample is the location that was returned.
    sampler = LocationSampler(0.1, seed=3)
    look = numpy(sampler(np.zeros((50, 4)), training=True))
    x, y = look["location"].T
    expected = -(x**2 + y**2) / (2 * 0.01) - np.log(2 * np.pi * 0.01)
    np.testing.assert_allclose(look["log_prob"], expected, rtol=1e-5, atol=1e-5)


def test_log_prob_is_of_the_sample_before_clipping():
    # A mean in the corner: most samples fall outside, and are clipped.
    sampler = LocationSampler(0.5, seed=3)
    sampler.build((None, 1))
    sampler.mean.set_weights([np.full((1, 2), 20.0), np.zeros(2)])
    look = numpy(sampler(np.ones((4000, 1)), training=True))
    assert np.abs(look["location"]).max() == 1
    assert (look["location"] == 1).all(axis=1).mean() > 0.2
    # The entropy of the Gaussian, whatever is clipped: standard error 0.016.
    entropy = np.log(2 * np.pi * np.e * 0.25)
    np.testing.assert_allclose(-look["log_prob"].mean(), entropy, atol=0.05)


def test_step_rounds_the_locations_alone(rng):
    free, stepping = (LocationSampler(0.3, step=step, seed=3) for step in (None, 0.25))
    hidden = rng.normal(size=(500, 4)).astype("float32")
    for sampler in (free, stepping):
        sampler.build((None, 4))
    stepping.mean.set_weights(free.mean.get_weights())
    for training in (False, True):
        first, second = (
            ops.convert_to_numpy(sampler.first(500, training=training))
            for sampler in (free, stepping)
        )
        np.testing.assert_array_equal(second, np.round(4 * first) / 4)
        expected, look = (
            numpy(sampler(hidden, training=training)) for sampler in (free, stepping)
        )
        for name in ("mean", "log_prob"):
            np.testing.assert_array_equal(look[name], expected[name])
        rounded = np.round(4 * expected["location"]) / 4
        np.testing.assert_array_equal(look["location"], rounded)


def test_gradients(rng):
    sampler = LocationSampler(0.1, hidden_units=3, seed=3)
    hidden = rng.normal(size=(4, 5)).astype("float32")
    sampler(hidden)
    for name, flows in (("location", False), ("log_prob", True), ("mean", True)):
        (gradient,) = gradients_of(
            lambda states, name=name: sampler(states, training=True)[name], hidden
        )
        assert (np.abs(gradient).max() > 0) == flows


def test_float32_under_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        look = LocationSampler()(np.zeros((2, 3), "float16"), training=True)
    finally:
        keras.config.set_dtype_policy("float32")
    for value in look.values():
        assert keras.backend.standardize_dtype(value.dtype) == "float32"


def test_keras_file_keeps_the_random_state(tmp_path):
    hidden = keras.Input((3,))
    layer = LocationSampler(
        0.1, hidden_units=4, initial_location="center", step=0.5, seed=5
    )
    model = keras.Model(hidden, layer(hidden))
    x = np.ones((2, 3), "float32")
    layer(x, training=True)
    model.save(tmp_path / "sampler.keras")
    expected = numpy(layer(x, training=True))
    restored = keras.saving.load_model(tmp_path / "sampler.keras").layers[-1]
    assert restored.get_config() == layer.get_config()
    for name, value in numpy(restored(x, training=True)).items():
        np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize(
    "options,text",
    [
        ({"stddev": -1.0}, "`stddev` must be positive. Received: stddev=-1.0"),
        ({"stddev": 0}, "`stddev` must be positive"),
        ({"stddev": float("nan")}, "`stddev` must be positive"),
        ({"step": 0}, "`step` must be positive. Received: step=0"),
        ({"step": 2.0}, r"`step` must be in \[0, 1\]. Received: step=2.0"),
        ({"hidden_units": 0}, "`hidden_units` must be an integer of at least 1"),
        (
            {"initial_location": "corner"},
            "`initial_location` must be one of 'random', 'center'. "
            "Received: initial_location='corner'",
        ),
    ],
)
def test_bad_arguments(options, text):
    with pytest.raises(ValueError, match=text):
        LocationSampler(**options)


def test_relative_to_nothing():
    with pytest.raises(ValueError, match="needs `origin` and `reach`"):
        LocationSampler(relative=True)(np.zeros((2, 4), "float32"))
