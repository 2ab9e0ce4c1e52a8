"""The example that names a photo without this package."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from keras_ram.export import export_onnx
from PIL import Image
from sklearn.datasets import load_sample_images

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "examples/onnx_photo.py"


@pytest.mark.parametrize("channels,dtype", [(1, "float32"), (3, "uint8")])
def test_the_name_of_a_photo(channels, dtype, make_model, tmp_path):
    names = ["temple", "flower"]
    model = make_model(channels, num_classes=2, class_names=names, scales=(1, 32))
    export_onnx(model, tmp_path / "m.onnx", dtype)
    photo = load_sample_images().filenames[0]
    process = subprocess.run(
        [sys.executable, EXAMPLE, tmp_path / "m.onnx", photo],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    pixels = np.atleast_3d(Image.open(photo).convert("L" if channels == 1 else "RGB"))
    (answer,) = model.classify(pixels[None])
    assert process.stdout == f"{answer['class']} ({answer['probability']:.1%})\n"
