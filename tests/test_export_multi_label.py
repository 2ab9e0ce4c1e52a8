"""Artifacts of a model of several classes at once, against the model."""

import json

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras_ram.export import export_onnx
from keras_ram.export.__main__ import main


@pytest.fixture(scope="module")
def model(make_model, digits):
    keras.utils.set_random_seed(0)
    (images, labels), _, _ = digits
    model = make_model(scales=(1, 2), filters=(4,), multi_label=True)
    model.compile(run_eagerly=True)
    sets = np.maximum(np.eye(10)[labels], np.eye(10)[labels[::-1]])
    model.fit(images[:256], sets[:256], verbose=0)
    logits = keras.ops.convert_to_numpy(model.rollout(images)["logits"])
    sure = np.maximum(sigmoid(logits), 1 - sigmoid(logits)).prod(axis=2)
    model.stop_confidence = float(np.median(sure[:, :2]))
    return model


def sigmoid(values):
    return 1 / (1 + np.exp(-np.asarray(values, "float64")))


def assert_outputs(outputs, model, images):
    look = {k: keras.ops.convert_to_numpy(v) for k, v in model.rollout(images).items()}
    assert 1 < look["num_glimpses"].mean() < 3
    outputs = {k: keras.ops.convert_to_numpy(v) for k, v in outputs.items()}
    same = outputs["num_glimpses"] == look["num_glimpses"]
    assert same.mean() > 0.98  # or a guess is just at the threshold
    logits = look["logits"][same]
    for name, expected in {
        "logits": logits[:, -1],
        "probabilities": sigmoid(logits[:, -1]),
        "step_probabilities": sigmoid(logits),
    }.items():
        np.testing.assert_allclose(
            outputs[name][same], expected, rtol=0, atol=1e-4, err_msg=name
        )


def test_onnx(model, digits, tmp_path):
    images = digits[2][0][:300]
    export_onnx(model, tmp_path / "ram.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "ram.onnx")
    names = [output.name for output in session.get_outputs()]
    outputs = session.run(names, {"images": images})
    assert_outputs(dict(zip(names, outputs, strict=True)), model, images)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["keras_ram.multi_label"]) is True


def test_saved_model_from_a_shell(model, digits, tmp_path, capsys):
    model.save(tmp_path / "m.keras")
    assert main([str(tmp_path / "m.keras"), str(tmp_path / "ram")]) == 0
    said = capsys.readouterr().out
    assert "probabilities (batch, 10) float32, each class by itself" in said
    loaded = tf.saved_model.load(tmp_path / "ram/1")
    signatures = loaded.signatures
    images = digits[2][0][:300]
    outputs = signatures["serving_default"](images=tf.constant(images))
    assert_outputs(outputs, model, images)
    pixels = np.round(255 * images).astype("uint8")
    outputs = signatures["serve_uint8"](images=tf.constant(pixels))
    assert_outputs(outputs, model, pixels)
    files = tf.stack([tf.io.encode_png(image) for image in pixels[:50]])
    outputs = signatures["serve_bytes"](image_bytes=files)
    assert_outputs(outputs, model, pixels[:50])


def test_kerass_own_export(model, digits, tmp_path):
    model.export(tmp_path / "ram", verbose=False)
    images = digits[2][0][:300]
    loaded = tf.saved_model.load(tmp_path / "ram")
    assert_outputs(loaded.serve(tf.constant(images)), model, images)
