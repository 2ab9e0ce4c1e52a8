"""What the model computes, and what it takes."""

import json

import keras
import numpy as np
import pytest
from backends import BACKEND, FEW_STEPS, JIT
from keras import ops

from keras_ram import RAM


def numpy(tensors):
    return {name: ops.convert_to_numpy(value) for name, value in tensors.items()}


def test_rollout_follows_the_paper_step_by_step(make_model, batch):
    """The same parts, composed by hand in NumPy where they are not layers."""
    images, _ = batch
    model = make_model(scales=(1, 2), location_units=5)
    w = {v.path.split("/", 1)[1]: ops.convert_to_numpy(v) for v in model.core.weights}
    kernel, recurrent_kernel, bias = w.values()
    location = np.zeros((len(images), 2), "float32")
    hidden = np.zeros((len(images), 16), "float32")
    rollout = numpy(model.rollout(images))
    for step in range(3):
        np.testing.assert_allclose(rollout["locations"][:, step], location, atol=1e-5)
        glimpse = model.glimpse_net(model.glimpse_sensor(images, location), location)
        hidden = np.maximum(
            ops.convert_to_numpy(glimpse) @ kernel + hidden @ recurrent_kernel + bias, 0
        )
        logits = ops.convert_to_numpy(model.classifier(hidden))
        expected = ops.convert_to_numpy(model.baseline(hidden))[:, 0]
        np.testing.assert_allclose(rollout["logits"][:, step], logits, atol=1e-5)
        np.testing.assert_allclose(rollout["baselines"][:, step], expected, atol=1e-5)
        look = numpy(model.location_sampler(hidden))
        if step < 2:
            np.testing.assert_allclose(
                rollout["location_log_probs"][:, step], look["log_prob"], atol=1e-5
            )
        location = look["location"]
    logits = ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(logits, rollout["logits"][:, -1], atol=1e-6)


@pytest.mark.parametrize("batch_size,steps", [(8, None), (None, None), (None, 3)])
def test_predictions_keep_the_order_of_the_images(batch_size, steps, make_model, batch):
    images = batch[0][:29].astype("float64")  # no whole number of batches
    model = make_model()
    logits = model.predict(images, batch_size, steps=steps, verbose=0)
    expected = ops.convert_to_numpy(model(images))
    assert np.ptp(expected, axis=0).min() > 1e-3
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_training_rollouts_explore(make_model, batch):
    images, _ = batch
    model = make_model(location_stddev=0.05)
    locations = ops.convert_to_numpy(model.rollout(images, training=True)["locations"])
    again = ops.convert_to_numpy(model.rollout(images, training=True)["locations"])
    assert np.abs(locations - again).min() > 0
    assert np.abs(locations).max() <= 1
    centred = make_model(initial_location="center")
    first = centred.rollout(images, training=True)["locations"][:, 0]
    np.testing.assert_array_equal(first, np.zeros((len(images), 2)))


def test_one_glimpse(make_model, batch):
    images, labels = batch
    model = make_model(num_glimpses=1)
    assert model.rollout(images)["location_log_probs"].shape == (64, 0)
    for learning in ("joint", "hybrid", "reinforce"):
        model.compile(learning=learning, **FEW_STEPS)
        model.fit(images, labels, verbose=0)


def test_is_not_quantized_into_what_cannot_be_loaded(make_model):
    with pytest.raises(NotImplementedError, match="quantize the ONNX file"):
        make_model().quantize("int8")


@pytest.mark.parametrize("size", [(28, 28), (60, 60), (37, 91), (1, 1)])
def test_one_model_takes_images_of_every_size(size, make_model, rng):
    model = make_model()
    images = rng.uniform(size=(3, *size, 1)).astype("float32")
    logits = model.predict(images, verbose=0)
    assert logits.shape == (3, 10)
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(logits, model.predict(images, verbose=0))


