"""Checks on what users pass, before anything is computed."""

import inspect
import math
import numbers
from pathlib import Path

import keras
import numpy as np


def check_integer(name, value, least=1):
    """Raises `ValueError` unless `value` is an integer of at least `least`.

    Returns:
        The value as an int of Python, which every file format can hold.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(
            f"`{name}` must be an integer of at least {least}. Received: {name}={value}"
        )
    return int(value)


def check_positive(name, value):
    """Raises `ValueError` unless `value` is a positive, finite number.

    Returns:
        The value as a number of Python, which every file format can hold.
    """
    if not isinstance(value, numbers.Real) or not 0 < value < math.inf:
        raise ValueError(f"`{name}` must be positive. Received: {name}={value}")
    return value.item() if isinstance(value, np.generic) else value


def check_share(name, value):
    """Raises `ValueError` unless `value` is a number in [0, 1]."""
    if not isinstance(value, numbers.Real) or not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be in [0, 1]. Received: {name}={value}")


def check_choice(name, value, choices):
    """Raises `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}. "
            f"Received: {name}={value!r}"
        )


def check_file(name, path):
    """Raises `IsADirectoryError` if `path` is a folder."""
    if Path(path).is_dir():
        raise IsADirectoryError(f"`{name}` must be a file. Received: {name}={path}")


def check_loss(loss, names):
    """Raises `ValueError` unless `loss` is one on logits.

    Args:
        loss: What was passed to `compile`, but for the strings in `names`.
        names: The strings that may be passed.
    """
    # A function of Keras is one on probabilities unless it is told otherwise.
    on_probabilities = inspect.isfunction(loss) and (
        "from_logits" in inspect.signature(loss).parameters
    )
    on_logits = getattr(loss, "from_logits", not on_probabilities)
    if loss is None or isinstance(loss, str) or not on_logits:
        raise ValueError(
            "`loss` must be a loss on logits: an object, with `from_logits=True` "
            f"if it is a cross-entropy, or one of {', '.join(names)}. "
            f"Received: loss={loss}"
        )


def check_images(images):
    """Raises `ValueError` if an array of images cannot be looked at.

    Only arrays and tensors are checked. A pipeline shows its values later.

    Args:
        images: What was passed as `x` to `fit`, `evaluate` or `predict`.
    """
    if not _is_array(images):
        return
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise ValueError(
            "Images must have shape (batch, height, width, channels). Received: "
            f"shape={shape}. Add a channel axis to grey images with "
            "`images[..., None]`, and a batch axis to one image with `image[None]`."
        )
    if 0 in shape:
        raise ValueError(f"There are no images to look at. Received: shape={shape}")
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(images.dtype)):
        return  # integers are finite
    if not isinstance(images, np.ndarray):  # of which a copy would be made
        images = keras.ops.convert_to_numpy(images)
    # The extremes are not finite where any value is not; no copy is made.
    if not (np.isfinite(images.min()) and np.isfinite(images.max())):
        raise ValueError(
            "Images must be finite. Received NaN or infinity in "
            f"{np.sum(~np.isfinite(images).all(axis=(1, 2, 3)))} of {shape[0]} images."
        )


def check_labels(images, labels, num_classes):
    """Raises `ValueError` if an array of labels does not fit the classes.

    Args:
        images: What was passed as `x`. A pipeline brings its own labels.
        labels: What was passed as `y`: classes or one-hot rows.
        num_classes: Int.
    """
    if labels is None and _is_array(images):
        raise ValueError("RAM learns from labels. Received: y=None")
    if not _is_array(labels):
        return
    shape = tuple(labels.shape)
    if len(shape) == 2 and shape[1] == num_classes:
        return
    if len(shape) != 1 and shape[1:] != (1,):
        raise ValueError(
            "Labels must have shape (batch,) with integer classes, or "
            f"(batch, {num_classes}) with one-hot rows. Received: shape={shape}"
        )
    labels = keras.ops.convert_to_numpy(labels)
    if labels.dtype.kind not in "biuf":
        raise ValueError(
            f"Labels must be numbers of classes. Received: dtype={labels.dtype}"
        )
    if labels.size and not (0 <= labels.min() and labels.max() < num_classes):
        raise ValueError(
            f"Labels must be in [0, {num_classes - 1}], because "
            f"num_classes={num_classes}. Received: labels from {labels.min()} to "
            f"{labels.max()}"
        )


def _is_array(data):
    return isinstance(data, np.ndarray) or keras.ops.is_tensor(data)
