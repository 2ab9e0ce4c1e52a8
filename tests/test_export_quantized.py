"""The way to a smaller file that `examples/serving.md` names."""

import numpy as np
import onnxruntime
import pytest
from keras_ram.export import export_onnx
from onnxruntime.quantization import quantize_dynamic

import keras_ram

pytestmark = pytest.mark.slow


def test_weights_of_eight_bits(mnist, tmp_path):
    """A third of the size; on all 10,000 test images 18 labels differ."""
    images, labels = mnist[2][0][:2000], mnist[2][1][:2000]
    images = (images / 255).astype("float32")
    whole, small = tmp_path / "whole.onnx", tmp_path / "small.onnx"
    export_onnx(keras_ram.RAM.from_preset("ram_mnist"), whole)
    quantize_dynamic(whole, small, extra_options={"EnableSubgraph": True})
    assert small.stat().st_size < 0.35 * whole.stat().st_size
    guesses = [
        onnxruntime.InferenceSession(file)
        .run(["logits"], {"images": images})[0]
        .argmax(axis=1)
        for file in (whole, small)
    ]
    assert np.mean(guesses[0] != guesses[1]) < 0.01
    assert np.mean(guesses[1] != labels) < 0.0125
