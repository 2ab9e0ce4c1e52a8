"""When a model has seen enough."""

import keras
from keras import ops

from keras_ram import guesses
from keras_ram.loops import repeat_while


def stop_when_sure(rollout, confidence, multi_label=False):
    """What is left of a whole rollout that is stopped at its first sure guess.

    Args:
        rollout: Dict with `"locations"`, `(batch, T, 2)`, and `"logits"`, `(batch,
            T, classes)`.
        confidence: Float, the least probability of a sure guess, or `None`: nothing
            is stopped.
        multi_label: Bool. Whether a guess is a set of classes.

    Returns:
        The dict, where these two repeat the last glimpse after the stop, and with
        `"num_glimpses"`, int32 of shape `(batch,)`.
    """
    logits = rollout["logits"]
    length = logits.shape[1]
    if confidence is None:
        count = ops.zeros_like(logits[:, 0, 0], dtype="int32") + length
        return {**rollout, "num_glimpses": count}
    sure = guesses.is_sure(logits, confidence, multi_label)  # (B, T)
    first = ops.cast(ops.argmax(sure, axis=1), "int32") + 1
    count = ops.where(ops.any(sure, axis=1), first, length)
    stopped = {n: _repeat_last(rollout[n], count) for n in ("locations", "logits")}
    return {**rollout, **stopped, "num_glimpses": count}


def _repeat_last(values, count):
    """Values `(batch, T, n)`, of which those after `count` glimpses repeat the last."""
    taken = ops.arange(0, values.shape[1], dtype="int32")
    taken = ops.minimum(taken, ops.expand_dims(count - 1, 1))  # (B, T)
    return ops.take_along_axis(values, ops.expand_dims(taken, 2), axis=1)


def look_until_sure(step, guess, state, confidence, multi_label, length, shrink):
    """Takes glimpses of each image until the guess is sure.

    Args:
        step: Function of the state of a `GlimpseCell` and the numbers of the images
            that are looked at, which calls the cell.
        guess: Function from hidden states to logits.
        state: The cell's state before the first glimpse.
        confidence, multi_label: As for `stop_when_sure`.
        length: Int, the most glimpses an image gets.
        shrink: Bool. Whether images that are decided leave the batch. Code compiled
            for fixed shapes cannot do that, and looks at them in vain until the
            last one is decided.

    Returns:
        Dict of `"logits"`, `"locations"` and `"num_glimpses"`, as `stop_when_sure`
        gives them.
    """
    location = state[0]
    rows = ops.arange(0, ops.shape(location)[0], dtype="int32")
    nothing = ops.zeros_like(location[:, :1])  # (B, 1)
    logits = ops.expand_dims(nothing, 1) + ops.zeros((1, length, guess.units))
    locations = ops.expand_dims(location, 1) + ops.zeros((1, length, 1))
    shrink = shrink and confidence is not None

    def body(now):
        rows, sure = now["rows"], now["sure"]
        here = ops.zeros_like(rows) + now["step"]
        cells = ops.stack([rows, here], axis=1)  # (rows, 2)
        found, state = step(now["state"], rows)
        logits = guess(found["hidden_state"])
        written = {
            "logits": ops.scatter_update(now["logits"], cells, logits),
            "locations": ops.scatter_update(now["locations"], cells, found["location"]),
            "num_glimpses": (
                ops.scatter_update(now["num_glimpses"], cells[:, :1], here + 1)
                if shrink
                else ops.where(sure, now["num_glimpses"], here + 1)
            ),
        }
        if confidence is not None:
            enough = guesses.is_sure(logits, confidence, multi_label)
            sure = ops.logical_or(sure, enough)
        if shrink:
            (left,) = ops.nonzero(ops.logical_not(sure))
            rows, sure, state = keras.tree.map_structure(
                lambda value: ops.take(value, left, axis=0), (rows, sure, state)
            )
        step_after = now["step"] + 1
        return {
            **written,
            "rows": rows,
            "sure": sure,
            "state": state,
            "step": step_after,
        }

    now = {
        "logits": logits,
        "locations": locations,
        "num_glimpses": ops.zeros_like(rows),
        "rows": rows,
        "sure": ops.zeros_like(rows, dtype="bool"),
        "state": state,
        "step": ops.zeros((), dtype="int32"),
    }
    end = repeat_while(
        lambda now: ops.logical_and(
            now["step"] < length, ops.any(ops.logical_not(now["sure"]))
        ),
        body,
        now,
    )
    count = end["num_glimpses"]
    stopped = {n: _repeat_last(end[n], count) for n in ("logits", "locations")}
    return {**stopped, "num_glimpses": count}
