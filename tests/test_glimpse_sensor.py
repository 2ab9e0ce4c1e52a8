import itertools

import keras
import numpy as np
import pytest
from backends import gradients_of
from keras import ops

from keras_ram import GlimpseSensor

CASES = [
    # height, width, channels, patch_size, scales
    (28, 28, 1, 8, (1,)),
    (13, 37, 3, 5, (1, 2.5, 0.3, 4)),
    (1, 1, 1, 3, (1, 2)),
    (7, 2, 2, 1, (3, 0.5)),
    (31, 17, 1, 4, (8, 1)),
    (45, 33, 2, 3, (6, 9.3, 25)),
]
LOCATIONS = [
    (0.0, 0.0),
    (-1.0, -1.0),
    (1.0, 1.0),
    (1.0, -1.0),
    (0.37, -0.81),
    (-0.999, 0.501),
    (1.7, 0.2),
]


def oracle(images, locations, patch_size, scales, shares=()):
    """Integrates the image over each cell, pixel by pixel, in float64."""
    batch, height, width, channels = images.shape
    cells = [(scale, scale) for scale in scales]
    cells += [(a * height / patch_size, a * width / patch_size) for a in shares]
    patches = np.zeros((batch, len(cells), patch_size, patch_size, channels))
    for b, (k, (high, wide)) in itertools.product(range(batch), enumerate(cells)):
        left = (locations[b, 0] + 1) / 2 * width - wide * patch_size / 2
        top = (locations[b, 1] + 1) / 2 * height - high * patch_size / 2
        for i, j in itertools.product(range(patch_size), repeat=2):
            for p, q in itertools.product(range(height), range(width)):
                y0, y1 = max(top + i * high, p), min(top + (i + 1) * high, p + 1)
                x0, x1 = max(left + j * wide, q), min(left + (j + 1) * wide, q + 1)
                if y1 > y0 and x1 > x0:
                    covered = (y1 - y0) * (x1 - x0) / (high * wide)
                    patches[b, k, i, j] += covered * images[b, p, q]
    return patches


@pytest.fixture(params=[False, True], ids=["added up", "looked up"])
def table(request, monkeypatch):
    """Whether large cells are looked up in a table, as in large images."""
    few_pixels = 0 if request.param else np.inf
    monkeypatch.setattr("keras_ram.glimpse_sensor.FEW_PIXELS", few_pixels)


