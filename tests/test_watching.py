"""Who only looks at what a model does keeps nothing to learn from."""

import keras
import numpy as np
import pytest
from backends import BACKEND

import keras_ram
from keras_ram.drawing import look
from keras_ram.watching import watch


class Witness(keras.layers.Layer):
    """Passes on what it is given, and notes whether that would be learned from."""

    kept = ()

    def call(self, values):
        self.kept = (*self.kept, getattr(values, "requires_grad", False))
        return values


@pytest.fixture
def watched():
    """A model, its witness, and what to show it."""
    witness = Witness()
    backbone = keras.Sequential([keras.layers.Conv2D(2, 3), witness])
    model = keras_ram.RAM(2, 3, patch_size=6, backbone=backbone)
    model.build((None, 12, 12, 1))
    model.compile()
    witness.kept = ()
    images = np.random.default_rng(0).uniform(size=(4, 12, 12, 1)).astype("float32")
    return model, witness, images, np.array([0, 1, 1, 0])


def test_arrays_of_a_rollout(watched):
    model, witness, images, _ = watched
    rollout = model.rollout(images)
    assert any(witness.kept) == (BACKEND == "torch")  # there the witness can tell
    witness.kept = ()
    seen = watch(model.rollout, images)
    assert witness.kept and not any(witness.kept)
    assert set(seen) == set(rollout)
    for name, values in seen.items():
        assert isinstance(values, np.ndarray)
        np.testing.assert_array_equal(values, keras.ops.convert_to_numpy(rollout[name]))


@pytest.mark.skipif(BACKEND != "torch", reason="others keep nothing by themselves")
@pytest.mark.parametrize(
    "see",
    [
        look,
        keras_ram.vital_signs,
        keras_ram.stopping_curve,
        lambda model, images, labels: model.classify(images),
    ],
)
def test_nothing_is_kept(watched, see):
    model, witness, images, labels = watched
    see(model, images, labels)
    assert witness.kept and not any(witness.kept)
