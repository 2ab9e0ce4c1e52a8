"""What a model may guess: one class, or a set of them (`multi_label`).

The logits of one class are those of a softmax. In a set each class is there or not, by
itself, with the sigmoid of its logit.
"""

import keras
from keras import ops


def probabilities(logits, multi_label):
    """The probability of each class: `(..., classes)`."""
    return ops.sigmoid(logits) if multi_label else ops.softmax(logits)


def best_guess(logits, multi_label):
    """The most probable guess.

    Args:
        logits: Float tensor of shape `(..., classes)`.
        multi_label: Bool.

    Returns:
        A class, ints of shape `(...)`, or a set, bools of shape `(..., classes)`.
    """
    return logits > 0 if multi_label else ops.argmax(logits, axis=-1)


def confidence(logits, multi_label):
    """The probability of the best guess, a set as a whole: `(...)`.

    Example:

    >>> logits = np.log([3.0, 0.25])
    >>> round(float(confidence(logits, multi_label=True)), 3)  # 3/4 * 4/5
    0.6
    """
    if multi_label:
        return ops.exp(-ops.sum(ops.softplus(-ops.abs(logits)), axis=-1))
    # The largest; `max` refuses no logits at all.
    return ops.sort(ops.softmax(logits), axis=-1)[..., -1]


def doubt(logits, multi_label):
    """The probability of all other guesses: what the confidence lacks of 1, `(...)`.

    Near 1 few floats are left for a probability, and the last bit of a rounding would
    decide what is sure; near 0 there are plenty.
    """
    if multi_label:
        surprise = ops.sum(ops.softplus(-ops.abs(logits)), axis=-1)  # -log(confidence)
        half = ops.tanh(surprise / 2)
        return 2 * half / (1 + half)  # -expm1(-surprise), which ONNX does not know
    return ops.sum(ops.sort(ops.softmax(logits), axis=-1)[..., :-1], axis=-1)


def is_sure(logits, least, multi_label):
    """Whether the confidence is at least a probability: bools of shape `(...)`."""
    return doubt(logits, multi_label) <= 1 - least


def draw_guess(logits, multi_label, seed):
    """A guess, drawn with its probability, as `best_guess` gives it."""
    if multi_label:
        drawn = keras.random.uniform(ops.shape(logits), seed=seed)
        return drawn < ops.sigmoid(logits)
    return keras.random.categorical(logits, 1, seed=seed)[:, 0]
