"""One file, one answer: the same on every backend.

The goldens were written on TensorFlow, without XLA, by

    python tests/test_goldens.py

and every backend's suite is held against them: a trained model's outputs, and
the losses and the gradient of one rollout with the same noise everywhere.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
from backends import JIT, noise
from keras import ops

import keras_ram
from keras_ram import datasets

FOLDER = Path(__file__).parent / "goldens"
BASELINES = {"hybrid": "learned", "joint": "learned", "reinforce": "mean"}
RULE = {"reward": "accuracy", "episodes": 1, "discount": 1.0}  # the paper's


def first_class(logits, num_samples, **_):
    """Stands for the labels that a backend draws."""
    return ops.zeros((logits.shape[0], num_samples), dtype="int32")


def to_array(tensor):
    """A copy: NumPy may share a variable's memory."""
    return np.array(ops.convert_to_numpy(tensor))


def observe(learning):
    """What the trained model says, and how one step of training changes it."""
    (images, labels), _, _ = datasets.load_digits()
    images, labels = images[:32], labels[:32]
    model = keras.saving.load_model(FOLDER / "model.keras")
    seen = {
        f"rollout/{name}": to_array(value)
        for name, value in model.rollout(images).items()
        if name != "num_glimpses"  # younger than the goldens; `test_stopping` has it
    }
    start = [to_array(weight) for weight in model.trainable_weights]
    # The change of SGD with a rate of 1 is the gradient.
    model.compile(
        keras.optimizers.SGD(1.0),
        learning=learning,
        baseline=BASELINES[learning],
        **RULE,
        jit_compile=JIT,
    )
    logs = model.train_on_batch(images, labels, return_dict=True)
    seen.update({f"logs/{name}": np.asarray(value) for name, value in logs.items()})
    pairs = zip(model.trainable_weights, start, strict=True)
    for index, (weight, before) in enumerate(pairs):
        seen[f"gradient/{index:02d}_{weight.name}"] = before - to_array(weight)
    return seen


@pytest.mark.parametrize("learning", BASELINES)
def test_goldens(learning, monkeypatch):
    monkeypatch.setattr(keras.random, "normal", noise)
    monkeypatch.setattr(keras.random, "categorical", first_class)
    expected = np.load(FOLDER / f"{learning}.npz")
    seen = observe(learning)
    assert seen.keys() == set(expected.files)
    for name, value in seen.items():
        scale = max(1.0, np.abs(expected[name]).max())
        np.testing.assert_allclose(
            value, expected[name], rtol=0, atol=2e-5 * scale, err_msg=name
        )


def write():
    """Trains the model, and writes what it says."""
    keras.utils.set_random_seed(0)
    train, _, _ = datasets.load_digits()
    model = keras_ram.RAM(
        10,
        num_glimpses=3,
        patch_size=4,
        scales=(1, 2),
        core_units=32,
        glimpse_units=32,
        what_units=24,
        where_units=8,
        location_units=8,
        initial_location="center",
        seed=0,
    )
    model.compile(keras.optimizers.Adam(5e-3), learning="hybrid")
    model.fit(*train, epochs=30, verbose=2)
    bare = keras_ram.RAM.from_config(model.get_config())
    bare.build((None, 8, 8, 1))
    bare.set_weights(model.get_weights())
    bare.save(FOLDER / "model.keras")
    keras.random.normal, keras.random.categorical = noise, first_class
    for learning in BASELINES:
        np.savez(FOLDER / f"{learning}.npz", **observe(learning))


if __name__ == "__main__":
    write()
