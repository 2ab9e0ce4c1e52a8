"""Where to look next on megapixel canvases: the order that a model is taught.

What is a digit, and not noise, is seen in patches of cells of 12 pixels, and so no
farther than 192 pixels away. Whoever goes round by the middles of 4x4 squares sees all
of a canvas of 1500x1500.
"""

import numpy as np
from finding import miss
from keras import ops
from megapixel_models import NEAR

import keras_ram

NEARBY = 190  # pixels along x and y, where it is seen what is a digit
# The squares in rows, each with the number of the one that is next on the way round.
NEXT = np.array(
    [
        [1, 2, 3, 7],
        [0, 9, 5, 6],
        [4, 10, 11, 15],
        [8, 12, 13, 14],
    ]
)
NEARS = (4.0, 16.0, 48.0, 96.0)  # pixels, see `miss`
ROUND = 100.0  # pixels


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
    square = ops.cast(ops.clip(ops.floor(2 * locations + 2), 0, 3), "int32")
    number = ops.take(NEXT.ravel(), 4 * square[..., 1] + square[..., 0])
    middles = ops.stack([number % 4, number // 4], axis=-1)
    middles = ops.cast(middles, "float32") / 2 - 0.75
    digits = ops.where(nearby, ops.expand_dims(places, 1), np.nan)
    none = ops.logical_not(ops.any(nearby, axis=2, keepdims=True))
    return ops.where(none, ops.expand_dims(middles, 2), digits)


def errors(means, places, size):
    """What it costs to look beside a place, `(batch, n)`.

    Whether to go round is in doubt, and where it goes never is. So there it is the way,
    in so many pixels, which is less than beside a digit as far away as the next square.
    """
    squares = ops.sum(ops.square((places - means) * size / 2), axis=-1)
    middle = ops.all(ops.abs((2 * places + 1.5) % 1) < 1e-6, axis=-1)
    return ops.where(middle, ops.sqrt(squares + 1) / ROUND, miss(squares, NEARS))


class Search(keras_ram.Pointing):
    """Teaches to visit what is nearby, and to go round for what is not."""

    def _choices(self, places, left, locations):
        return what_follows(places, left, locations, size=2 * NEAR / self.near)

    def _errors(self, means, places):
        return errors(means, places, size=2 * NEAR / self.near)