@pytest.mark.parametrize("shares", [(), (0.5, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_no_image_at_all(shares, dtype, make_model):
    model = make_model(scales=(1, 2), shares=shares)
    rollout = model.rollout(np.zeros((0, 40, 30, 1), dtype))
    assert rollout["logits"].shape == (0, 3, 10)
    assert rollout["locations"].shape == (0, 3, 2)


def test_weights_do_not_depend_on_the_size_of_the_image():
    counts = set()
    for size in (28, 100):
        model = RAM(10)
        model.build((None, size, size, 1))
        counts.add(model.count_params())
    assert len(counts) == 1


def test_bytes_are_scaled_by_the_model(make_model, rng):
    model = make_model()
    images = rng.integers(0, 256, (5, 20, 20, 1), dtype="uint8")
    floats = (images / 255).astype("float32")
    np.testing.assert_allclose(
        model.predict(images, verbose=0), model.predict(floats, verbose=0), atol=1e-5
    )


def test_same_seed_same_weights(make_model, batch):
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(4)
        model = make_model(seed=4)
        model.compile(jit_compile=JIT)
        model.fit(*batch, epochs=2, verbose=0)
        weights.append(model.get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_seed_decides_what_is_drawn(make_model, batch):
    first = make_model().get_weights()

    def train(seed):
        model = make_model(seed=seed)  # takes other initial weights each time
        model.set_weights(first)
        model.compile(**FEW_STEPS)
        # Every argument has its place, as in Keras; the last one is `shuffle`.
        model.fit(*batch, 32, 1, 0, None, 0.0, None, False)
        return np.concatenate([np.ravel(weight) for weight in model.get_weights()])

    trained = train(4)
    np.testing.assert_array_equal(train(4), trained)
    assert np.max(np.abs(train(5) - trained)) > 1e-4


def test_booleans_are_zeros_and_ones(make_model, rng):
    images = rng.uniform(size=(5, 20, 20, 1)) > 0.5
    model = make_model()
    expected = model(images.astype("float32"))
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(logits) for logits in (model(images), expected)),
        atol=1e-6,
    )


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_symbolic_images(policy, make_model, batch):
    model = make_model(dtype=policy)
    images = keras.Input((None, None, 1))
    symbols = model.rollout(images)
    outputs = keras.Model(images, symbols)(batch[0])
    for name, symbol in symbols.items():
        assert symbol.dtype == ("int32" if name == "num_glimpses" else "float32")
        assert symbol.shape == (None, *outputs[name].shape[1:])
    np.testing.assert_array_equal(
        numpy(outputs)["logits"], numpy(model.rollout(batch[0]))["logits"]
    )
    logits = model(images)
    assert (logits.dtype, logits.shape) == ("float32", (None, 10))


def test_frozen_parts_stay_frozen(make_model, batch, tmp_path):
    model = make_model(core="lstm")
    model.glimpse_net.trainable = model.core.trainable = False
    model.compile(**FEW_STEPS)
    model.fit(*batch, verbose=0)
    model.save(tmp_path / "m.keras")
    restored = keras.saving.load_model(tmp_path / "m.keras")
    before = [weight.trainable for weight in model.weights]
    assert any(before) and not all(before)
    assert [weight.trainable for weight in restored.weights] == before
    # The optimizer goes on from what it had.
    for one, other in zip(
        model.optimizer.variables, restored.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(one), ops.convert_to_numpy(other)
        )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy, make_model, batch, tmp_path):
    images, labels = batch
    model = make_model(
        num_glimpses=2, patch_size=8, initial_location="center", dtype=policy
    )
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=JIT)
    history = model.fit(images, labels, batch_size=16, epochs=20, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert model.core.compute_dtype == policy.removeprefix("mixed_")
    for name, value in model.rollout(images).items():
        dtype = "int32" if name == "num_glimpses" else "float32"
        assert keras.backend.standardize_dtype(value.dtype) == dtype
    model.save(tmp_path / "m.keras")
    restored = keras.saving.load_model(tmp_path / "m.keras")
    assert restored.dtype_policy.name == policy
    np.testing.assert_array_equal(
        restored.predict(images, verbose=0), model.predict(images, verbose=0)
    )


def test_config_round_trip(make_model):
    options = {
        "num_classes": 7,
        "num_glimpses": 4,
        "patch_size": 5,
        "scales": (1, 2.5),
        "shares": (0.5,),
        "filters": (4,),
        "location_units": 6,
        "location_stddev": 0.2,
        "initial_location": "center",
        "location_step": 0.25,
        "relative_locations": True,
        "inhibition_of_return": True,
        "seed": 11,
        "name": "eye",
    }
    model = make_model(core="lstm", **options)
    config = model.get_config()
    assert {name: config[name] for name in options} == options
    restored = RAM.from_config(config)
    restored.build((None, 8, 8, 1))
    assert restored.get_config() == config
    assert [w.shape for w in restored.weights] == [w.shape for w in model.weights]


def test_numbers_of_numpy_become_those_of_python(make_model):
    model = make_model(
        num_classes=np.int64(3),
        patch_size=np.int32(8),
        scales=np.array([1, 2.5]),
        filters=np.array([4, 5]),
        location_stddev=np.float64(0.2),
    )
    config = json.loads(json.dumps(model.get_config()))
    assert config["num_classes"] == 3
    assert config["scales"] == [1, 2.5]


def test_a_frozen_layer_within_a_part_stays_frozen(make_model, batch, tmp_path):
    model = make_model(patch_size=8, filters=(4, 4))
    model.glimpse_net.convolutions[0].trainable = False
    model.location_sampler.mean.bias.trainable = False
    model.compile(**FEW_STEPS)
    model.fit(*batch, verbose=0)
    model.save(tmp_path / "m.keras")
    restored = keras.saving.load_model(tmp_path / "m.keras")
    flags = [[w.trainable for w in m.weights] for m in (model, restored)]
    assert flags[0] == flags[1]
    assert int(restored.optimizer.iterations) == 2
    kernel = restored.glimpse_net.convolutions[0].kernel
    before = ops.convert_to_numpy(kernel).copy()
    restored.fit(*batch, verbose=0)
    np.testing.assert_array_equal(ops.convert_to_numpy(kernel), before)


@pytest.mark.parametrize(
    "built,changes", [(False, {}), (True, {}), (True, {"filters": (4,), "core": "gru"})]
)
def test_a_config_freezes_no_other_weight(built, changes, make_model):
    """Weights are known by their number, and there may be others of it."""
    model = make_model() if built else RAM(10)
    restored = RAM.from_config({**model.get_config(), **changes})
    restored.build((None, 8, 8, 1))
    frozen = {weight.name for weight in restored.weights if not weight.trainable}
    assert frozen == {"mean_reward", "stddev", "roams"}


def test_another_architecture_tells_what_it_does_not_freeze(make_model):
    model = make_model()
    model.glimpse_net.what.trainable = False
    other = RAM.from_config({**model.get_config(), "location_units": 4})
    with pytest.warns(UserWarning, match="Only whole parts are frozen"):
        other.build((None, 8, 8, 1))


def test_adapters_leave_the_others_as_they_are(make_model, batch, tmp_path):
    model = make_model()
    model.glimpse_net.what.enable_lora(2)
    model.save(tmp_path / "m.keras")
    restored = keras.saving.load_model(tmp_path / "m.keras")
    frozen = [weight.name for weight in restored.weights if not weight.trainable]
    assert sorted(frozen) == ["kernel", "mean_reward", "roams", "stddev"]
    assert not restored.glimpse_net.what.kernel.trainable


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64, and warns of it")
def test_float64(make_model, batch):
    double = make_model(dtype="float64")
    single = make_model()
    double.set_weights(single.get_weights())
    np.testing.assert_allclose(
        ops.convert_to_numpy(double(batch[0])),
        ops.convert_to_numpy(single(batch[0])),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.parametrize("size", [24, 200])
def test_episodes_lie_side_by_side(size):
    options = {"initial_location": "center", "shares": (0.35, 1), "seed": 3}
    model = RAM(10, 3, 6, (1, 8), **options)
    images = np.random.default_rng(0).integers(0, 255, (2, size, size, 1), "uint8")
    model.build(images.shape)
    seeds = model.location_sampler.seed_generator.state
    begin = keras.ops.convert_to_numpy(seeds)
    episodes = model.rollout(images, training=True, episodes=3)
    seeds.assign(begin)
    repeated = model.rollout(np.repeat(images, 3, axis=0), training=True)
    assert np.ptp(keras.ops.convert_to_numpy(repeated["locations"])[:3, 1]) > 0
    for name, values in repeated.items():
        np.testing.assert_allclose(
            *map(keras.ops.convert_to_numpy, (episodes[name], values)), atol=1e-6
        )
    with pytest.raises(ValueError, match="`episodes` must be"):
        model.rollout(images, episodes=0)
