"""What it costs to stop sooner."""

import numpy as np
from keras import ops

from keras_ram import guesses
from keras_ram.drawing import import_pyplot
from keras_ram.inputs import check_images, read
from keras_ram.sizes import number_of
from keras_ram.targets import check_labels
from keras_ram.validation import check_integer, check_share
from keras_ram.watching import watch_all

MARKED = (0.5, 0.9, 0.99, 0.999)  # confidences that are named in the picture


def stopping_curve(model, images, labels, batch_size=128):
    """What it costs to stop sooner: errors and glimpses for each confidence.

    Args:
        model: A `keras_ram.RAM`.
        images: Array of shape `(n, height, width, channels)`, or images of different
            sizes, as for calling the model; for validation.
        labels: Ints of shape `(n,)`, or `(n, num_classes)` with `multi_label`.
        batch_size: Int, images that are looked at together.

    Returns:
        A dict of arrays of one length: `"confidence"`, values for
        `RAM.stop_confidence` from 0 (one glimpse) to 1; `"error"`, the share of
        wrong guesses with it, and `"num_glimpses"`, the mean number of glimpses.

    Raises:
        ValueError: If images or labels do not fit the model.

    Example:

    >>> model = keras_ram.RAM(num_classes=10, num_glimpses=3, seed=1)
    >>> images, labels = np.zeros((5, 28, 28, 1)), np.arange(5)
    >>> curve = keras_ram.stopping_curve(model, images, labels)
    >>> keras_ram.cheapest_confidence(curve, tolerance=0.01)
    0.0

    Reference:

    - [Mnih et al., 2014](https://arxiv.org/abs/1406.6247), section 5, which proposes
      that the network itself decides when it stops.
    """
    images = read(images)
    check_images(images)
    check_integer("batch_size", batch_size)
    labels = np.asarray(labels)
    kind = model.multi_label
    check_labels(labels, number_of(images), model.num_classes, True, kind)
    logits = watch_all(model, images, batch_size, return_rollout=True)["logits"]
    doubt = ops.convert_to_numpy(guesses.doubt(logits, kind))  # (n, T)
    right = ops.convert_to_numpy(guesses.best_guess(logits, kind)) == (
        labels[:, None] if kind else labels.reshape(-1, 1)
    )
    right = right.all(axis=-1) if kind else right
    # As fine near 1, where a trained model's certainty is, as one in ten thousand.
    confidences = [*(1 - np.logspace(0, -4, 101)), 1.0]
    curve = {"confidence": confidences, "error": [], "num_glimpses": []}
    for confidence in confidences:
        sure = doubt <= np.float32(1 - confidence)
        sure[:, -1] = True
        last = sure.argmax(axis=1)
        curve["error"].append(1 - right[np.arange(len(last)), last].mean())
        curve["num_glimpses"].append(1 + last.mean())
    return {name: np.array(values) for name, values in curve.items()}


def cheapest_confidence(curve, tolerance=0.0):
    """The confidence with the fewest glimpses that costs no more than a tolerance.

    Chance alone may make a low one look good. So one counts only if all above it stay
    within the tolerance as well.

    Args:
        curve: What `stopping_curve` returned.
        tolerance: Float in [0, 1], how much larger the share of wrong guesses may be
            than with all glimpses.

    Returns:
        Float, for `RAM.stop_confidence`.

    Raises:
        ValueError: If `tolerance` is out of its range.

    Example:

    >>> curve = {"confidence": [0, 0.9, 1], "error": [0.3, 0.02, 0.01]}
    >>> curve["num_glimpses"] = [1, 2.5, 6]
    >>> curve = {name: np.array(values) for name, values in curve.items()}
    >>> keras_ram.cheapest_confidence(curve, tolerance=0.01)
    0.9
    """
    check_share("tolerance", tolerance)
    within = curve["error"] <= curve["error"][-1] + tolerance + 1e-9
    allowed = np.logical_and.accumulate(within[::-1])[::-1]
    cost = np.where(allowed, curve["num_glimpses"], np.inf)
    return float(curve["confidence"][np.argmin(cost)])


def plot_stopping_curve(curve, confidence=None):
    """Draws the share of wrong guesses by the mean number of glimpses.

    Args:
        curve: What `stopping_curve` returned.
        confidence: `None`, or the float that was chosen, which is marked.

    Returns:
        A `matplotlib.figure.Figure`, as from `plot_glimpses`.

    Raises:
        ImportError: If Matplotlib is not installed.
        ValueError: If `confidence` is out of its range.

    Example:

    >>> model = keras_ram.RAM(num_classes=10, num_glimpses=3, seed=1)
    >>> images, labels = np.zeros((5, 28, 28, 1)), np.arange(5)
    >>> curve = keras_ram.stopping_curve(model, images, labels)
    >>> figure = keras_ram.plot_stopping_curve(curve, confidence=0.9)
    """
    if confidence is not None:
        check_share("confidence", confidence)
    pyplot = import_pyplot()
    from matplotlib.ticker import LogLocator, NullLocator

    figure, axis = pyplot.subplots(figsize=(5, 3.2), dpi=150, layout="constrained")
    glimpses, errors = curve["num_glimpses"], 100 * curve["error"]
    axis.plot(glimpses, errors, color="0.4")

    def mark(value, colour, beside, **text):
        """A dot on the curve, with its confidence."""
        at = np.searchsorted(curve["confidence"], value)
        axis.plot(glimpses[at], errors[at], "o", color=colour)
        axis.annotate(
            f"{value:.4g}",
            (glimpses[at], errors[at]),
            xytext=beside,  # the dot
            textcoords="offset points",
            color=colour,
            fontsize=8,
            **text,
        )

    for value in MARKED:
        mark(value, "0.4", (2, 4), rotation=45)  # those near 1 are close together
    if confidence is not None:
        mark(confidence, "tab:red", (-10, -13))
    if errors.min() > 0:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set_ylim(bottom=0.6 * errors.min())
    axis.set_xlabel("glimpses, mean")
    axis.set_ylabel("wrong guesses, %")
    axis.set_title("stopped at a guess of this probability", fontsize=9)
    return figure
