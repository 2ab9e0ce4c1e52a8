"""Where to look next on megapixel canvases: the order that a model is taught.

What is a digit, and not noise, is seen in patches of cells of 16 pixels, and so no
farther than 256 pixels away. Whoever goes round in a ring of eight places that are 500
pixels apart sees all of a canvas of 1500x1500.
"""

import numpy as np
from keras import ops
from megapixel_models import NEAR

import keras_ram

NEARBY = 250  # pixels along x and y, where it is seen what is a digit
RING = (
    2
    / 3
    * np.array(  # clockwise from the top
        [(0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1)]
    )
)
ROUND = 0.3  # what going round counts, where a digit counts 1


def what_follows(places, left, locations, size):
    """Where one may look next: at a digit nearby, or round the canvas for others.

    Where no digit that is left is nearby it is the next of eight places in a ring,
    clockwise. So all of the canvas is seen, whatever was seen of it.

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
    x, y = locations[..., 0], locations[..., 1]
    turns = ops.arctan2(x, 1e-6 - y) / (2 * np.pi)  # clockwise, 0 is up
    # Whoever is a fifth of the way before a place has as good as reached it.
    number = ops.cast(ops.floor(8 * turns + 1.2), "int32") % 8
    ring = ops.take(ops.convert_to_tensor(RING, "float32"), number, axis=0)
    digits = ops.where(nearby, ops.expand_dims(places, 1), np.nan)
    none = ops.logical_not(ops.any(nearby, axis=2, keepdims=True))
    return ops.where(none, ops.expand_dims(ring, 2), digits)


def urgency(places):
    """What errors count: where one goes round, less than by a digit, `(batch, n)`.

    It is never in doubt where the ring is, and what is a digit often is.
    """
    ring = ops.convert_to_tensor(RING, "float32")
    ways = ops.max(ops.abs(ops.expand_dims(places, 2) - ring), axis=-1)  # (B, n, 8)
    return ops.where(ops.any(ways < 1e-6, axis=2), ROUND, 1.0)


class Search(keras_ram.Pointing):
    """Teaches to visit what is nearby, and to go round for what is not."""

    def _choices(self, places, left, locations):
        return what_follows(places, left, locations, size=2 * NEAR / self.near)

    def _errors(self, means, places):
        return urgency(places) * super()._errors(means, places)