@pytest.mark.parametrize("height,width,channels,patch_size,scales", CASES)
def test_equals_brute_force(height, width, channels, patch_size, scales, rng, table):
    shape = (len(LOCATIONS), height, width, channels)
    images = rng.uniform(size=shape).astype("float32")
    locations = np.array(LOCATIONS, "float32")
    patches = GlimpseSensor(patch_size, scales)(images, locations)
    expected = oracle(images, locations.astype("float64"), patch_size, scales)
    assert patches.shape == expected.shape
    np.testing.assert_allclose(patches, expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("scales,shares", [((1, 7), (1.0, 0.3)), ((), (2.0,))])
@pytest.mark.parametrize("height,width", [(28, 28), (13, 37), (90, 31), (1, 2)])
def test_shares_equal_brute_force(height, width, scales, shares, dtype, rng):
    shape = (len(LOCATIONS), height, width, 2)
    images = (255 * rng.uniform(size=shape)).astype(dtype)
    locations = np.array(LOCATIONS, "float32")
    patches = GlimpseSensor(4, scales, shares)(images, locations)
    expected = oracle(images, locations.astype("float64"), 4, scales, shares)
    np.testing.assert_allclose(patches, expected, rtol=0, atol=255 * 5e-5)


def test_a_share_of_1_is_the_whole_image(rng):
    images = rng.integers(0, 256, (1, 12, 40, 3), "uint8")
    (patches,) = GlimpseSensor(4, (), (1,))(images, np.zeros((1, 2)))
    pooled = images.reshape(4, 3, 4, 10, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(patches[0], pooled, rtol=1e-6)


@pytest.mark.parametrize("none", [None, ()])
def test_shares_without_scales(none):
    assert GlimpseSensor(4, none, (1,)).scales == ()
    assert GlimpseSensor(4, (1,), none).shares == ()


def test_bytes_of_a_large_share_do_not_overflow():
    white = np.full((1, 3000, 3000, 1), 255, "uint8")
    patches = GlimpseSensor(1, (), (1,))(white, np.zeros((1, 2)))
    np.testing.assert_allclose(patches, 255, atol=0.5)  # of a byte


def test_aligned_glimpse_is_a_crop_and_average_pooling(rng):
    images = rng.uniform(size=(1, 16, 16, 1)).astype("float32")
    # The centre of the image: rows and columns 6..9, and 4..11 in pairs.
    patches = GlimpseSensor(4, (1, 2))(images, np.zeros((1, 2)))
    np.testing.assert_array_equal(patches[0, 0], images[0, 6:10, 6:10])
    pooled = images[0, 4:12, 4:12, 0].reshape(4, 2, 4, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(patches[0, 1, ..., 0], pooled, atol=1e-7)


def test_x_is_horizontal_and_y_vertical():
    images = np.zeros((1, 4, 8, 1), "float32")
    images[0, 3, 0] = 1  # bottom left
    sensor = GlimpseSensor(1, (1,))
    centre_of_pixel = np.array([[-1 + 1 / 8, 1 - 1 / 4]])
    assert float(sensor(images, centre_of_pixel)[0, 0, 0, 0, 0]) == 1
    assert float(sensor(images, -centre_of_pixel)[0, 0, 0, 0, 0]) == 0


@pytest.mark.parametrize("scale", [0.5, 1, 2.5])
def test_is_continuous_in_the_location(scale, rng):
    images = rng.uniform(size=(1, 9, 11, 1)).astype("float32")
    steps = 2001
    locations = np.linspace((-1.1, -1.1), (1.1, 1.1), steps).astype("float32")
    patches = GlimpseSensor(3, (scale,))(np.repeat(images, steps, axis=0), locations)
    jumps = np.abs(np.diff(ops.convert_to_numpy(patches), axis=0)).max()
    # A cell that moves by d pixels changes by at most d / scale on each axis.
    pixels = 2.2 / 2 * (9 + 11) / (steps - 1)
    assert 0 < jumps <= pixels / scale + 1e-5


@pytest.mark.parametrize("scale", [1.5, 7.5])
def test_gradients_reach_images_and_locations(scale, rng, table):
    """They are those of finite differences of the oracle."""
    images = rng.uniform(size=(2, 14, 11, 1))
    locations = np.array([[0.13, -0.2], [0.4, 0.31]])
    weights = rng.normal(size=(2, 1, 3, 3, 1)).astype("float32")
    found = gradients_of(
        lambda images, locations: (
            GlimpseSensor(3, (scale,))(images, locations)
            * ops.convert_to_tensor(weights)
        ),
        images,
        locations,
    )

    def slope(index, *places):
        """Along one value of the images or the locations."""
        values = []
        for step in (1e-4, -1e-4):
            inputs = [images.copy(), locations.copy()]
            inputs[index][places] += step
            values.append((oracle(*inputs, 3, (scale,)) * weights).sum())
        return (values[0] - values[1]) / 2e-4

    for index, places in [
        (0, (0, 5, 6, 0)),
        (0, (1, 9, 7, 0)),
        (1, (0, 0)),
        (1, (1, 1)),
    ]:
        assert found[index][places] == pytest.approx(slope(index, *places), rel=2e-3)
        assert found[index][places] != 0


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_cells_of_a_megapixel_are_exact(dtype, rng):
    """Sums over such an image exceed what float32 holds, and 32 bits."""
    bytes_ = rng.integers(200, 256, size=(1, 1600, 1600, 3), dtype="uint8")
    images = bytes_ if dtype == "uint8" else bytes_ / np.float32(255)
    (patches,) = GlimpseSensor(8, (200,))(images, np.zeros((1, 2)))
    pooled = bytes_.reshape(8, 200, 8, 200, 3).mean(axis=(1, 3))
    unit = 1 if dtype == "uint8" else 255
    np.testing.assert_allclose(patches[0], pooled / unit, rtol=2e-6)


def test_unknown_sizes_in_a_functional_model(rng):
    images, locations = keras.Input((None, None, 3)), keras.Input((2,))
    outputs = GlimpseSensor(4, (1, 7))(images, locations)
    assert outputs.shape == (None, 2, 4, 4, 3)
    model = keras.Model([images, locations], outputs)
    for size in (5, 20):
        x = rng.uniform(size=(2, size, size + 1, 3)).astype("float32")
        at = np.array([[0.1, 0.2], [-0.5, 1]], "float32")
        expected = oracle(x, at.astype("float64"), 4, (1, 7))
        np.testing.assert_allclose(
            model.predict([x, at], verbose=0), expected, atol=5e-5
        )


def test_half_precision_keeps_the_location_exact():
    # In float16, 0.7001 and 0.7 are the same place.
    images = np.zeros((2, 1, 1000, 1), "float32")
    images[:, :, ::2] = 1
    sensor = GlimpseSensor(1, (1,), dtype="mixed_float16")
    first, second = sensor(images, np.array([[0.7, 0.0], [0.7001, 0.0]]))
    assert keras.backend.standardize_dtype(first.dtype) == "float16"
    assert abs(float(second[0, 0, 0, 0]) - float(first[0, 0, 0, 0])) > 0.04


def test_config_round_trip():
    sensor = GlimpseSensor(6, [1, 2.5], name="eye")
    config = keras.saving.serialize_keras_object(sensor)
    restored = keras.saving.deserialize_keras_object(config)
    assert restored.get_config() == sensor.get_config()
    assert restored.scales == (1, 2.5)


@pytest.mark.parametrize(
    "arguments,text",
    [
        ((0,), "`patch_size` must be an integer of at least 1. Received: patch_size=0"),
        ((2.5,), "`patch_size` must be an integer"),
        ((8, ()), "`scales` must have at least one number"),
        ((8, (1, 0)), "`scales` must be positive. Received: scales=0"),
        ((8, (1, -2)), "`scales` must be positive. Received: scales=-2"),
        ((8, (float("nan"),)), "`scales` must be positive. Received: scales=nan"),
        ((8, ("1",)), "`scales` must be positive"),
        ((8, (1,), (0,)), "`shares` must be positive. Received: shares=0"),
        ((8, (), ()), "`scales` must have at least one number"),
    ],
)
def test_bad_arguments(arguments, text):
    with pytest.raises(ValueError, match=text.replace("(", r"\(")):
        GlimpseSensor(*arguments)


@pytest.mark.parametrize(
    "images_shape,locations_shape,text",
    [
        ((2, 28, 28), (2, 2), "Add a channel axis"),
        ((2, 28, 28, 1), (2, 3), r"`locations` must have shape \(batch, 2\)"),
        ((2, 28, 28, 1), (2,), r"`locations` must have shape \(batch, 2\)"),
    ],
)
def test_bad_shapes(images_shape, locations_shape, text):
    with pytest.raises(ValueError, match=text):
        GlimpseSensor(8)(np.zeros(images_shape), np.zeros(locations_shape))
