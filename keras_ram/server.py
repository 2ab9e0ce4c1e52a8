"""What a trained model does outside a notebook."""

import json
import tempfile
from pathlib import Path

import keras

from keras_ram.guesses import probabilities
from keras_ram.trainers import Trainer

OUTPUTS = (
    "logits",
    "probabilities",
    "locations",
    "num_glimpses",
    "step_probabilities",
)


def describe(model):
    """What there is to know of a model where it is served, for JSON."""
    sensor = model.glimpse_sensor
    return {
        "name": model.name,
        "num_classes": model.num_classes,
        "class_names": model.class_names,
        "multi_label": model.multi_label,
        "num_glimpses": model.num_glimpses,
        "stop_confidence": model.stop_confidence,
        "image_sizes": model.image_sizes,
        "patch_size": sensor.patch_size,
        "scales": list(sensor.scales),
        "shares": list(sensor.shares),
        "channels": model.input_spec.axes[-1],
        "locations": "(x, y) of each glimpse; -1 and 1 are the image's edges",
    }


def write_assets(model, folder):
    """Writes `model.json`, and the names of the classes to `labels.txt`, one a line.

    Returns:
        List of strings, the paths of the files.
    """
    contents = {"model.json": json.dumps(describe(model), indent=1)}
    if model.class_names:
        contents["labels.txt"] = "".join(f"{name}\n" for name in model.class_names)
    Path(folder).mkdir(exist_ok=True)
    for name, text in contents.items():
        Path(folder, name).write_bytes(text.encode())
    return [str(Path(folder, name)) for name in contents]


class Server(keras.Model):
    """A RAM at inference: deterministic, in float32, with named outputs.

    Every artifact holds this model.

    Args:
        model: A built `keras_ram.RAM`. One that computes in another precision
            is copied into float32.

    Call arguments:
        images: Tensor of shape `(batch, height, width, channels)`, as for
            `keras_ram.RAM`, of one size in a batch.

    Returns:
        A dict of tensors: `"logits"` and `"probabilities"` of the last guess,
        float32 of shape `(batch, num_classes)`, `"locations"`, float32 `(batch, T,
        2)`, `"num_glimpses"`, int32 `(batch,)`, and `"step_probabilities"`, float32
        `(batch, T, num_classes)`, of the guess after each glimpse. After the stop
        the last location and guess are repeated. With `multi_label` each class has
        a probability of its own, and the guess are those above one half.

    Raises:
        ValueError: If the model is no RAM, or was not built.
    """

    def __init__(self, model):
        if not isinstance(model, Trainer):
            raise ValueError(
                "Only a `keras_ram.RAM` is exported. Received: "
                f"{type(model).__name__}. Of a model around it, export the RAM."
            )
        if not model.built:
            raise ValueError(
                "The model has no weights yet, and cannot be exported. Call it on a "
                "batch of images, or `fit` it, first."
            )
        super().__init__(name=model.name, dtype="float32")
        self.channels = model.input_spec.axes[-1]
        self.model = _in_float32(model)
        self.built = True

    def call(self, images):
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # Into the graph: no runtime looks at the signature's shape.
            images = tf.ensure_shape(images, (None, None, None, self.channels))
        seen = self.model.decide(images)
        logits = seen["logits"][:, -1]
        return {
            "logits": logits,
            "probabilities": probabilities(logits, self.model.multi_label),
            "locations": seen["locations"],
            "num_glimpses": seen["num_glimpses"],
            "step_probabilities": probabilities(seen["logits"], self.model.multi_label),
        }

    def signature(self, dtype="float32"):
        """What `call` takes: all but the number of channels is free."""
        shape = (None, None, None, self.channels)
        return [keras.InputSpec(shape=shape, dtype=dtype, name="images")]


def _in_float32(model):
    if all(layer.compute_dtype == "float32" for layer in model._flatten_layers()):
        return model
    copy = type(model).from_config(_with_dtype(model.get_config(), "float32"))
    copy.build((None, None, None, model.input_spec.axes[-1]))
    with tempfile.TemporaryDirectory() as folder:  # where adapters are merged
        file = Path(folder) / "model.weights.h5"
        model.save_weights(file)
        copy.load_weights(file)
    return copy


def _with_dtype(config, dtype):
    """The config with every `dtype` in it replaced, at any depth."""
    if isinstance(config, dict):
        return {
            key: dtype if key == "dtype" else _with_dtype(value, dtype)
            for key, value in config.items()
        }
    if isinstance(config, list):
        return [_with_dtype(value, dtype) for value in config]
    return config
