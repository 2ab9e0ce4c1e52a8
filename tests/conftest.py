"""Data and models that several tests share."""

import os
from pathlib import Path

# The suite runs in several processes. A second thread in each would only get in
# the way of the others.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import keras
import numpy as np
import pytest
from backends import BACKEND
from pages import browser, visit  # noqa: F401, which are fixtures

import keras_ram
from keras_ram import datasets

if BACKEND != "tensorflow":
    # Artifacts are written on TensorFlow, and the integral that REINFORCE is held
    # against is differentiated there. The goldens hold the others' gradients. What
    # is built does not depend on the backend.
    collect_ignore_glob = ["test_export*.py", "test_gradient.py", "test_wheel.py"]

MNIST_DIR = Path(
    os.environ.get(
        "KERAS_RAM_MNIST_DIR",
        Path(__file__).parents[2] / "shared" / "data" / "mnist",
    )
)


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def make_model():
    """A small model, built for grey images, with the given options."""

    def make(channels=1, **options):
        options = {
            "num_classes": 10,
            "num_glimpses": 3,
            "patch_size": 4,
            "core_units": 16,
            "glimpse_units": 16,
            "what_units": 16,
            "where_units": 8,
            "seed": 0,
            **options,
        }
        model = keras_ram.RAM(**options)
        model.build((None, 8, 8, channels))
        return model

    return make


@pytest.fixture(scope="session")
def digits():
    return datasets.load_digits()


@pytest.fixture
def batch(digits):
    """64 digits and their labels."""
    (images, labels), _, _ = digits
    return images[:64], labels[:64]


@pytest.fixture(scope="session")
def mnist():
    if not MNIST_DIR.is_dir():
        pytest.skip(f"no MNIST at {MNIST_DIR}; set KERAS_RAM_MNIST_DIR")
    return datasets.load_mnist(MNIST_DIR)
