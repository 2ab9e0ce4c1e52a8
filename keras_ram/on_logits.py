"""Losses and metrics, which see logits."""

import inspect
import warnings

import keras
from keras import ops

from keras_ram.guesses import best_guess
from keras_ram.reinforce import accuracy_reward

# Losses of Keras that take probabilities, and cannot be told otherwise.
ON_PROBABILITIES = (
    keras.losses.kl_divergence,
    keras.losses.poisson,
    keras.losses.categorical_generalized_cross_entropy,
    keras.losses.dice,
    keras.losses.tversky,
)


# Made for logits; by name, Keras would expect probabilities. By `multi_label`, and
# the first of each is the default.
CROSS_ENTROPIES = {
    False: {
        "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
        "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
    },
    True: {"binary_crossentropy": keras.losses.BinaryCrossentropy},
}


def loss_on_logits(loss, multi_label):
    """A loss as `compile` takes it, where names stand for cross-entropies on logits.

    Args:
        loss: What was passed to `compile`.
        multi_label: Bool. Whether labels are sets of classes.

    Raises:
        ValueError: Unless it is one loss on logits, for such labels.
    """
    known = CROSS_ENTROPIES[multi_label]
    if isinstance(loss, str) and loss == "auto":
        loss = next(iter(known))
    if inspect.isclass(loss):
        loss = {kind: name for name, kind in known.items()}.get(loss, loss)
    if isinstance(loss, str) and loss in known:
        return known[loss](from_logits=True)
    named = isinstance(loss, str) and loss in CROSS_ENTROPIES[not multi_label]
    if named or (multi_label and _is_of_one_class(loss)):
        raise ValueError(
            f"`loss` must go with `multi_label={multi_label}`, as "
            f"{' and '.join(known)} do{'es' * multi_label}. Received: loss={loss}"
        )
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
            f"{', '.join(known)}. Received: loss={loss}"
        )
    return loss


def takes_classes(loss):
    """Whether a loss takes classes, and not one-hot rows; `None` if nobody knows."""
    function = getattr(loss, "fn", loss)
    name = getattr(function, "__name__", "")
    if getattr(keras.losses, name, None) is not function:  # not of Keras
        return None
    return function is keras.losses.sparse_categorical_crossentropy


@keras.saving.register_keras_serializable("keras_ram")
def set_accuracy(labels, logits):
    """1 for each set that is right as a whole, else 0: `(batch,)`."""
    return accuracy_reward(ops.cast(labels, "bool"), best_guess(logits, True))


def metrics_on_logits(metrics, multi_label):
    """Metrics as Keras takes them; those named for a cross-entropy see logits.

    Accuracy of sets is that of whole ones. Warns of metrics of Keras that expect
    probabilities, or other labels.
    """
    cross_entropies = (
        keras.metrics.SparseCategoricalCrossentropy,
        keras.metrics.CategoricalCrossentropy,
        keras.metrics.BinaryCrossentropy,
    )
    kinds = {keras.losses.get(k.__name__).name: k for k in cross_entropies}

    def on_logits(metric):
        kind = kinds.get(metric, metric) if isinstance(metric, str) else metric
        if multi_label and metric in ("accuracy", "acc"):
            return keras.metrics.MeanMetricWrapper(set_accuracy, name=metric)
        if multi_label and _is_of_one_class(metric):
            warnings.warn(
                f"The metric {metric} is one of single classes, and labels are sets: "
                "its numbers mean nothing.",
                stacklevel=4,
            )
        if kind in cross_entropies:
            return kind(from_logits=True)
        if kind in ("binary_accuracy", keras.metrics.BinaryAccuracy):
            return keras.metrics.BinaryAccuracy(threshold=0)
        if _sees_probabilities(metric):
            activation = "sigmoid" if multi_label else "softmax"
            warnings.warn(
                f"The metric {metric} expects probabilities, and sees logits: its "
                "numbers mean nothing. Pass one with `from_logits=True`, or a function "
                "of labels and logits that calls it on "
                f"`keras.ops.{activation}(logits)`.",
                stacklevel=4,
            )
        return metric

    return keras.tree.map_structure(on_logits, metrics)


def _is_of_one_class(value):
    """Whether a loss or metric has the name of one on single classes."""
    name = getattr(value, "__name__", type(value).__name__)
    return "categorical" in (value if isinstance(value, str) else name).lower()


def _sees_probabilities(metric):
    if isinstance(metric, str) and metric not in ("accuracy", "acc"):
        metric = keras.metrics.get(metric)
    kinds = (keras.metrics.KLDivergence, keras.metrics.Poisson)
    if isinstance(metric, kinds) or metric in (*kinds, *ON_PROBABILITIES):
        return True
    if 0 < (getattr(metric, "threshold", None) or 0) < 1:  # as `BinaryAccuracy`
        return True
    if hasattr(metric, "thresholds"):  # of what is counted as positive
        config = metric.get_config()
        return not (config.get("from_logits") or config.get("top_k"))
    return getattr(metric, "from_logits", True) is False
