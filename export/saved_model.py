"""SavedModel, as TF Serving wants it."""

from pathlib import Path

import tensorflow as tf
from keras_ram.export.serving import check, published, serving_function


def export_saved_model(model, path, version=1):
    """Writes `path/version/`, a SavedModel for TF Serving.

    Its signatures are `serving_default` (`images`: float32 in [0, 1]) and
    `serve_uint8` (`images`: uint8 in [0, 255]). Both take any batch size,
    height and width, and give `logits` and `probabilities` of shape `(batch,
    classes)`, and `locations` of shape `(batch, glimpses, 2)`. Nothing in them
    is random. What was written is loaded and compared with the model before it
    is published.

    Args:
        model: A `keras_ram.RAM` that was built: fitted, called or loaded.
        path: The folder that holds the versions of this model.
        version: Int, at least 1. Must not exist yet.

    Returns:
        Float, the largest difference to the model's logits that was seen.

    Raises:
        FileExistsError: If that version exists. It is left as it was.
        RuntimeError: If what was written does not agree with the model.
        ValueError: If the model was not built.
    """
    signatures = {
        "serving_default": serving_function(model, "float32"),
        "serve_uint8": serving_function(model, "uint8"),
    }
    module = tf.Module()
    module.variables_to_save = [variable.value for variable in model.variables]
    with published(Path(path) / str(version)) as folder:
        tf.saved_model.save(module, str(folder), signatures=signatures)
        loaded = tf.saved_model.load(str(folder))
        return max(
            check(model, _runner(loaded.signatures[name]), dtype)
            for name, dtype in (
                ("serving_default", "float32"),
                ("serve_uint8", "uint8"),
            )
        )


def _runner(signature):
    def run(images):
        outputs = signature(images=tf.constant(images))
        return {name: value.numpy() for name, value in outputs.items()}

    return run
