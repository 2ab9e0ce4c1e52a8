"""Means over the cells of a grid, with every pixel under it added up."""

from keras import ops

# Images are read in blocks of so many pixels side by side, because reading
# contiguous memory is fast.
BLOCK = 8


def crop(images, rows, first, side):
    """Cut out before it is added up, the work follows the patch, not the image."""
    _, height, width, channels = ops.shape(images)
    row_length = width // BLOCK
    number = whole_blocks(side) // BLOCK + 1
    # Clipped as integers, so that NaN becomes some pixel and not a wild address.
    lines = first[:, :1] + ops.arange(0, side + 1, dtype="int32")
    lines = ops.clip(lines, 0, height - 1)
    blocks = first[:, 1:] + ops.arange(0, number, dtype="int32")
    blocks = ops.clip(blocks, 0, row_length - 1)
    lines = (ops.expand_dims(rows, 1) * height + lines) * row_length
    images = ops.reshape(images, (-1, BLOCK * channels))
    places = ops.expand_dims(lines, 2) + ops.expand_dims(blocks, 1)
    seen = ops.take(images, places, axis=0)
    return ops.reshape(seen, (-1, side + 1, number * BLOCK, channels))


def cell_means(images, y, x, scale):
    """The mean of an image over each cell of a grid.

    Args:
        images: `(batch, height, width, channels)`.
        y, x: Where the lines of the grid are, `(batch, w + 1)`, in pixels.
        scale: Float, the side of a cell.

    Returns:
        Tensor of shape `(batch, w, w, channels)`.
    """
    _, height, width, channels = images.shape
    cells = y.shape[1] - 1

    def weights(lines, size):
        """The share of each cell that each pixel covers: `(B, w, size)`."""
        lines, pixels = ops.expand_dims(lines, 2), ops.arange(size, dtype="float32")
        begin = ops.maximum(lines[:, :-1], pixels)
        end = ops.minimum(lines[:, 1:], pixels + 1)
        return ops.cast(ops.relu(end - begin) / scale, images.dtype)

    seen = ops.reshape(images, (-1, height, width * channels))
    seen = ops.matmul(weights(y, height), seen)
    seen = ops.reshape(seen, (-1, cells, width, channels))
    seen = ops.reshape(ops.swapaxes(seen, 2, 3), (-1, cells * channels, width))
    seen = ops.matmul(seen, ops.swapaxes(weights(x, width), 1, 2))
    return ops.swapaxes(ops.reshape(seen, (-1, cells, channels, cells)), 2, 3)


def whole_blocks(size):
    """A width, rounded up to whole blocks."""
    return (size + BLOCK - 1) // BLOCK * BLOCK
