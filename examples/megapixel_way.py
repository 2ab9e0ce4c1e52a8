"""The way round megapixel canvases, which is learned from places alone.

What is a digit, and not noise, is seen in patches of cells of 12 pixels, and so no
farther than 192 pixels away. Whoever goes round by the middles of squares of up to
375x375 pixels sees all of a canvas.
"""

import math

import keras
import numpy as np
from keras import ops
from runs import falling_adam

SQUARE = 375  # pixels along a side, at most
PLACES = 512  # of a batch


def squares_of(size):
    """How many squares there are along a side, an even number."""
    return 2 * math.ceil(size / SQUARE / 2)


def way_round(squares):
    """For each square, in rows, the number of the one that is next on the way round.

    To and fro along the rows, but for their first squares, which lead back.
    """
    numbers = np.arange(squares**2).reshape(squares, squares)
    rows = [row[::-1] if odd % 2 else row for odd, row in enumerate(numbers[:, 1:])]
    way = np.concatenate([*rows, numbers[::-1, 0]])
    follows = np.empty_like(way)
    follows[way] = np.roll(way, -1)
    return follows


def next_middle(locations, size):
    """The middle of the square after the one where one is: `(..., 2)` of the same."""
    squares = squares_of(size)
    square = ops.floor((locations + 1) / 2 * squares)
    square = ops.cast(ops.clip(square, 0, squares - 1), "int32")
    number = ops.take(way_round(squares), squares * square[..., 1] + square[..., 0])
    middles = ops.stack([number % squares, number // squares], axis=-1)
    return (2 * ops.cast(middles, "float32") + 1) / squares - 1


class Way(keras.Model):
    """Where a built RAM would look after a first glimpse that shows nothing.

    A patch of nothing is the same everywhere. So this takes 20 ms for 512 places, where
    single glimpses of canvases take a second.

    Args:
        model: The RAM.
        size: Int, side of the canvases in pixels.

    Call arguments:
        locations: `(batch, 2)`, of the glimpses.

    Returns:
        `(batch, 2)`. `off` is how many pixels that is in the mean from where the way
        goes on, and what it learns from.
    """

    def __init__(self, model, size):
        super().__init__()
        vars(self)["model"] = model
        self.size = size
        net = model.glimpse_net
        self.parts = [net.where, net.merge, model.core, model.location_sampler]
        self.built = True

    def call(self, locations):
        cell, batch = self.model.glimpse_cell(), ops.shape(locations)[0]
        net, sensor = cell.net, cell.sensor
        nothing = ops.zeros((len(sensor.scales), *2 * (sensor.patch_size,), 1))
        what = net.what(ops.reshape(net.backbone(nothing), (1, -1)))
        what = ops.repeat(ops.stop_gradient(what), batch, axis=0)
        glimpse = net.merge(ops.concatenate([what, net.where(locations)], axis=1))
        hidden_state, _ = cell.core(glimpse, cell.get_initial_state(batch)[1])
        reach = ops.full((1, 2), sensor.patch_size * max(sensor.scales) / self.size)
        return cell.sampler(hidden_state, origin=locations, reach=reach)["mean"]

    def off(self, locations, means):
        ways = ops.square(next_middle(locations, self.size) - means)
        return ops.mean(ops.sqrt(1 + ops.sum(ways, axis=-1) * (self.size / 2) ** 2))


def learn_the_way(model, size, steps, seed):
    """Teaches a built RAM where to go on from anywhere, if there is nothing.

    Args:
        model: The RAM.
        size: Int, side of the canvases in pixels.
        steps: Int, batches.
        seed: Int.
    """
    way = Way(model, size)
    way.compile(falling_adam(2e-3, steps, alpha=0.03), way.off)
    rng = np.random.default_rng(seed)
    locations = rng.uniform(-1, 1, (steps * PLACES, 2)).astype("float32")
    way.fit(locations, locations, batch_size=PLACES, verbose=2)
