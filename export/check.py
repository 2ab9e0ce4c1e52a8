"""What every artifact takes, and its check against the model."""

import contextlib
import itertools

import keras
import numpy as np
import tensorflow as tf

from keras_ram.server import OUTPUTS

# A recurrence amplifies the rounding that differs between runtimes. A wrong
# artifact differs everywhere.
TYPICAL, LARGEST = 1e-4, 1e-2


def signature(server, dtype):
    """What TensorFlow calls the signature of a `keras_ram.server.Server`."""
    (images,) = server.signature(dtype)
    return [tf.TensorSpec(images.shape, dtype, name=images.name)]


def check(server, runs, dtype):
    """Compares an artifact with its model on random images of several sizes.

    Args:
        server: The `keras_ram.server.Server` that was written.
        runs: Functions from an array of images to a dict of arrays.
        dtype: `"float32"` (pixels in [0, 1]) or `"uint8"` (in [0, 255]).

    Returns:
        Float, the largest difference seen in the logits.

    Raises:
        RuntimeError: If the artifact does not say what the model says.
    """
    largest = 0.0
    for height, width in ((28, 28), (60, 5), (7, 100)):
        images = random_images((16, height, width, server.channels), dtype)
        with _full_precision():
            expected, *found = server(images), *(run(images) for run in runs)
        for outputs, name in itertools.product(found, OUTPUTS):
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
def _full_precision():
    """GPUs round what float32 products are made of, if they may."""
    rounds = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(rounds)


def random_images(shape, dtype):
    """Smooth noise in the range of the dtype.

    White noise would tell little: where neighbouring pixels have nothing in
    common, where a trained model looks next hangs on the last bit.
    """
    batch, height, width, channels = shape
    coarse = np.random.default_rng(0).uniform(size=(batch, 4, 4, channels))
    images = keras.ops.image.resize(
        coarse.astype("float32"), (height, width), data_format="channels_last"
    )
    pixels = np.round(255 * keras.ops.convert_to_numpy(images)).astype("uint8")
    return pixels if dtype == "uint8" else (pixels / 255).astype("float32")
