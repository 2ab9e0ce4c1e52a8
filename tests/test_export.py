"""The artifacts, run where users run them."""

import json
import subprocess
import sys

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras_ram.export import export_onnx, export_saved_model, serving

SIZES = [(1, 28, 28), (3, 37, 91), (2, 60, 5)]


@pytest.fixture(scope="module")
def model(make_model, digits):
    keras.utils.set_random_seed(0)
    (images, labels), _, _ = digits
    model = make_model(scales=(1, 2), filters=(4,), location_units=8)
    model.compile(jit_compile=False)
    model.fit(images[:256], labels[:256], epochs=2, verbose=0)
    return model


def images_of(size, rng):
    return rng.uniform(size=(*size, 1)).astype("float32")


def test_saved_model_without_this_package(model, tmp_path, rng):
    """Loaded by a process that never imports this package."""
    assert export_saved_model(model, tmp_path / "model") < 1e-3
    images = images_of((3, 37, 91), rng)
    np.save(tmp_path / "images.npy", images)
    code = """
import json, sys
import numpy as np, tensorflow as tf
folder = sys.argv[1]
signatures = tf.saved_model.load(folder + "/model/1").signatures
images = np.load(folder + "/images.npy")
floats = signatures["serving_default"](images=tf.constant(images))
pixels = np.round(images * 255).astype("uint8")
integers = signatures["serve_uint8"](images=tf.constant(pixels))
assert "keras_ram" not in sys.modules
np.savez(folder + "/floats.npz", **floats)
np.savez(folder + "/integers.npz", **integers)
print(json.dumps({name: value.shape.as_list() for name, value in floats.items()}))
"""
    process = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout.splitlines()[-1]) == {
        "logits": [3, 10],
        "probabilities": [3, 10],
        "locations": [3, 3, 2],
    }
    pixels = np.round(images * 255).astype("uint8")
    for name, inputs in (("floats", images), ("integers", pixels)):
        outputs = np.load(tmp_path / f"{name}.npz")
        rollout = model.rollout(inputs)
        np.testing.assert_allclose(
            outputs["logits"], rollout["logits"][:, -1], atol=1e-4
        )
        np.testing.assert_allclose(
            outputs["locations"], rollout["locations"], atol=1e-4
        )
        np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_onnx_in_its_runtime(dtype, model, tmp_path, rng):
    assert export_onnx(model, tmp_path / "m.onnx", dtype) < 1e-3
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (images_input,) = session.get_inputs()
    assert images_input.name == "images"
    assert images_input.shape == ["batch", "height", "width", 1]
    outputs = {output.name: output.shape for output in session.get_outputs()}
    assert outputs == {
        "logits": ["batch", 10],
        "probabilities": ["batch", 10],
        "locations": ["batch", 3, 2],
    }
    for size in SIZES:
        images = images_of(size, rng)
        if dtype == "uint8":
            images = (images * 255).astype("uint8")
        logits, locations = session.run(["logits", "locations"], {"images": images})
        rollout = model.rollout(images)
        np.testing.assert_allclose(logits, rollout["logits"][:, -1], atol=1e-4)
        np.testing.assert_allclose(locations, rollout["locations"], atol=1e-4)


@pytest.mark.parametrize("kind", ["saved_model", "onnx"])
def test_nothing_random_is_exported(kind, model, tmp_path):
    if kind == "onnx":
        import onnx

        export_onnx(model, tmp_path / "m.onnx")
        graph = onnx.load(tmp_path / "m.onnx").graph
        operations = {node.op_type for node in graph.node}
    else:
        export_saved_model(model, tmp_path / "m")
        loaded = tf.saved_model.load(tmp_path / "m" / "1")
        graph = loaded.signatures["serving_default"].graph
        operations = {operation.type for operation in graph.get_operations()}
    assert operations
    assert not [name for name in operations if "random" in name.lower()]


@pytest.mark.parametrize("restored", [False, True])
def test_keras_export(restored, model, tmp_path, rng):
    """Keras's own call, also on a model that was just loaded and never called."""
    exported = model
    if restored:
        model.save(tmp_path / "m.keras")
        exported = keras.saving.load_model(tmp_path / "m.keras")
    exported.export(tmp_path / "m", format="tf_saved_model", verbose=False)
    served = tf.saved_model.load(tmp_path / "m")
    for size in SIZES:
        images = images_of(size, rng)
        np.testing.assert_allclose(
            served.serve(images), model.predict(images, verbose=0), atol=1e-4
        )


def test_an_existing_artifact_is_left_as_it_was(model, tmp_path):
    export_saved_model(model, tmp_path / "m")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with pytest.raises(FileExistsError):
        export_saved_model(model, tmp_path / "m")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    export_saved_model(model, tmp_path / "m", version=2)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["1", "2"]


@pytest.mark.parametrize("export", [export_onnx, export_saved_model])
def test_a_failed_check_publishes_nothing(export, model, tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "TYPICAL", 0.0)
    with pytest.raises(RuntimeError, match="Nothing was published"):
        export(model, tmp_path / "m")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_model_without_weights(tmp_path):
    import keras_ram

    with pytest.raises(ValueError, match="The model has no weights yet"):
        export_onnx(keras_ram.RAM(10), tmp_path / "m.onnx")


def test_unknown_input_dtype(model, tmp_path):
    with pytest.raises(ValueError, match='"float32" or "uint8"'):
        export_onnx(model, tmp_path / "m.onnx", "int8")
