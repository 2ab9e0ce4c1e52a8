"""The artifacts, run by programs that know nothing of this package."""

import json
import threading

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras_ram.export import export_onnx, export_saved_model
from runtimes import RUNTIMES, load_in_a_session
from tensorflow_serving.apis import prediction_log_pb2

from keras_ram.server import OUTPUTS


@pytest.fixture(scope="module")
def artifacts(make_model, tmp_path_factory):
    """A model, and the folder with both of its artifacts."""
    folder = tmp_path_factory.mktemp("artifacts")
    model = make_model(scales=(1, 2), location_units=8)
    export_saved_model(model, folder / "ram")
    export_onnx(model, folder / "ram.onnx")
    return model, folder


@pytest.fixture
def images(rng):
    return rng.uniform(size=(3, 37, 91, 1)).astype("float32")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_runtimes(runtime, artifacts, images):
    model, folder = artifacts
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(runtime(folder, images), expected, atol=1e-4)


def test_a_session_replays_the_warm_up_requests(artifacts):
    model, folder = artifacts
    session, signatures = load_in_a_session(folder / "ram/1")
    path = folder / "ram/1/assets.extra/tf_serving_warmup_requests"
    replayed = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        signature = signatures[request.model_spec.signature_name]
        ((name, value),) = request.inputs.items()
        values = tf.make_ndarray(value)
        logits = session.run(
            signature.outputs["logits"].name, {signature.inputs[name].name: values}
        )
        images = values
        if name == "image_bytes":
            images = np.stack([tf.io.decode_png(file) for file in values])
        np.testing.assert_allclose(logits, model.predict(images, verbose=0), atol=1e-4)
        replayed.append(request.model_spec.signature_name)
    assert replayed == ["serving_default", "serve_uint8", "serve_bytes"]


def test_rest_requests_in_rows(artifacts, images):
    """TF Serving makes a batch of the instances, and rows of the outputs."""
    model, folder = artifacts
    body = json.dumps({"instances": [{"images": image.tolist()} for image in images]})
    instances = json.loads(body)["instances"]
    signature = tf.saved_model.load(folder / "ram/1").signatures["serving_default"]
    batch = tf.constant([instance["images"] for instance in instances])
    outputs = {name: value.numpy() for name, value in signature(images=batch).items()}
    rows = [
        {name: value[row].tolist() for name, value in outputs.items()}
        for row in range(len(instances))
    ]
    for row, expected in zip(rows, model.predict(images, verbose=0), strict=True):
        assert set(row) == set(OUTPUTS)
        np.testing.assert_allclose(row["logits"], expected, atol=1e-4)


def test_threads_that_share_a_session(artifacts, rng):
    _, folder = artifacts
    session = onnxruntime.InferenceSession(folder / "ram.onnx")
    batches = [
        rng.uniform(size=(2, 20 + i, 30, 1)).astype("float32") for i in range(16)
    ]
    alone = [session.run(["logits"], {"images": batch})[0] for batch in batches]
    answers = [[] for _ in batches]

    def ask(number):
        for _ in range(50):
            (logits,) = session.run(["logits"], {"images": batches[number]})
            answers[number].append(logits)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for expected, got in zip(alone, answers, strict=True):
        assert len(got) == 50
        for logits in got:
            np.testing.assert_array_equal(logits, expected)
