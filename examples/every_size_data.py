"""Digits among pieces, of every size and on canvases of every size.

Pieces are as dense as in the paper, and as large beside the digits.
"""

import math

import keras
import numpy as np
from finding import FreshCanvases, to_be_found

import keras_ram
from keras_ram import datasets

LEAST, MOST = 40, 400  # sides of canvases, in pixels
LONGEST = 500  # of those where it learns to search, so that searches are long
SIZES = (40, 60, 80, 100, 150, 200, 400, (60, 300))
DIGITS = (14, 20, 40, 56)  # sides, in pixels, on 100x100
COARSEST = 17  # pixels a cell, of what sees the largest canvas


def pieces(height, width, digit=28):
    """How many lie on a canvas, and their side: as dense as in the paper.

    There 4 pieces of 8x8 pixels are on 60x60, and digits have 28x28. Larger digits and
    pieces on a larger canvas are the same canvas from nearby.
    """
    share = digit / 28
    return round(height * width * 4 / (60 * share) ** 2), round(8 * share)


def enlarge(digits, size):
    """Digits of another size in pixels."""
    digits = keras.ops.image.resize(
        digits.astype("float32"), (size, size), antialias=True
    )
    return np.round(keras.ops.convert_to_numpy(digits)).astype("uint8")


def canvases(digits, number):
    """Yields names, and images of the same digits at every size, always the same."""
    digits = digits[:number]
    for size in SIZES:
        height, width = size if isinstance(size, tuple) else (size, size)
        some, _ = pieces(height, width)
        images = datasets.clutter(digits, (height, width), some, seed=height + width)
        yield f"{height}x{width}", images
    for size in DIGITS:
        larger = enlarge(digits, size)
        images = datasets.clutter(larger, 100, *pieces(100, 100, size), seed=size)
        yield f"digit_{size}", images


def scatter(digits, size, digit, full, rng):
    """Draws each digit on a canvas, among all pieces, or fewer, or none.

    Returns:
        Images, and where the digits are, as from `keras_ram.datasets.clutter`.
    """
    some, side = pieces(*size, digit)
    if not full:
        some = int(rng.integers(2) * rng.integers(some + 1))
    return datasets.clutter(digits, size, some, side, seed=rng, return_places=True)


class EverySize(FreshCanvases):
    """Batches of canvases, each of a size of its own, and where their digits are."""

    def draw(self, digits, labels, rng):
        done = 1 if self.options.begin else self.epoch / self.options.epochs
        kind = rng.choice(
            ["large", "square", "rectangle", "digit"], p=[0.5, 0.14, 0.06, 0.3]
        )
        digit = 28
        if kind == "large":
            height = width = int(rng.integers(180, LONGEST + 1))
        elif kind == "square":
            height = width = _between(rng, LEAST, MOST)
        elif kind == "rectangle":
            height, width = (_between(rng, LEAST, 300) for _ in range(2))
        else:
            height = width = _between(rng, 70, 200)
            digit = _between(rng, 13, 60)
            digits = enlarge(digits, digit)
        # What is to be found is first found where there is little else, or nothing.
        full = rng.random() < min(0.7, 0.3 + done / 0.6)
        images, places = scatter(digits, (height, width), digit, full, rng)
        return images, {"places": places[:, None], "classes": labels}


def _between(rng, low, high):
    """A whole number; its logarithm is uniform."""
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


class Windows(keras.utils.PyDataset):
    """Batches of single patches of every scale, and what there is to be found.

    Targets are `"there"`, whether the digit's centre is under the patch, `"place"`,
    where, in [-1, 1] from edge to edge of the patch, and `"class"`. The latter two have
    a weight of 0 where it is not; the class where the digit is cut off as well.

    Args:
        digits, labels: Of the training digits.
        patch_size: Int, cells along a side.
        steps, batch_size, seed: Ints.
    """

    def __init__(self, digits, labels, patch_size, steps, batch_size, seed, **kwargs):
        super().__init__(**kwargs)
        self.digits, self.labels = digits, labels
        self.patch_size, self.steps = patch_size, steps
        self.batch_size, self.seed = batch_size, seed

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, index))
        rows = rng.integers(0, len(self.digits), self.batch_size)
        scale = math.exp(rng.uniform(0, math.log(COARSEST)))
        side = scale * self.patch_size  # in pixels
        canvas = round(np.clip(rng.uniform(0.7, 1.7) * side, LEAST, MOST))
        images, places = scatter(
            self.digits[rows], (canvas, canvas), 28, rng.random() < 0.8, rng
        )
        reach = side / canvas
        nearby = places + rng.uniform(-reach, reach, places.shape)
        anywhere = rng.uniform(-1, 1, places.shape)
        near = rng.random((len(rows), 1)) < 0.7
        centres = np.where(near, nearby, anywhere).clip(-1, 1).astype("float32")
        sensor = keras_ram.GlimpseSensor(self.patch_size, (scale,))
        patches = keras.ops.convert_to_numpy(sensor(images, centres))[:, 0] / 255
        ways = (places - centres) / reach
        whole = np.abs(ways).max(axis=1) < 0.8
        readable = whole * (1.0 if scale < 4 else 0.2)
        return patches, *to_be_found(ways, self.labels[rows], readable)
