"""Checks on labels and weights, whichever way they come in."""

import numbers

import keras
import numpy as np

from keras_ram.inputs import is_array


def check_labels(labels, num_images, num_classes, sparse=None, multi_label=False):
    """Raises `ValueError` if labels do not fit the classes or the loss.

    Args:
        labels: What was passed as labels: classes, one-hot rows or sets of classes.
        num_images: Int.
        num_classes: Int.
        sparse: Whether the loss takes classes (true) or one-hot rows (false);
            `None` if that is not known.
        multi_label: Bool. Whether they must be sets, whatever the loss.
    """
    if labels is None:
        raise ValueError("RAM learns from labels. Received: y=None")
    if not is_array(labels):
        raise ValueError(
            f"Labels must be an array. Received: {type(labels).__name__}. Make one of "
            "a list with `np.array`."
        )
    shape = tuple(labels.shape)
    if not shape or shape[0] != num_images:
        raise ValueError(
            "There must be as many labels as images. Received: labels of shape "
            f"{shape} for {num_images} images."
        )
    one_hot = len(shape) == 2 and shape[1] == num_classes
    if multi_label and not one_hot:
        raise ValueError(
            f"With `multi_label=True` labels must have shape (batch, {num_classes}), 1 "
            "for each class that is there and 0 for the others. Received: "
            f"shape={shape}"
        )
    if not one_hot and len(shape) != 1 and shape[1:] != (1,):
        raise ValueError(
            "Labels must have shape (batch,) with integer classes, or "
            f"(batch, {num_classes}) with one-hot rows. Received: shape={shape}"
        )
    if not multi_label and sparse is not None and sparse is one_hot:
        right = (
            "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
        )
        kind = "one-hot rows" if one_hot else "numbers of classes"
        raise ValueError(
            f"The labels are {kind}, of shape {shape}, and the loss takes the other "
            f'kind. Compile with `loss="{right}"`, or a loss like it.'
        )
    values = keras.ops.convert_to_numpy(labels)
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"Labels must be numbers of classes. Received: dtype={values.dtype}"
        )
    if values.size and one_hot:
        (_check_sets if multi_label else _check_rows)(values)
    elif values.size:
        _check_classes(values, num_classes)


def _check_classes(labels, num_classes):
    low, high = labels.min(), labels.max()
    if not (0 <= low and high < num_classes):
        raise ValueError(
            f"Labels must be in [0, {num_classes - 1}], because "
            f"num_classes={num_classes}. Received: labels from {low} to {high}"
        )
    if labels.dtype.kind == "f" and (labels != np.floor(labels)).any():
        raise ValueError(
            "Labels must be numbers of classes, which are whole. Received: "
            f"{labels[labels != np.floor(labels)][0]}"
        )


def _check_rows(labels):
    low, high = float(labels.min()), float(labels.max())
    sums = labels.sum(axis=1, dtype="float64")
    # Smoothed or mixed labels are shares, which half precision rounds.
    if not ((labels >= 0).all() and (np.abs(sums - 1) < 0.01).all()):
        raise ValueError(
            "One-hot rows must be 1 for the class and 0 for the others, or shares of "
            f"classes that add up to 1. Received: values from {low:g} to {high:g}, "
            f"with sums from {sums.min():g} to {sums.max():g}. Images of several "
            "classes at once are for `RAM(..., multi_label=True)`."
        )


def _check_sets(labels):
    wrong = labels[(labels != 0) & (labels != 1)]
    if wrong.size:
        raise ValueError(
            "With `multi_label=True` labels must be 1 for each class that is there and "
            f"0 for the others. Received: {wrong[0]}"
        )


def check_weights(weights, num_images):
    """Raises `ValueError` unless there is one finite weight for each image.

    Args:
        weights: What was passed as sample weights, or `None`.
        num_images: Int.
    """
    if weights is None:
        return
    known = is_array(weights)
    shape = tuple(weights.shape) if known else type(weights).__name__
    if shape not in ((num_images,), (num_images, 1)):
        raise ValueError(
            "`sample_weight` must be an array that holds a number for each image, of "
            f"shape ({num_images},). Received: {shape}"
        )
    values = keras.ops.convert_to_numpy(weights)
    if values.dtype.kind in "OSU" or not np.isfinite(values.sum()):
        raise ValueError(
            "`sample_weight` must hold finite numbers. Received: "
            f"dtype={values.dtype}, {values[:8]}…"
        )


def class_weights(weights, num_classes, multi_label=False):
    """A weight for each class, 1 where none was given.

    Args:
        weights: `None`, or a dict from numbers of classes to finite numbers.
        num_classes: Int.
        multi_label: Bool. Whether an image may be of several classes.

    Returns:
        `None`, or a dict from every class to a float.
    """
    if weights is None:
        return None
    if multi_label:
        raise ValueError(
            "`class_weight` gives an image the weight of its class, and with "
            "`multi_label=True` it may have several. Pass a `sample_weight` for each "
            f"image. Received: class_weight={weights}"
        )
    proper = isinstance(weights, dict) and all(
        isinstance(label, numbers.Integral)
        and 0 <= label < num_classes
        and isinstance(weight, numbers.Real)
        and np.isfinite(weight)
        for label, weight in weights.items()
    )
    if not proper:
        raise ValueError(
            "`class_weight` must be a dict from classes, integers in "
            f"[0, {num_classes - 1}], to finite numbers. Received: "
            f"class_weight={weights}"
        )
    return {label: float(weights.get(label, 1)) for label in range(num_classes)}
