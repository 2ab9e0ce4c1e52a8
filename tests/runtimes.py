"""Programs that know nothing of this package, asked for logits.

Each takes the folder of the artifacts, `ram/1` and `ram.onnx`, and images, and
skips the test if it is not installed.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

CLIENTS = Path(__file__).parent / "clients"


def onnx_runtime(folder, images):
    session = onnxruntime.InferenceSession(folder / "ram.onnx")
    return session.run(["logits"], {"images": images})[0]


def saved_model(folder, images):
    signature = tf.saved_model.load(folder / "ram/1").signatures["serving_default"]
    return signature(images=tf.constant(images))["logits"].numpy()


def tensorflow_c_api(folder, images):
    library = Path(tf.sysconfig.get_lib()) / "libtensorflow_cc.so.2"
    if not library.exists():
        pytest.skip(f"no C library of TensorFlow at {library}")
    _, signatures = load_in_a_session(folder / "ram/1")
    signature = signatures["serving_default"]
    with tempfile.TemporaryDirectory() as scratch:
        inputs, outputs = Path(scratch, "images.npy"), Path(scratch, "logits.npy")
        np.save(inputs, images)
        run(
            *(sys.executable, CLIENTS / "c_api.py", library, folder / "ram/1"),
            *(inputs, outputs),
            *(signature.inputs["images"].name, signature.outputs["logits"].name),
        )
        return np.load(outputs)


def load_in_a_session(folder):
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
    return session, meta.signature_def


def onnx_runtime_for_node(folder, images):
    with tempfile.NamedTemporaryFile() as file:
        images.tofile(file.name)
        shape = [str(size) for size in images.shape]
        answer = run(
            "node", CLIENTS / "onnx.js", folder / "ram.onnx", file.name, *shape
        )
    logits = json.loads(answer)["logits"]
    return np.reshape(logits["data"], logits["shape"])


def run(*command):
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout


def has_node_runtime():
    node = shutil.which("node")
    command = [node, "-e", "require('onnxruntime-node')"]
    return node and not subprocess.run(command, capture_output=True).returncode


RUNTIMES = [
    onnx_runtime,
    saved_model,
    tensorflow_c_api,
    # Asked first: the artifacts of a test that is skipped take a minute.
    pytest.param(
        onnx_runtime_for_node,
        marks=pytest.mark.skipif(
            not has_node_runtime(),
            reason="no onnxruntime-node: `npm install onnxruntime-node`, set NODE_PATH",
        ),
    ),
]
