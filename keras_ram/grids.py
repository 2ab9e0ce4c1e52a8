"""Where the cells of a retina lie on an image."""

import numpy as np
from keras import ops

from keras_ram.cell_means import BLOCK


def cell_sides(scales, shares, patch_size, size):
    """Height and width of a cell of each patch, in pixels.

    Args:
        scales, shares, patch_size: See `GlimpseSensor`.
        size: Height and width of the images, float32: of all images, `(2,)`, or
            `(batch, 1, 2)` of each.

    Returns:
        Float32, `(k, 2)`, or `(batch, k, 2)` for each image.
    """
    scales = ops.convert_to_tensor(scales, "float32")[:, None]
    shares = ops.convert_to_tensor(shares, "float32")[:, None]
    squares = scales + ops.zeros_like(size)
    return ops.concatenate([squares, shares / patch_size * size], axis=-2)


def grid_lines(locations, size, cells, patch_size, cut):
    """Where the lines between cells are.

    Args:
        locations: The centres, `(batch, 2)`. See `GlimpseSensor`.
        size: As for `cell_sides`.
        cells: As `cell_sides` gives them.
        patch_size: Int, cells along a side.
        cut: List of bools, whether each patch is cut out of its image.

    Returns:
        The first row of pixels and the first block of columns under each patch
        that is cut out, int32 of shape `(batch, k, 2)`, and the lines of each
        patch along y and x, `(batch, k, 2, patch_size + 1)`, in pixels from there,
        or from the edge of the image. What is outside the image is left out.
    """
    block = ops.convert_to_tensor([1.0, BLOCK])
    centres = (ops.flip(ops.cast(locations, "float32"), axis=1) + 1) / 2
    start = ops.expand_dims(centres, 1) * size - cells * (patch_size / 2)
    first = ops.floor(start / block)  # (B, k, 2)
    # Counted from the first pixel, places are small, and their rounding does not
    # grow with the image.
    origin = first * ops.convert_to_tensor(cut, "float32")[:, None] * block
    steps = ops.arange(patch_size + 1, dtype="float32")
    lines = ops.expand_dims(start - origin, 3) + ops.expand_dims(cells, -1) * steps
    low, high = ops.expand_dims(-origin, 3), ops.expand_dims(size - origin, 3)
    lines = ops.minimum(ops.maximum(lines, low), high)
    return ops.cast(first, "int32"), lines


def cell_places(height, width):
    """Where the cells of a grid have their centres, row by row.

    Returns:
        Float array of shape `(height * width, 2)`, `(x, y)` in [-1, 1] from edge to
        edge.

    Raises:
        ValueError: If one of them is not known.
    """
    if height is None or width is None:
        raise ValueError(
            "Places need features of known height and width. Received: height="
            f"{height}, width={width}"
        )
    x = (np.arange(width) + 0.5) / width * 2 - 1
    y = (np.arange(height) + 0.5) / height * 2 - 1
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
