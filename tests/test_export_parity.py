"""Pretrained classifiers say the same in every runtime, on real images."""

import numpy as np
import pytest
from keras_ram.export import export_onnx, export_saved_model
from runtimes import RUNTIMES

import keras_ram
from keras_ram import datasets

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["ram_mnist", "ram_cluttered_mnist_100"])
def case(request, mnist, tmp_path_factory):
    """The folder of the artifacts, test images, and the model's logits."""
    images = mnist[2][0]
    if request.param == "ram_cluttered_mnist_100":
        images = datasets.clutter(images[:2000], 100, 8, seed=2)
    images = (images / 255).astype("float32")
    model = keras_ram.RAM.from_preset(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    export_onnx(model, folder / "ram.onnx")
    export_saved_model(model, folder / "ram")
    return folder, images, model.predict(images, batch_size=500, verbose=0)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_same_labels_and_logits_on_every_image(runtime, case):
    folder, images, expected = case
    logits = runtime(folder, images)
    assert logits.shape == (len(images), 10)
    np.testing.assert_array_equal(logits.argmax(axis=1), expected.argmax(axis=1))
    assert np.quantile(np.abs(logits - expected), 0.9999) < 1e-3
