"""What every artifact shares: the function it holds, its check, its publication."""

import contextlib
import os
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

INPUT = "images"
OUTPUTS = ("logits", "probabilities", "locations")
# A recurrence amplifies the rounding that differs between runtimes, now and then
# a thousandfold on noise. A wrong artifact differs everywhere.
TYPICAL, LARGEST = 1e-4, 0.1


def serving_function(model, dtype):
    """The deterministic rollout of a model, as a function of `images`.

    Args:
        model: A built `keras_ram.RAM`.
        dtype: `"float32"` (pixels in [0, 1]) or `"uint8"` (in [0, 255]).

    Returns:
        A `tf.function` from images `(batch, height, width, channels)`, all but
        the channels free, to a dict: `logits` and `probabilities` of shape
        `(batch, classes)`, and `locations` of shape `(batch, T, 2)`.
    """
    if not model.built:
        raise ValueError(
            "The model has no weights yet, and cannot be exported. Call it on a "
            "batch of images, or `fit` it, first."
        )
    channels = model.input_spec.axes[-1]
    spec = tf.TensorSpec((None, None, None, channels), dtype, name=INPUT)

    @tf.function(input_signature=[spec], autograph=False)
    def serve(images):
        return _outputs(model, images)

    return serve


def _outputs(model, images):
    rollout = model.rollout(images)
    logits = rollout["logits"][:, -1]
    return {
        "logits": logits,
        "probabilities": keras.ops.softmax(logits),
        "locations": rollout["locations"],
    }


def check(model, run, dtype):
    """Compares an artifact with its model on random images of several sizes.

    Args:
        model: A built `keras_ram.RAM`.
        run: Function from an array of images to a dict of arrays.
        dtype: As for `serving_function`.

    Returns:
        Float, the largest difference seen in the logits.

    Raises:
        RuntimeError: If the artifact does not say what the model says.
    """
    rng = np.random.default_rng(0)
    channels = model.input_spec.axes[-1]
    largest = 0.0
    for height, width in ((28, 28), (60, 41), (7, 100)):
        images = rng.integers(0, 256, (16, height, width, channels))
        images = (
            images.astype("uint8")
            if dtype == "uint8"
            else (images / 255).astype("float32")
        )
        expected = _outputs(model, images)
        outputs = run(images)
        for name in OUTPUTS:
            difference = np.abs(
                outputs[name] - keras.ops.convert_to_numpy(expected[name])
            )
            if not (np.median(difference) < TYPICAL and difference.max() < LARGEST):
                raise RuntimeError(
                    f"The exported model does not agree with the original in {name!r} "
                    f"on images of shape {images.shape}: the median difference is "
                    f"{np.median(difference):.1e}, the largest {difference.max():.1e}. "
                    "Nothing was published."
                )
            if name == "logits":
                largest = max(largest, float(difference.max()))
    return largest


@contextlib.contextmanager
def published(path):
    """Gives a temporary path, and moves what was written there to `path`.

    On an error nothing is published, and nothing is left over.

    Args:
        path: Where the file or folder is to appear. Must not exist.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"There is something at {path} already.")
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that the move is one rename on one disk.
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}."
    ) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        os.rename(temporary, path)
