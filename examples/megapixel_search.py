"""Where to look next on megapixel canvases: the order that a model is taught."""

import numpy as np
from finding import miss
from keras import ops
from megapixel_data import SIDE, Megapixels
from megapixel_models import NEAR
from megapixel_way import next_middle, squares_of

import keras_ram

NEARBY = 190  # pixels along x and y, where it is seen what is a digit
LOOKS = 1280  # pixels of the way round that count 1, with one patch of noise nearby
NEARS = (4.0, 16.0, 48.0, 96.0)  # pixels, see `miss`


def what_follows(places, left, locations, size):
    """Where one may look next: at a digit nearby, or round the canvas for others.

    Where no digit that is left is nearby it is the middle of the square after the one
    where one is. So all of the canvas is seen, whatever was seen of it.

    Args:
        places: `(batch, 5, 2)`, of the digits, `(x, y)` in [-1, 1].
        left: Bools `(batch, n, 5)`, whether they were not visited yet.
        locations: `(batch, n, 2)`, of the present glimpse.
        size: Int, side of the canvas.

    Returns:
        `(batch, n, 5, 2)`, some of them NaN, or all the same.
    """
    ways = ops.expand_dims(locations, 2) - ops.expand_dims(places, 1)
    nearby = ops.max(ops.abs(ways), axis=-1) < 2 * NEARBY / size
    nearby = ops.expand_dims(ops.logical_and(left, nearby), -1)  # (B, n, 5, 1)
    middles = next_middle(locations, size)
    digits = ops.where(nearby, ops.expand_dims(places, 1), np.nan)
    none = ops.logical_not(ops.any(nearby, axis=2, keepdims=True))
    return ops.where(none, ops.expand_dims(middles, 2), digits)


def errors(means, places, size, unit):
    """What it costs to look beside a place, `(batch, n)`.

    Whether to go round is in doubt, and where it goes never is. So there it is the way,
    in so many pixels, and much less than beside a digit as far away as the next square:
    a look at noise costs one glimpse, and a digit that is passed by is lost.

    Args:
        means, places: `(batch, n, 2)`, where it looks, and where it should.
        size: Int, side of the canvas.
        unit: Float, the pixels that count 1 on the way round. See `unit_of_way`.
    """
    squares = ops.sum(ops.square((places - means) * size / 2), axis=-1)
    cells = (places + 1) / 2 * squares_of(size) - 0.5
    middle = ops.all(ops.abs(cells - ops.round(cells)) < 1e-5, axis=-1)
    return ops.where(middle, ops.sqrt(squares + 1) / unit, miss(squares, NEARS))


def answers(task, digits, places, visited, label):
    """What is right after each glimpse: of the digits that were visited so far.

    So it is seen at once whether the one that counts is remembered, and not in the end
    alone. Before the first, and for `majority`, it is what is asked for in the end.

    Args:
        task: One of `TASKS`.
        digits: Ints `(batch, 5)`, their classes.
        places: `(batch, 5, 2)`, `(x, y)`.
        visited: Bools `(batch, T, 5)`.
        label: `(batch,)`, or `(batch, 10)` for `multi`, of the canvas.

    Returns:
        Ints `(batch, T)`, or `(batch, T, 10)`.
    """
    label = ops.expand_dims(ops.cast(label, "int32"), 1)
    if task == "majority":
        return ops.repeat(label, visited.shape[1], axis=1)
    digits = ops.expand_dims(ops.cast(digits, "int32"), 1)  # (B, 1, 5)
    none = ops.logical_not(ops.any(visited, axis=2))
    if task == "multi":
        there = ops.one_hot(digits, 10, dtype="int32")  # (B, 1, 5, 10)
        there = ops.max(there * ops.cast(visited, "int32")[..., None], axis=2)
        return ops.where(none[..., None], label, there)
    if task == "max":
        return ops.where(none, label, ops.max(ops.where(visited, digits, -1), axis=2))
    highest = ops.argmin(ops.where(visited, places[:, None, :, 1], 2.0), axis=2)
    return ops.where(none, label, ops.take_along_axis(digits[:, 0], highest, axis=1))


def unit_of_way(size, noise):
    """The pixels that count 1 on the way round: the fewer, the more noise there is.

    With little of it one may look at what may be a digit. With much one would look at
    nothing else.

    Args:
        size: Int, side of the canvas.
        noise: Int, patches on it.
    """
    return LOOKS / max(noise * (2 * NEARBY / size) ** 2, 3.2)


class Search(keras_ram.Pointing):
    """Teaches to visit what is nearby, and to go round for what is not."""

    def __init__(self, model, options):
        super().__init__(model, 2 * NEAR / options.size, options.weight)
        self.task, self.size = options.task, options.size
        self.unit = unit_of_way(options.size, options.noise)

    def _classes(self, y, locations):
        places = ops.cast(y["places"], "float32")
        visited = self._visited(places, locations)
        return answers(self.task, y["digits"], places, visited, y["classes"])

    def _choices(self, places, left, locations):
        return what_follows(places, left, locations, self.size)

    def _errors(self, means, places):
        return errors(means, places, self.size, self.unit)


class Visits(Megapixels):
    """Canvases of a lesson, with the places and classes of their digits."""

    def __getitem__(self, index):
        images, classes = super().__getitem__(index)
        places = self.as_locations(self.places(index) + SIDE / 2)
        digits = self.classes(index)
        return images, {"places": places, "classes": classes, "digits": digits}
