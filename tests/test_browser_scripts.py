"""The scripts of `examples/browser` see and draw what Python does."""

import math

import numpy as np
import pytest
from keras import ops
from pages import DIGITS, PAGE, Server

import keras_ram

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def blank(visit):
    """A page that can import the scripts, of which nothing was built."""
    server = Server(PAGE)
    yield visit(f"{server.url}/style.css")
    server.stop()


def test_the_retina_sees_what_the_sensor_sees(blank, rng):
    image = rng.integers(0, 256, (23, 23))
    locations = rng.uniform(-1.2, 1.2, (20, 2)).astype("float32")
    scales = [1, 2.5, 0.3, 8]
    sensor = keras_ram.GlimpseSensor(patch_size=5, scales=scales)
    images = np.repeat(image[None, :, :, None].astype("float32"), 20, axis=0)
    expected = ops.convert_to_numpy(sensor(images, locations))[..., 0]
    seen = blank.evaluate(
        """async ([image, locations, scales]) => {
          const { retina } = await import("./image.js");
          return locations.map((location) => scales.map(
            (scale) => Array.from(retina(image, 23, location, 5, scale))));
        }""",
        [image.ravel().tolist(), locations.tolist(), scales],
    )
    np.testing.assert_allclose(np.reshape(seen, expected.shape), expected, atol=1e-3)


def test_strokes_become_digits_as_mnist_holds_them(blank):
    digits = blank.evaluate(
        """async (drawings) => {
          const { digitOf } = await import("./image.js");
          return drawings.map((strokes) => Array.from(digitOf(strokes)));
        }""",
        [DIGITS["0"], DIGITS["7"]],
    )
    ring, seven = np.reshape(digits, (2, 28, 28))
    for digit in (ring, seven):
        rows, columns = np.nonzero(digit)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (20, 21)
        centres = np.arange(28) + 0.5
        middle = [centres @ digit.sum(axis=axis) / digit.sum() for axis in (0, 1)]
        np.testing.assert_allclose(middle, 14, atol=0.6)
    assert ring.max() == 255 and ring[14, 14] == 0
    # As thick as MNIST's: 2.5 pixels along the ring's circumference.
    assert 0.5 < ring.sum() / 255 / (2.5 * 2 * math.pi * 7.2) < 1.5
