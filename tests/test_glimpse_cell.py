"""One step of attention, by itself."""

import keras
import numpy as np
import pytest
from backends import gradients_of
from keras import ops

from keras_ram import GlimpseCell, GlimpseNet, GlimpseSensor, LocationSampler
from keras_ram.loops import scan


def make_cell(core=None):
    return GlimpseCell(
        GlimpseSensor(4, scales=(1, 2)),
        GlimpseNet(12, 10, 6),
        core or keras.layers.LSTMCell(8),
        LocationSampler(seed=1),
    )


def look(cell, images, steps):
    states, seen = cell.get_initial_state(len(images)), []
    for _ in range(steps):
        found, states = cell(images, states)
        seen.append({n: ops.convert_to_numpy(v) for n, v in found.items()})
    return seen


def test_a_loop_over_the_cell_is_the_rollout(make_model, rng):
    model = make_model(num_glimpses=5, core="gru")
    images = rng.uniform(size=(3, 9, 12, 1)).astype("float32")
    rollout = {n: ops.convert_to_numpy(v) for n, v in model.rollout(images).items()}
    for step, found in enumerate(look(model.glimpse_cell(), images, 5)):
        np.testing.assert_allclose(
            found["location"], rollout["locations"][:, step], rtol=0, atol=1e-6
        )
        logits = model.classifier(found["hidden_state"])
        np.testing.assert_allclose(
            ops.convert_to_numpy(logits), rollout["logits"][:, step], rtol=0, atol=1e-5
        )
        if step < 4:
            np.testing.assert_allclose(
                found["mean"], rollout["location_means"][:, step], rtol=0, atol=1e-6
            )


def test_images_may_change_from_step_to_step(rng):
    cell = make_cell()
    video = rng.uniform(size=(3, 2, 8, 8, 1)).astype("float32")
    states = cell.get_initial_state(2)
    for frame in video:
        found, states = cell(frame, states)
    still = look(cell, video[-1], 3)[-1]
    assert tuple(found["hidden_state"].shape) == (2, 8)
    different = ops.convert_to_numpy(found["hidden_state"]) - still["hidden_state"]
    assert np.abs(different).max() > 1e-3


class Told(GlimpseNet):
    """Keeps what it is told."""

    def call(self, patches, locations):
        self.told = [ops.convert_to_numpy(value) for value in (patches, locations)]
        return super().call(patches, locations)


@pytest.mark.parametrize("scales", [(), (1,)])
def test_a_share_is_as_bright_as_its_brightest_cell(scales):
    net = Told(12, 10, 6)
    sensor = GlimpseSensor(4, scales, shares=(0.5, 1))
    cell = GlimpseCell(sensor, net, keras.layers.LSTMCell(8), LocationSampler())
    images = np.zeros((3, 80, 40, 1), "uint8")
    images[0, 40:50, 20:25] = 200  # half a cell of the whole image, along both sides
    images[1] = 51
    cell(images, cell.get_initial_state(3))
    patches, place = net.told
    half, whole = patches[0, -2:, :, :, 0]
    expected = np.zeros((4, 4))
    expected[2, 2] = 1
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(half, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(patches[1, -2:], 1, rtol=0, atol=1e-6)
    assert not patches[2].any()
    np.testing.assert_allclose(patches[1, : len(scales)], 0.2, rtol=0, atol=1e-6)
    # The size, in logarithms of hundred pixels.
    np.testing.assert_allclose(place[:, 2:], [np.log([0.8, 0.4])] * 3, atol=1e-6)


def test_rows_say_which_image_is_looked_at(rng):
    cell = make_cell()
    images = rng.integers(0, 256, (3, 40, 30, 1)).astype("uint8")
    rows = np.array([2, 0, 2, 1])
    for size in (images.shape[1], 8):  # cut out, and seen whole
        some = images[:, :size, :size]
        location = rng.uniform(-1, 1, (4, 2)).astype("float32")
        states = [location, cell.get_initial_state(4)[1]]
        by_row, _ = cell(cell.prepare(some), states, rows=rows)
        expected, _ = cell(some[rows], states)
        np.testing.assert_allclose(
            *[ops.convert_to_numpy(f["hidden_state"]) for f in (by_row, expected)],
            rtol=0,
            atol=1e-6,
        )


def test_sizes_and_weights():
    core = keras.layers.LSTMCell(8)
    cell = make_cell(core)
    cell.build((None, 8, 8, 3))
    assert cell.state_size == [2, [8, 8]] and cell.output_size == 8
    location, states = cell.get_initial_state(5)
    assert [tuple(s.shape) for s in (location, *states)] == [(5, 2), (5, 8), (5, 8)]
    # What: 2 scales of 4x4 cells in 3 channels.
    assert cell.net.what.kernel.shape == (96, 10)
    assert core.kernel.shape == (12, 32)
    assert cell.sampler.mean.kernel.shape == (8, 2)


def test_config_round_trip(rng, tmp_path):
    images = rng.uniform(size=(2, 8, 8, 1)).astype("float32")
    cell = make_cell()
    seen = look(cell, images, 2)
    copy = GlimpseCell.from_config(cell.get_config())
    copy.build(images.shape)
    copy.set_weights(cell.get_weights())
    for found, again in zip(seen, look(copy, images, 2), strict=True):
        for name in found:
            np.testing.assert_array_equal(found[name], again[name])


def test_a_core_must_be_a_cell():
    with pytest.raises(ValueError, match="`core` must be one of"):
        make_cell(keras.layers.Dense(8))


@pytest.mark.parametrize("length", [1, 5, 11, 12, 13, 23])
def test_a_scan_is_a_loop(length, rng):
    """Written out or compiled, against NumPy."""
    inputs = rng.normal(size=(length, 3)).astype("float32")
    expected, total = [], np.zeros(3, "float32")
    for value in inputs:
        total = 0.5 * total + value
        expected.append(total)

    def step(state, given):
        state = 0.5 * state + given
        return {"total": state, "double": 2 * state}, state

    seen = scan(step, ops.zeros(3), ops.convert_to_tensor(inputs), length)
    for name, factor in (("total", 1), ("double", 2)):
        np.testing.assert_allclose(
            ops.convert_to_numpy(seen[name]),
            factor * np.array(expected).T,
            rtol=1e-6,
            atol=1e-6,
        )
    without = scan(lambda s, _: ({"state": s}, s + 1), ops.zeros(2), None, length)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(without["state"]), [np.arange(length)] * 2
    )


