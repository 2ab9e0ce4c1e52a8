"""Single glimpses of megapixel canvases, of which it is known what is to come next.

Where a policy still misses what it is to find, most of a rollout is spent where there
is nothing to learn. A glimpse from a given location needs no glimpses before it, and
all of a batch are taken at once.
"""

import keras
import numpy as np
from keras import ops
from megapixel_data import SIDE, Megapixels
from megapixel_models import NEAR
from megapixel_search import errors, unit_of_way, what_follows
from megapixel_way import PLACES, Way

from keras_ram.pointing import nearest
from keras_ram.reinforce import label_log_probs

SPREADS = (2, 4, 8, 16, 40, 80, 160)  # around digits, in pixels
IN_SIGHT = 10  # pixels, where one can read it
NOWHERE = 1e6  # pixels away
PACE = 2  # times the rate, and the weight of places, of whole rollouts


class Glances(keras.Model):
    """Teaches a built RAM by single glimpses.

    Args:
        model: The RAM.
        options: What the command line gave.

    Call arguments:
        inputs: Dict of `"images"`, `(batch, size, size, 1)`; `"locations"`, `(batch,
            n, 2)`, of n glimpses of each; and `"earlier"`, `(batch, n, T - 1, 2)`,
            where the model is to have looked before.

    Returns:
        Dict of `"means"`, `(batch, n, 2)`, where the policy would look next, and
        `"logits"`, `(batch, n, classes)`.

    The targets of `fit` are a dict of `"places"`, `(batch, n, 5, 2)`, which may be
    next, or NaN, and `"classes"`, `(batch, n)`, -1 where none is in sight. Next is the
    place nearest to where the policy would look. Its error is that of `Search`. There
    is also `"anywhere"`, `(batch, m, 2)`, places for the way round (`Way`), which is
    forgotten beside the digits where it is not taught by itself.
    """

    def __init__(self, model, options):
        super().__init__()
        vars(self)["model"], vars(self)["way"] = model, Way(model, options.size)
        self.size, self.weight = options.size, PACE * options.weight
        self.unit = unit_of_way(options.size, options.noise)
        self.parts = [model.glimpse_net, model.core, model.location_sampler]
        self.parts.append(model.classifier)
        self.distance_tracker = keras.metrics.Mean(name="distance")
        self.accuracy_tracker = keras.metrics.Mean(name="accuracy")
        self.built = True

    def call(self, inputs, training=False):
        cell = self.model.glimpse_cell()
        batch, number, _ = ops.shape(inputs["locations"])
        _, states, _ = cell.get_initial_state(batch * number)
        locations = ops.reshape(ops.cast(inputs["locations"], "float32"), (-1, 2))
        rows = ops.repeat(ops.arange(0, batch), number)
        prepared = cell.prepare(inputs["images"])
        earlier = ops.cast(inputs["earlier"], "float32")
        earlier = ops.reshape(earlier, (batch * number, -1))
        found, _ = cell(prepared, [locations, states, earlier], rows=rows)
        logits = self.model.classifier(found["hidden_state"])
        return {
            "means": ops.reshape(found["mean"], (batch, number, 2)),
            "logits": ops.reshape(logits, (batch, number, -1)),
        }

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
        places = ops.cast(y["places"], "float32")
        classes = ops.cast(ops.reshape(y["classes"], (-1,)), "int32")
        places = nearest(places, y_pred["means"])
        squares = ops.sum(ops.square(places - y_pred["means"]), axis=-1)
        self.distance_tracker.update_state(ops.sqrt(squares))
        logits = ops.reshape(y_pred["logits"], (-1, self.model.num_classes))
        seen = ops.cast(classes >= 0, "float32")
        right = ops.cast(ops.argmax(logits, axis=1), "int32") == classes
        self.accuracy_tracker.update_state(right, sample_weight=seen)
        log_probs = label_log_probs(ops.maximum(classes, 0), logits)
        share = ops.maximum(ops.sum(seen), 1)
        beside = ops.mean(errors(y_pred["means"], places, self.size, self.unit))
        anywhere = ops.reshape(ops.cast(y["anywhere"], "float32"), (-1, 2))
        beside += self.way.off(anywhere, self.way(anywhere)) / self.unit
        return self.weight * beside - ops.sum(seen * log_probs) / share


class Starts(Megapixels):
    """Canvases, and locations from which it is clear where to look next.

    Args:
        digits, labels, **options: As for `Megapixels`.
        number: Int, locations on each.
        memory: Int, earlier glimpses before each of them.
    """

    def __init__(self, digits, labels, number, memory, **options):
        super().__init__(digits, labels, **options)
        self.number, self.memory = number, memory

    def __getitem__(self, index):
        images, _ = super().__getitem__(index)
        centres = self.places(index) + SIDE / 2
        classes = self.classes(index)
        noise = self.layout["patch_places"][self.rows(index)] + SIDE / 2
        rng = np.random.default_rng((self.seed, self.epoch, index))
        locations = draw_starts(centres, self.number, self.size, rng)
        shape = (self.number, self.memory)
        earlier = draw_earlier(centres, noise, *shape, self.size, rng)
        ways = locations[:, :, None] - centres[:, None]
        ways = np.linalg.norm(ways, axis=-1)  # (B, n, 5)
        seen = np.take_along_axis(classes, ways.argmin(axis=2), axis=1)
        seen = np.where(ways.min(axis=2) < IN_SIGHT, seen, -1)
        looked = (locations, earlier, centres)
        locations, earlier, centres = map(self.as_locations, looked)
        looks = np.concatenate([locations[:, :, None], earlier], axis=2)
        ways = looks[:, :, :, None] - centres[:, None, None]  # (B, n, T, 5, 2)
        near = 2 * NEAR / self.size
        left = (np.linalg.norm(ways, axis=-1) >= near).all(axis=2)
        places = what_follows(centres, left, locations, self.size)
        places = ops.convert_to_numpy(places)
        inputs = {"images": images, "locations": locations, "earlier": earlier}
        anywhere = rng.uniform(-1, 1, (len(images), PLACES // len(images), 2))
        targets = {"classes": seen.astype("int32"), "anywhere": anywhere}
        return inputs, {"places": places, **targets}


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
    starts = np.where(way < 0.3, size * rng.random((*shape[:2], 2)), starts)
    return np.where(way > 0.95, size / 2, np.clip(starts, 0, size))


def draw_earlier(centres, noise, number, memory, size, rng):
    """Where one has looked before, `(batch, number, memory, 2)`, row and column.

    On some of the digits, from none to all, and where else one gets.

    Args:
        centres, noise: `(batch, 5, 2)` and `(batch, n, 2)`, of digits and noise.
        number, memory, size: Ints.
        rng: A NumPy generator.
    """
    batch = len(centres)
    shape = (batch, number, memory)
    places = size * rng.random((*shape, 2))
    if noise.shape[1]:
        chosen = rng.integers(0, noise.shape[1], shape)
        there = noise[np.arange(batch)[:, None, None], chosen]
        places = np.where(rng.random(shape)[..., None] < 0.5, there, places)
    places[:, :, :5] = centres[:, None, : min(5, memory)]
    places += 3 * rng.normal(size=places.shape)
    share = np.repeat(rng.random((batch, number, 2)), [5, max(0, memory - 5)], axis=2)
    looked = rng.random(shape) < share[:, :, :memory]
    return np.where(looked[..., None], places, -NOWHERE)
