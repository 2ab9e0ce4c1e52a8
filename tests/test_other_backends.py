"""Artifacts, from the backends that do not write them themselves."""

import importlib.util

import keras
import numpy as np
import onnxruntime
import pytest
from backends import BACKEND
from keras_ram.export import export_onnx, export_saved_model

from keras_ram.server import OUTPUTS

pytestmark = pytest.mark.skipif(BACKEND == "tensorflow", reason="see test_export.py")


def test_artifacts_are_written_by_tensorflow(make_model, rng, tmp_path):
    model = make_model(scales=(1, 2), shares=(1,), class_names=list("abcdefghij"))
    assert export_onnx(model, f"{tmp_path}/m.onnx/") < 1e-3
    images = rng.uniform(size=(3, 20, 30, 1)).astype("float32")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (logits,) = session.run(["logits"], {"images": images})
    np.testing.assert_allclose(logits, model.predict(images, verbose=0), atol=1e-4)
    assert export_saved_model(model, tmp_path / "m", version=3) < 1e-3
    assert (tmp_path / "m/3/saved_model.pb").is_file()
    labels = (tmp_path / "m/3/assets/labels.txt").read_text()
    assert labels.split() == model.class_names
    with pytest.raises(RuntimeError, match="overwrite=True"):
        export_saved_model(model, tmp_path / "m", version=3)
    with pytest.raises(IsADirectoryError, match="`path` must be a file"):
        export_onnx(model, tmp_path / "m")


@pytest.mark.skipif(BACKEND != "jax", reason="PyTorch's exporter refuses free sizes")
@pytest.mark.filterwarnings("ignore:The `native_serialization`:DeprecationWarning")
def test_keras_saved_model(make_model, rng, tmp_path):
    import tensorflow as tf

    model = make_model(scales=(1, 2.5))
    model.export(tmp_path / "m", verbose=False)
    images = rng.uniform(size=(3, 20, 31, 1)).astype("float32")
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    outputs = loaded.serve(images)
    assert set(outputs) == set(OUTPUTS)
    np.testing.assert_allclose(
        outputs["logits"], model.predict(images, verbose=0), atol=1e-5
    )


def test_without_tensorflow(make_model, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'keras_ram\[export\]'"):
        export_onnx(make_model(), tmp_path / "m.onnx")


def test_a_cell_that_the_exporting_process_does_not_know(make_model, tmp_path):
    @keras.saving.register_keras_serializable("mine")
    class Cell(keras.layers.SimpleRNNCell):
        pass

    with pytest.raises(RuntimeError, match="does not know.*on the TensorFlow backend"):
        export_onnx(make_model(core=Cell(8)), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