@pytest.mark.parametrize("length", [5, 12, 14])
def test_the_gradient_of_a_scan_is_that_of_a_loop(length, rng):
    given = ops.convert_to_tensor(rng.normal(size=(length, 2, 3)).astype("float32"))
    kernel = rng.normal(size=(3, 3)).astype("float32")

    def compiled(kernel):
        def step(state, given):
            state = ops.tanh(ops.matmul(state, kernel) + given)
            return {"state": state}, state

        return scan(step, ops.zeros((2, 3)), given, length)["state"]

    def written_out(kernel):
        state, seen = ops.zeros((2, 3)), []
        for value in given:
            state = ops.tanh(ops.matmul(state, kernel) + value)
            seen.append(state)
        return ops.stack(seen, axis=1)

    (found,), (expected,) = (gradients_of(f, kernel) for f in (compiled, written_out))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "retina, reach",
    [
        ({"scales": (1, 4)}, (0.25, 0.5)),  # 32 of 128 and of 64 pixels
        ({"scales": (4,), "shares": (0.3,)}, (0.3, 0.5)),
        ({"scales": (), "shares": (1, 2)}, (2, 2)),
    ],
)
def test_a_relative_policy_reaches_as_far_as_the_widest_patch(retina, reach):
    cell = GlimpseCell(
        GlimpseSensor(patch_size=8, **retina),
        GlimpseNet(8, 8, 8),
        keras.layers.GRUCell(4),
        LocationSampler(relative=True),
    )
    images = np.zeros((2, 64, 128, 1), "float32")
    states = cell.get_initial_state(2)
    cell(images, states)
    kernel, _ = cell.sampler.mean.get_weights()
    cell.sampler.mean.set_weights([0 * kernel, np.arctanh([0.5, -0.25])])
    states[0] = ops.convert_to_tensor([[0.25, 0.5], [-0.5, 0.0]], "float32")
    found, (location, _) = cell(images, states)
    step = np.array(reach) * [0.5, -0.25]
    expected = np.clip(np.array([[0.25, 0.5], [-0.5, 0.0]]) + step, -1, 1)
    np.testing.assert_allclose(ops.convert_to_numpy(found["mean"]), expected, rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(location), expected, rtol=1e-6)
    # Of images that are padded, the reach is that of each.
    sizes = np.array([[64, 128], [32, 64]], "int32")
    found, _ = cell(cell.prepare(ops.convert_to_tensor(images), sizes), states)
    side = 8 * max(retina["scales"], default=0)
    own = np.maximum([side / 64, side / 32], max(retina.get("shares", (0,))))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found["mean"])[1],
        own * [0.5, -0.25] - [0.5, 0.0],
        rtol=1e-6,
    )
