"""Single patches of megapixel canvases, and what there is to be found in them."""

import math

import keras
import numpy as np
from finding import to_be_found
from megapixel_data import SIDE, draw_strokes
from megapixel_models import PATCH, SCALES

import keras_ram

BATCH = 128
DENSITY = 50 / 1500**2  # of noise, on megapixel canvases


class Windows(keras.utils.PyDataset):
    """Batches of single patches of every scale, with up to two digits, and with noise.

    Targets are as for `finding.learn_to_find`.

    Args:
        digits, labels: Of the training digits.
        steps, seed: Ints.
        thickness: Int, of the strokes of noise.
    """

    def __init__(self, digits, labels, steps, seed, thickness=1, **kwargs):
        super().__init__(**kwargs)
        self.digits, self.labels = digits[..., 0], labels
        self.steps, self.seed, self.thickness = steps, seed, thickness

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, index))
        low, high = np.log([SCALES[0], SCALES[-2]])  # the last sees too little
        scale = math.exp(rng.choice([low, rng.uniform(low, high), high]))
        side = scale * PATCH
        size = round(1.2 * side) + 2 * SIDE
        rows = rng.integers(0, len(self.digits), (BATCH, 2))
        corners = rng.integers(0, size - SIDE + 1, (BATCH, 2, 2))
        there = rng.random((BATCH, 2)) < (0.7, 0.2)
        images = self._draw(size, rows, corners, there, rng)
        centres = np.where(there[..., None], corners + SIDE / 2, np.inf)
        reach = (1 if scale > 2 else 0.3) * side / 2
        near = centres[:, 0] + rng.uniform(-reach, reach, (BATCH, 2))
        anywhere = size * rng.random((BATCH, 2))
        close = (rng.random((BATCH, 1)) < 0.7) & there[:, :1]
        looks = np.where(close, near, anywhere).clip(0, size)[..., ::-1]
        sensor = keras_ram.GlimpseSensor(PATCH, (scale,))
        patches = sensor(images, (looks / size * 2 - 1).astype("float32"))
        patches = keras.ops.convert_to_numpy(patches)[:, 0] / 255
        ways = (centres[..., ::-1] - looks[:, None]) / (side / 2)
        nearest = np.linalg.norm(ways, axis=2).argmin(axis=1)
        row = np.arange(BATCH)
        ways = ways[row, nearest]
        farthest = np.abs(ways).max(axis=1) * side / 2  # in pixels
        whole = farthest < max(side / 2 - SIDE / 2, 6)
        readable = whole * (2.0 if scale < 3 else 0.2)
        return patches, *to_be_found(ways, self.labels[rows[row, nearest]], readable)

    def _draw(self, size, rows, corners, there, rng):
        """Canvases with noise as dense as it is, and digits on top."""
        images = np.zeros((BATCH, size, size, 1), "uint8")
        state = np.random.RandomState(rng.integers(2**31))
        bank = draw_strokes(50, self.thickness, state)
        for image, digits, places, drawn in zip(
            images, rows, corners, there, strict=True
        ):
            for y, x in rng.integers(
                0, size - SIDE + 1, (rng.poisson(DENSITY * size**2), 2)
            ):
                image[y : y + SIDE, x : x + SIDE, 0] = bank[rng.integers(50)]
            for digit, (y, x) in zip(digits[drawn], places[drawn], strict=True):
                image[y : y + SIDE, x : x + SIDE, 0] = self.digits[digit]
        return images
