"""Losses and metrics, which see logits."""

import inspect
import warnings

import keras

# Losses of Keras that take probabilities, and cannot be told otherwise.
ON_PROBABILITIES = (
    keras.losses.kl_divergence,
    keras.losses.poisson,
    keras.losses.categorical_generalized_cross_entropy,
    keras.losses.dice,
    keras.losses.tversky,
)


# Made for logits; by name, Keras would expect probabilities.
CROSS_ENTROPIES = {
    "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
}


def loss_on_logits(loss):
    """A loss as `compile` takes it, where names stand for cross-entropies on logits.

    Raises:
        ValueError: Unless it is one loss on logits.
    """
    if inspect.isclass(loss):
        loss = {kind: name for name, kind in CROSS_ENTROPIES.items()}.get(loss, loss)
    if isinstance(loss, str) and loss in CROSS_ENTROPIES:
        return CROSS_ENTROPIES[loss](from_logits=True)
    try:
        parameters = inspect.signature(loss).parameters
    except (TypeError, ValueError):  # no function
        parameters = {}
    # A function of Keras is one on probabilities unless it is told otherwise.
    told = parameters["from_logits"].default if "from_logits" in parameters else True
    on_logits = getattr(loss, "from_logits", told) is True
    function = getattr(loss, "fn", loss)
    if not callable(loss) or function in ON_PROBABILITIES or not on_logits:
        raise ValueError(
            "`loss` must be one loss on logits: an object or a function, with "
            "`from_logits=True` if it is a cross-entropy, or one of "
            f"{', '.join(CROSS_ENTROPIES)}. Received: loss={loss}"
        )
    return loss


def takes_classes(loss):
    """Whether a loss takes classes, and not one-hot rows; `None` if nobody knows."""
    function = getattr(loss, "fn", loss)
    name = getattr(function, "__name__", "")
    if getattr(keras.losses, name, None) is not function:  # not of Keras
        return None
    return function is keras.losses.sparse_categorical_crossentropy


def metrics_on_logits(metrics):
    """Metrics as Keras takes them; those named for a cross-entropy see logits.

    Warns of others of Keras that expect probabilities.
    """
    cross_entropies = (
        keras.metrics.SparseCategoricalCrossentropy,
        keras.metrics.CategoricalCrossentropy,
    )
    kinds = {keras.losses.get(k.__name__).name: k for k in cross_entropies}

    def on_logits(metric):
        kind = kinds.get(metric, metric) if isinstance(metric, str) else metric
        if kind in cross_entropies:
            return kind(from_logits=True)
        if _sees_probabilities(metric):
            warnings.warn(
                f"The metric {metric} expects probabilities, and sees logits: its "
                "numbers mean nothing. Pass one with `from_logits=True`, or a function "
                "of labels and logits that calls it on `keras.ops.softmax(logits)`.",
                stacklevel=4,
            )
        return metric

    return keras.tree.map_structure(on_logits, metrics)


def _sees_probabilities(metric):
    if isinstance(metric, str) and metric not in ("accuracy", "acc"):
        metric = keras.metrics.get(metric)
    kinds = (keras.metrics.KLDivergence, keras.metrics.Poisson)
    if isinstance(metric, kinds) or metric in (*kinds, *ON_PROBABILITIES):
        return True
    if hasattr(metric, "thresholds"):  # of what is counted as positive
        config = metric.get_config()
        return not (config.get("from_logits") or config.get("top_k"))
    return getattr(metric, "from_logits", True) is False
