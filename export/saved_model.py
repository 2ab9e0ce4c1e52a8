"""SavedModel, as TF Serving wants it."""

import tempfile
from pathlib import Path

import tensorflow as tf
from keras_ram.export.check import check, random_images, serving_function
from keras_ram.export.publication import published

from keras_ram.extras import extra
from keras_ram.server import Server, write_labels
from keras_ram.validation import check_integer

SIGNATURES = {"serving_default": "float32", "serve_uint8": "uint8"}


def export_saved_model(model, path, version=1, overwrite=False):
    """Writes `path/version/`, a SavedModel for TF Serving.

    Its signatures are `serving_default` (`images`: float32 in [0, 1]) and
    `serve_uint8` (`images`: uint8 in [0, 255]). Both take any batch size,
    height and width, and give `logits` and `probabilities` of shape `(batch,
    classes)`, `locations` of shape `(batch, glimpses, 2)` and `step_probabilities`
    of shape `(batch, glimpses, classes)`, of the guess after each glimpse, all
    float32, and `num_glimpses`, int32 of shape `(batch,)`. Images with another
    number of channels are an error. Nothing in them is random. The requests that TF
    Serving replays to warm up lie in `assets.extra`, and the names of the classes, if
    there are any, in `assets/labels.txt`, one a line. What was written is loaded and
    compared with the model before it is published.

    Args:
        model: A `keras_ram.RAM` that was built: fitted, called or loaded.
        path: The folder that holds the versions of this model.
        version: Int, at least 1.
        overwrite: Bool. Replace that version if it exists.

    Returns:
        Float, the largest difference to the model's logits that was seen.

    Raises:
        FileExistsError: If that version exists. It is left as it was.
        RuntimeError: If what was written does not agree with the model.
        ValueError: If the model was not built.

    Example:

    >>> import os, tempfile
    >>> from keras_ram.export import export_saved_model
    >>> model = keras_ram.RAM(num_classes=10, num_glimpses=2)
    >>> model.build((None, 28, 28, 1))
    >>> folder = tempfile.mkdtemp()
    >>> export_saved_model(model, folder) < 0.1
    True
    >>> sorted(os.listdir(os.path.join(folder, "1", "assets.extra")))
    ['tf_serving_warmup_requests']
    """
    check_integer("version", version)
    server = Server(model)
    module = tf.Module()
    module.variables_to_save = [variable.value for variable in server.variables]
    signatures = {
        name: serving_function(server, dtype) for name, dtype in SIGNATURES.items()
    }
    with published(Path(path) / str(version), overwrite) as folder:
        with tempfile.TemporaryDirectory() as scratch:
            if model.class_names:
                labels = write_labels(model.class_names, scratch)
                module.labels = tf.saved_model.Asset(labels)
            tf.saved_model.save(module, str(folder), signatures=signatures)
        _write_warmup(server, folder / "assets.extra")
        loaded = tf.saved_model.load(str(folder))
        return max(
            check(server, _runner(loaded.signatures[name]), dtype)
            for name, dtype in SIGNATURES.items()
        )


def _runner(signature):
    def run(images):
        outputs = signature(images=tf.constant(images))
        return {name: value.numpy() for name, value in outputs.items()}

    return run


def _write_warmup(server, folder):
    """One request to each signature, in the format of TF Serving."""
    with extra("export"):
        from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as writer:
        for name, dtype in SIGNATURES.items():
            images = random_images((1, 28, 28, server.channels), dtype)
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=server.name, signature_name=name),
                inputs={"images": tf.make_tensor_proto(images)},
            )
            log = prediction_log_pb2.PredictLog(request=request)
            record = prediction_log_pb2.PredictionLog(predict_log=log)
            writer.write(record.SerializeToString())
