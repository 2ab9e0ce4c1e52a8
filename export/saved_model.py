"""SavedModel, as TF Serving wants it."""

import tempfile
from pathlib import Path

import tensorflow as tf
from keras_ram.export.check import check, random_images, signature
from keras_ram.export.publication import published

from keras_ram.extras import extra
from keras_ram.server import Server, write_assets
from keras_ram.validation import check_integer

# And the pixels that each of them sees.
SIGNATURES = {
    "serving_default": "float32",
    "serve_uint8": "uint8",
    "serve_bytes": "uint8",
}


def export_saved_model(model, path, version=1, overwrite=False):
    """Writes `path/version/`, a SavedModel for TF Serving.

    Its signatures are `serving_default` (`images`: float32 in [0, 1]), `serve_uint8`
    (`images`: uint8 in [0, 255]) and, for 1 or 3 channels, `serve_bytes`
    (`image_bytes`: JPEG or PNG files, strings of shape `(batch,)`). All take any
    batch size, height and width, and give `logits` and `probabilities` of shape
    `(batch, classes)`, `locations` of shape `(batch, glimpses, 2)` and
    `step_probabilities` of shape `(batch, glimpses, classes)`, of the guess after
    each glimpse, all float32, and `num_glimpses`, int32 of shape `(batch,)`. With
    `multi_label` each class has a probability of its own, and the guess are those
    above one half. Nothing in them is random. Images with another number of channels
    are an error, but files are decoded to as many as the model has, with eight bits
    each, and turned as they are stored: a note in them that says otherwise is not
    read. Files of one batch may differ in size; they are looked at one by one.

    The requests that TF Serving replays to warm up lie in `assets.extra`, the names
    of the classes, if there are any, in `assets/labels.txt`, one a line, and what else
    there is to know, such as the sizes of the training images, in
    `assets/model.json`. What was written is loaded and compared with the model before
    it is published.

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
    signatures = _signatures(server)
    with published(Path(path) / str(version), overwrite) as folder:
        with tempfile.TemporaryDirectory() as scratch:
            files = write_assets(model, scratch)
            module.files = [tf.saved_model.Asset(file) for file in files]
            tf.saved_model.save(module, str(folder), signatures=signatures)
        _write_warmup(server, signatures, folder / "assets.extra")
        loaded = tf.saved_model.load(str(folder))
        runs = {"float32": [], "uint8": []}
        for name in signatures:
            runs[SIGNATURES[name]].append(_runner(name, loaded.signatures[name]))
        return max(check(server, runs[dtype], dtype) for dtype in runs)


def _signatures(server):
    signatures = {
        name: tf.function(
            server.call,
            input_signature=signature(server, SIGNATURES[name]),
            autograph=False,
        )
        for name in ("serving_default", "serve_uint8")
    }
    if server.channels in (1, 3):  # what files have
        on_pixels = signatures["serve_uint8"]
        signatures["serve_bytes"] = _function_of_files(on_pixels, server.channels)
    return signatures


def _function_of_files(on_pixels, channels):
    """Decodes files of images, of any sizes, and looks at each alone."""
    one = {
        name: tf.TensorSpec(output.shape[1:], output.dtype)
        for name, output in on_pixels.get_concrete_function().structured_outputs.items()
    }

    def look(file):
        image = tf.io.decode_image(file, channels, expand_animations=False)
        image = tf.ensure_shape(image, (None, None, channels))
        return {name: output[0] for name, output in on_pixels(image[None]).items()}

    return tf.function(
        lambda image_bytes: tf.map_fn(look, image_bytes, fn_output_signature=one),
        input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")],
        autograph=False,
    )


def _inputs(name, images):
    """What a signature takes of images: they, or a PNG file of each."""
    if name == "serve_bytes":
        return {"image_bytes": tf.stack([tf.io.encode_png(image) for image in images])}
    return {"images": tf.constant(images)}


def _runner(name, function):
    def run(images):
        outputs = function(**_inputs(name, images))
        return {output: value.numpy() for output, value in outputs.items()}

    return run


def _write_warmup(server, signatures, folder):
    """One request to each signature, in the format of TF Serving."""
    with extra("export"):
        from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as writer:
        for name in signatures:
            images = random_images((1, 28, 28, server.channels), SIGNATURES[name])
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=server.name, signature_name=name),
                inputs={
                    key: tf.make_tensor_proto(value.numpy())
                    for key, value in _inputs(name, images).items()
                },
            )
            log = prediction_log_pb2.PredictLog(request=request)
            record = prediction_log_pb2.PredictionLog(predict_log=log)
            writer.write(record.SerializeToString())
