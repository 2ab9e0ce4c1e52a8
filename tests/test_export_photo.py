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


def test_a_photo_of_16_bits(make_model, rng, tmp_path):
    model = make_model(num_classes=2, class_names=["temple", "flower"])
    export_onnx(model, tmp_path / "m.onnx")
    pixels = rng.integers(256, size=(20, 24)).astype("uint8")
    Image.fromarray(pixels.astype("uint16") * 257).save(tmp_path / "16.png")
    command = [sys.executable, EXAMPLE, tmp_path / "m.onnx", tmp_path / "16.png"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (answer,) = model.classify(pixels[None, ..., None])
    assert said == f"{answer['class']} ({answer['probability']:.1%})\n"
