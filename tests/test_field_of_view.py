import itertools
import warnings

import numpy as np
import pytest
from backends import FEW_STEPS

import keras_ram

SIZES = [(1, 1), (8, 5), (28, 28), (60, 60), (256, 103), (400, 300), (3000, 2000)]


@pytest.mark.parametrize("size", SIZES)
def test_sees_pixels_and_the_whole_image(size):
    seen = keras_ram.retina(*size)
    scales = seen["scales"]
    assert scales[0] == 1
    assert seen["patch_size"] * scales[-1] >= max(size)
    assert all(1 < b / a < 2.52 for a, b in itertools.pairwise(scales))
    assert keras_ram.RAM(2, **seen).glimpse_sensor.scales == scales


def test_of_another_patch_size():
    assert keras_ram.retina(64, 32, 64) == {"patch_size": 64, "scales": (1.0,)}
    assert keras_ram.retina(64, 32, 16)["scales"] == (1.0, 2.0, 4.0)
    with pytest.raises(ValueError, match="`width` must be an integer of at least 1"):
        keras_ram.retina(20, 0)


def test_a_model_that_sees_next_to_nothing_warns_once():
    model = keras_ram.RAM(num_classes=2, num_glimpses=2)
    images = np.zeros((1, 256, 200, 1))
    with pytest.warns(UserWarning, match=r"see no more than 0\.2%.*retina\(256, 200\)"):
        model(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(images)
        keras_ram.RAM(num_classes=2, **keras_ram.retina(256, 200))(images)
        keras_ram.RAM(num_classes=2, shares=(0.3,))(images)
        keras_ram.RAM(num_classes=2).build((None, None, None, 1))


def test_one_that_is_built_warns_when_it_is_to_learn(make_model):
    """As a preset does, on photos of one's own."""
    model = make_model(num_classes=2)
    model.compile(**FEW_STEPS)
    images, labels = np.zeros((2, 256, 200, 1)), np.arange(2)
    with pytest.warns(UserWarning, match=r"see no more than 0\.1%"):
        model.fit(images, labels, verbose=0)
    sizes = {"images": images, "sizes": np.array([[8, 8], [10, 10]])}
    model.fit(sizes, labels, verbose=0)  # small ones, of which it sees enough
