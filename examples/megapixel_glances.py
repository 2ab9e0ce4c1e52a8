"""Single glimpses of megapixel canvases, of which it is known what is to come next.

Where a policy still misses what it is to find, most of a rollout is spent where there
is nothing to learn. A glimpse from a given location needs no glimpses before it, and
all of a batch are taken at once.
"""

import keras
import numpy as np
from keras import ops
from megapixel_data import SIDE, Megapixels

from keras_ram.pointing import pull
from keras_ram.reinforce import label_log_probs

ABOVE = 40  # pixels that a digit may lie higher up and still count as below
SPREADS = (2, 5, 10, 20, 40, 80)  # around digits, in pixels


class Glances(keras.Model):
    """Teaches a built RAM by single glimpses.

    Call arguments:
        inputs: Dict of `"images"`, `(batch, size, size, 1)`, and `"locations"`,
            `(batch, n, 2)`, of n glimpses of each.

    Returns:
        Dict of `"means"`, `(batch, n, 2)`, where the policy would look next, and
        `"logits"`, `(batch, n, classes)`.

    The targets of `fit` are a dict of `"places"`, `(batch, n, 2)`, NaN where none is
    next, and `"classes"`, `(batch, n)`, -1 where none is in sight. An error near a
    place is squared, and far from it grows in proportion, as in `Pointing`.
    """

    def __init__(self, model, **kwargs):
        super().__init__(**kwargs)
        vars(self)["model"] = model
        self.stddev = model.location_sampler.stddev
        self.parts = [model.glimpse_net, model.core, model.location_sampler]
        self.parts.append(model.classifier)
        self.distance_tracker = keras.metrics.Mean(name="distance")
        self.accuracy_tracker = keras.metrics.Mean(name="accuracy")
        self.built = True

    def call(self, inputs, training=False):
        cell = self.model.glimpse_cell()
        batch, number, _ = ops.shape(inputs["locations"])
        _, states = cell.get_initial_state(batch * number)
        locations = ops.reshape(ops.cast(inputs["locations"], "float32"), (-1, 2))
        rows = ops.repeat(ops.arange(0, batch), number)
        prepared = cell.prepare(inputs["images"])
        found, _ = cell(prepared, [locations, states], rows=rows)
        logits = self.model.classifier(found["hidden_state"])
        return {
            "means": ops.reshape(found["mean"], (batch, number, 2)),
            "logits": ops.reshape(logits, (batch, number, -1)),
        }

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
        places = ops.cast(y["places"], "float32")
        classes = ops.cast(ops.reshape(y["classes"], (-1,)), "int32")
        known = ops.all(ops.isfinite(places), axis=-1)
        ways = ops.where(ops.expand_dims(known, -1), places - y_pred["means"], 0.0)
        squares = ops.sum(ops.square(ways), axis=-1)
        known = ops.cast(known, "float32")
        self.distance_tracker.update_state(ops.sqrt(squares), sample_weight=known)
        logits = ops.reshape(y_pred["logits"], (-1, self.model.num_classes))
        seen = ops.cast(classes >= 0, "float32")
        right = ops.cast(ops.argmax(logits, axis=1), "int32") == classes
        self.accuracy_tracker.update_state(right, sample_weight=seen)
        log_probs = label_log_probs(ops.maximum(classes, 0), logits)
        share = ops.maximum(ops.sum(seen), 1)
        return ops.mean(pull(squares, self.stddev)) - ops.sum(seen * log_probs) / share


class Starts(keras.utils.PyDataset):
    """Canvases, and locations from which it is clear where to look next.

    Args:
        digits, labels: Of the training digits.
        size, noise: See `Megapixels`.
        batch_size: Int, canvases of a batch.
        number: Int, locations on each.
        steps: Int, batches of an epoch.
        seed: Int.
    """

    def __init__(self, digits, labels, size, noise, batch_size, number, steps, seed):
        super().__init__()
        self.canvases = Megapixels(
            digits,
            labels,
            count=steps * batch_size,
            size=size,
            patches=noise,
            batch_size=batch_size,
            seed=seed,
            each_epoch="fresh",
        )
        self.number = number

    def __len__(self):
        return len(self.canvases)

    def on_epoch_end(self):
        self.canvases.on_epoch_end()

    def __getitem__(self, index):
        canvases = self.canvases
        images, _ = canvases[index]
        corners = canvases.places(index)
        order = corners[..., 0].argsort(axis=1)
        centres = np.take_along_axis(corners, order[..., None], axis=1) + SIDE / 2
        classes = canvases.labels[canvases.layout["digits"][canvases.rows(index)]]
        classes = np.take_along_axis(classes, order, axis=1)
        rng = np.random.default_rng((canvases.seed, canvases.epoch, index))
        locations = draw_starts(centres, self.number, canvases.size, rng)
        following, seen = what_follows(centres, locations, canvases.size)
        places = np.take_along_axis(
            np.pad(centres, ((0, 0), (0, 1), (0, 0)), constant_values=np.nan),
            following[..., None],
            axis=1,
        )
        seen = np.where(
            seen < 0, -1, np.take_along_axis(classes, np.maximum(seen, 0), axis=1)
        )
        locations, places = (
            (v[..., ::-1] / canvases.size * 2 - 1).astype("float32")
            for v in (locations, places)
        )
        inputs = {"images": images, "locations": locations}
        return inputs, {"places": places, "classes": seen.astype("int32")}


def draw_starts(centres, number, size, rng):
    """Rows and columns `(batch, number, 2)`: by digits, anywhere, and in the middle.

    Args:
        centres: `(batch, 5, 2)`, row and column of the digits.
        number, size: Ints.
        rng: A NumPy generator.
    """
    shape = (len(centres), number, 1)
    chosen = rng.integers(0, centres.shape[1], shape)
    starts = np.take_along_axis(centres, chosen, axis=1)
    starts = starts + rng.choice(SPREADS, shape) * rng.normal(size=(*shape[:2], 2))
    way = rng.random(shape)
    starts = np.where(way < 0.15, size * rng.random((*shape[:2], 2)), starts)
    return np.where(way > 0.95, size / 2, np.clip(starts, 0, size))


def what_follows(centres, starts, size, near=10, in_sight=14):
    """Which digit is next, and which is in sight, from single locations.

    On a digit it is the next one below; in the middle, where the first glimpse is, the
    topmost; and elsewhere the nearest of those that do not lie above.

    Args:
        centres: `(batch, 5, 2)`, row and column of the digits, from the topmost down.
        starts: `(batch, n, 2)`, of locations, in pixels.
        size: Int, side of the canvas.
        near, in_sight: How many pixels from its centre one is on a digit, or sees it.

    Returns:
        Ints `(batch, n)`: the digit that is next, or 5 where there is none, and the
        one that is in sight, or -1.
    """
    ways = np.linalg.norm(starts[:, :, None] - centres[:, None], axis=-1)  # (B, n, 5)
    nearest, way = ways.argmin(axis=2), ways.min(axis=2)
    below = centres[:, None, :, 0] >= starts[:, :, :1] - ABOVE
    nearest_below = np.where(below, ways, np.inf).argmin(axis=2)
    following = np.where(below.any(axis=2), nearest_below, nearest)
    following = np.where(way < near, nearest + 1, following)
    following = np.where((starts == size / 2).all(axis=2), 0, following)
    return following, np.where(way < in_sight, nearest, -1)
