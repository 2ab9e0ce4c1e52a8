"""What an extra brings is asked for by the name of the extra."""

import sys

import numpy as np
import pytest
from backends import BACKEND
from conftest import MNIST_DIR

from keras_ram import datasets, plot_glimpses


@pytest.fixture
def uninstall(monkeypatch):
    def forget(package):
        for name in list(sys.modules):
            if name.startswith(f"{package}."):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)

    return forget


def draw(model, folder):
    plot_glimpses(model, np.zeros((1, 8, 8, 1)))


def write_onnx(model, folder):
    from keras_ram.export import export_onnx

    export_onnx(model, folder / "m.onnx")


def write_saved_model(model, folder):
    from keras_ram.export import export_saved_model

    export_saved_model(model, folder / "m")


CASES = [
    ("sklearn", "datasets", lambda *_: datasets.load_digits()),
    ("tensorflow_datasets", "datasets", lambda *_: datasets.load_mnist()),
    ("matplotlib", "plot", draw),
]
if BACKEND == "tensorflow":  # which writes the artifacts of the others as well
    CASES += [
        ("onnx", "export", write_onnx),
        ("onnxruntime", "export", write_onnx),
        ("tf2onnx", "export", write_onnx),
        ("tensorflow_serving", "export", write_saved_model),
    ]


@pytest.mark.parametrize("package,extra,call", CASES)
def test_a_missing_package(package, extra, call, uninstall, make_model, tmp_path):
    uninstall(package)
    message = rf"{package}.* Install it with `pip install 'keras_ram\[{extra}\]'`"
    with pytest.raises(ModuleNotFoundError, match=message):
        call(make_model(), tmp_path)
    assert not list(tmp_path.rglob("*.*"))


def test_local_mnist_needs_no_extra(mnist, uninstall):
    uninstall("tensorflow_datasets")
    assert len(datasets.load_mnist(MNIST_DIR)[2][0]) == 10000
