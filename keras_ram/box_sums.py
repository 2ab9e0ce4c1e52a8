"""Sums over the cells of a grid, each in the same time, however large the cell.

A table holds for each corner of pixels the sum of all pixels above and left of it. The
sum over a box of pixels is the difference of four entries. Of floats the difference of
two sums over a megapixel would lose too much. So the table holds integers, which may
overflow: a difference is right as long as the box itself does not.
"""

import itertools

import keras
from keras import ops

# What a box may sum up to; the rest of 31 bits is for rounding.
LARGEST_SUM = 2**30


def sum_table(images, side):
    """The table of a batch of images.

    Args:
        images: `(batch, height, width, channels)`, integers in [0, 255] or floats.
        side: Float, or a tensor of shape `(1, 1, 1, 1)` or `(batch, 1, 1, 1)`, the
            largest side of a cell, in pixels.

    Returns:
        Dict of `"sums"`, int32 of shape `(batch, height + 1, width + 1, channels)`,
        and `"unit"`, float32 of shape `(batch, 1, 1, 1)`: what 1 stands for. Values
        are rounded to it. It is `(side + 2)**2 / 2**30` of the largest of the image,
        and the mean over a cell averages that out. Of integers it is at least 1.
    """
    share = (side + 2) ** 2 / LARGEST_SUM
    if _are_floats(images):
        images = ops.stop_gradient(ops.cast(images, "float32"))
        # Of an image of zeros, or of none, any unit will do.
        unit = share * ops.max(
            ops.abs(images), axis=(1, 2, 3), keepdims=True, initial=1e-30
        )
        images = ops.round(images / unit)
    elif ops.is_tensor(side) or 255 * share > 1:  # bytes that 31 bits may not hold
        unit = ops.ones((ops.shape(images)[0], 1, 1, 1)) * ops.maximum(255 * share, 1)
        images = ops.round(ops.cast(images, "float32") / unit)
    else:
        unit = ops.ones((ops.shape(images)[0], 1, 1, 1))
    images = ops.pad(ops.cast(images, "int32"), ((0, 0), (1, 0), (1, 0), (0, 0)))
    return {"sums": _sums_down(ops.cumsum(images, axis=2)), "unit": unit}


def _sums_down(images):
    """Cumulative sums along the rows of pixels."""
    if keras.backend.backend() != "torch" or images.device.type != "cpu":
        return ops.cumsum(images, axis=1)
    # PyTorch's own goes down column by column: of 16 images of 1500x1500 in 470 ms,
    # where this takes 70 (one core, PyTorch 2.13).
    rows = images.unbind(1)
    for above, row in itertools.pairwise(rows):
        row += above
    return images


def cell_sums(table, images, rows, y, x):
    """Sums over the cells of grids, whose lines may run through pixels.

    Args:
        table: What `sum_table` returned for the images.
        images: The images. If they are floats, gradients reach them.
        rows: Int tensor of shape `(batch,)`, the image that each grid lies on.
        y, x: Float32 tensors of shape `(batch, cells + 1)`, where the lines of a grid
            are, ascending, from 0 to the size of the image.

    Returns:
        Float32 tensor of shape `(batch, cells, cells, channels)`.
    """
    _, height, width, channels = ops.shape(images)
    (above, down), (left, along) = _pixels(y, height), _pixels(x, width)
    lines = ops.expand_dims(rows * (height + 1), 1) + ops.concatenate(above, axis=1)
    places = ops.expand_dims(lines * (width + 1), 2) + ops.expand_dims(
        ops.concatenate(left, axis=1), 1
    )
    sums = ops.take(ops.reshape(table["sums"], (-1, channels)), places, axis=0)
    # JAX 0.10 takes from no image at all what lacks the shape of `places`.
    sums = ops.reshape(sums, (-1, *places.shape[1:], channels))
    for _ in range(2):
        sums = ops.swapaxes(_strips(sums), 1, 2)
    unit = ops.take(table["unit"], rows, axis=0)
    sums = ops.cast(sums, "float32") * unit
    if _are_floats(images):
        sums = _linear_in(images, sums, rows, above, left)
    for share in (down, along):
        sums = ops.swapaxes(_cells(sums, share), 1, 2)
    return sums


def _pixels(lines, size):
    """The pixels that lines run through, where each begins and ends, and how far in."""
    begin = ops.floor(lines)
    end = ops.minimum(begin + 1, ops.cast(size, "float32"))
    return (ops.cast(begin, "int32"), ops.cast(end, "int32")), lines - begin


def _strips(table):
    """From the entries at pixels' begins and ends, `(B, 2n, ...)`, the differences:
    from one line's pixel to the next's, and over each pixel. `(B, 2n - 1, ...)`."""
    begin, end = ops.split(table, 2, axis=1)
    return ops.concatenate([begin[:, 1:] - begin[:, :-1], end - begin], axis=1)


def _cells(strips, share):
    """Strips of whole pixels and what of a pixel lies before a line: cells."""
    boxes, pixels = ops.split(strips, [share.shape[1] - 1], axis=1)
    before = pixels * share[:, :, None, None]
    return boxes + before[:, 1:] - before[:, :-1]


def _linear_in(images, sums, rows, y, x):
    """The sums, with the gradient that they would have if pixels had been added up."""

    @ops.custom_gradient
    def of(images):
        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            within_y = _within(y, ops.shape(images)[1])
            within_x = _within(x, ops.shape(images)[2])
            seen = ops.einsum("bnmc,bnh,bmw->bhwc", upstream, within_y, within_x)
            seen = ops.segment_sum(seen, rows, ops.shape(images)[0])
            return ops.cast(seen, images.dtype)

        return sums, gradient

    return of(images)


def _within(pixels, size):
    """Whether each pixel is in each strip: `(B, 2n - 1, size)`, 0 or 1."""
    begin, end = (
        ops.expand_dims(ops.concatenate(between, axis=1), 2)
        for between in (
            (pixels[0][:, :-1], pixels[0]),
            (pixels[0][:, 1:], pixels[1]),
        )
    )
    places = ops.arange(0, size, dtype="int32")
    return ops.cast(ops.logical_and(begin <= places, places < end), "float32")


def _are_floats(images):
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(images.dtype))
