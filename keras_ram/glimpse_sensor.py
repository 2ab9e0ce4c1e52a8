"""The retina: cuts patches of several resolutions out of an image."""

import math
import numbers

import keras
from keras import ops

from keras_ram.box_sums import cell_sums, sum_table
from keras_ram.validation import check_integer, check_positive, fixed

# Images are read in blocks of so many pixels side by side, because reading
# contiguous memory is fast.
BLOCK = 8
# Cells of so many pixels and more are not added up, but looked up in a table of sums,
# which is made once an image. A table holds cells of less than the second number. Of
# images of few pixels all are added up sooner than some are looked up.
COARSE, TOO_COARSE = 6, 2048
FEW_PIXELS = 2**14


@fixed("patch_size", "scales")
@keras.saving.register_keras_serializable("keras_ram")
class GlimpseSensor(keras.layers.Layer):
    """Cuts square patches of several resolutions around a location.

    A patch of scale `s` sees the square whose side is `s * patch_size` pixels,
    centred at the location, as `patch_size x patch_size` cells of `s x s`
    pixels. The value of a cell is the exact mean of the image over the cell.
    The image is taken to be constant on each pixel and zero outside. The patch
    is therefore continuous in the location. At scale 1 it is bilinear
    interpolation; at a whole scale and an aligned location it is a crop
    followed by average pooling.

    Args:
        patch_size: Int, at least 1. Cells along one side of a patch.
        scales: Sequence of positive numbers in any order, whole or not. The
            side of a cell of each patch, in pixels.

    Call arguments:
        images: Tensor of shape `(batch, height, width, channels)`. Any height
            and width of at least 1.
        locations: Tensor of shape `(batch, 2)`, the centres `(x, y)`. -1 and
            +1 are the outer edges of the image (left and top, right and
            bottom), 0 is its centre. Locations outside that range are
            allowed.
        sizes: `None`, or an int tensor of shape `(batch, 2)`, where images of
            different sizes are padded below and on the right: the height and width
            of each. The edges are then its own, and its padding is outside.

    Returns:
        Tensor of shape `(batch, len(scales), patch_size, patch_size,
        channels)`, in the units of `images` and the layer's compute dtype.

    Raises:
        ValueError: If an argument is out of its range, or if a shape does not
            fit.

    Gradients reach `images` and `locations`.

    Example:

    >>> sensor = keras_ram.GlimpseSensor(patch_size=8, scales=(1, 2.5))
    >>> images = np.random.default_rng(0).uniform(size=(2, 28, 40, 3))
    >>> patches = sensor(images, np.array([[0.0, 0.0], [-0.3, 0.9]]))
    >>> tuple(patches.shape)
    (2, 2, 8, 8, 3)

    Reference:

    - [Mnih et al., 2014](https://arxiv.org/abs/1406.6247), section 3.1,
      "Sensor"
    """

    def __init__(self, patch_size, scales=(1,), **kwargs):
        # Locations must keep float32 under a half precision policy, so this
        # layer casts its inputs itself.
        super().__init__(autocast=False, **kwargs)
        scales = (scales,) if isinstance(scales, numbers.Real) else tuple(scales)
        if not scales:
            raise ValueError(
                f"`scales` must have at least one number. Received: scales={scales}"
            )
        self.patch_size = check_integer("patch_size", patch_size)
        self.scales = tuple(check_positive("scales", scale) for scale in scales)

    def build(self, images_shape, locations_shape):
        if len(images_shape) != 4:
            raise ValueError(
                "`images` must have shape (batch, height, width, channels). "
                f"Received: images.shape={tuple(images_shape)}. Add a channel "
                "axis to grey images with `images[..., None]`."
            )
        if len(locations_shape) != 2 or locations_shape[-1] != 2:
            raise ValueError(
                "`locations` must have shape (batch, 2). "
                f"Received: locations.shape={tuple(locations_shape)}"
            )

    def call(self, images, locations, sizes=None):
        return self.look(self.prepare(images, sizes), locations)

    def prepare(self, images, sizes=None):
        """What is done once for images that are looked at several times.

        Args:
            images, sizes: As for the call.

        Returns:
            A dict, for `look`.
        """
        width = ops.shape(images)[2]
        padding = _whole_blocks(width, BLOCK) - width
        padded = ops.pad(images, ((0, 0), (0, 0), (0, padding), (0, 0)))
        prepared = {"images": images, "padded": padded}
        coarse = [s for s in self.scales if self._is_coarse(images.shape, s)]
        if coarse:
            prepared["table"] = sum_table(images, max(coarse))
        if sizes is not None:
            # Larger ones would lead outside of the memory.
            prepared["sizes"] = ops.minimum(
                ops.cast(sizes, "int32"), ops.shape(images)[1:3]
            )
        return prepared

    def look(self, prepared, locations, rows=None):
        """Cuts patches out of prepared images.

        Args:
            prepared: What `prepare` returned for `n` images.
            locations: As for the call, `(batch, 2)`.
            rows: `None`, if there is one location for each image, or an int
                tensor of shape `(batch,)`: the image that each location is in.

        Returns:
            As the call.
        """
        images = prepared["padded"]
        channels = images.shape[-1]
        edges = self._edges(prepared, rows)
        centres = (ops.cast(locations, "float32") + 1) / 2  # fractions of the image
        patches = []
        for scale in self.scales:
            if self._is_coarse(prepared["images"].shape, scale):
                patches.append(self._pool(prepared, rows, centres, edges, scale))
                continue
            whole = self._sees_most(images.shape, scale)
            lines, columns = images.shape[1:3] if whole else (None, None)
            y, weights_y = self._look(centres[:, 1:], edges[0], scale, 1, lines)
            x, weights_x = self._look(centres[:, :1], edges[1], scale, BLOCK, columns)
            if not whole:
                seen = self._crop(images, rows, y, x)  # (B, n, m, C)
            else:
                seen = images if rows is None else ops.take(images, rows, axis=0)
            seen = ops.cast(seen, self.compute_dtype)
            seen = ops.reshape(seen, (-1, y.shape[1], x.shape[1] * channels))
            seen = ops.einsum("bvy,byx->bvx", weights_y, seen)
            seen = ops.reshape(seen, (-1, self.patch_size, x.shape[1], channels))
            patches.append(ops.einsum("byxc,bvx->byvc", seen, weights_x))
        return ops.stack(patches, axis=1)  # (B, k, w, w, C)

    def _edges(self, prepared, rows):
        """Height and width of the images: of all of them, or `(B, 1)` of each."""
        if "sizes" not in prepared:
            return ops.shape(prepared["images"])[1:3]
        sizes = prepared["sizes"]
        sizes = sizes if rows is None else ops.take(sizes, rows, axis=0)
        return sizes[:, :1], sizes[:, 1:]

    def _is_coarse(self, images_shape, scale):
        """Whether cells are looked up in a table."""
        few = _number_of_pixels(images_shape) <= FEW_PIXELS
        return COARSE <= scale < TOO_COARSE and not few

    def _pool(self, prepared, rows, centres, edges, scale):
        """A patch of large cells: `(B, w, w, C)`."""
        images = prepared["images"]
        batch = ops.shape(images)[0]
        rows = ops.arange(0, batch, dtype="int32") if rows is None else rows
        lines = ops.arange(0, self.patch_size + 1, dtype="float32")
        lines = (lines - self.patch_size / 2) * scale

        def lines_at(centre, size):
            size = ops.cast(size, "float32")
            return ops.clip(centre * size + lines, 0.0, size)

        y, x = lines_at(centres[:, 1:], edges[0]), lines_at(centres[:, :1], edges[1])
        sums = cell_sums(prepared["table"], images, rows, y, x)
        return ops.cast(sums / scale**2, self.compute_dtype)

    def _sees_most(self, images_shape, scale):
        """Whether a patch may touch half of the image or more.

        Cutting it out would then cost more than it spares. Of images whose
        size is unknown while tracing, all patches are cut out.
        """
        side = math.ceil(scale * self.patch_size)
        return 2 * (side + 1) * (side + BLOCK) >= _number_of_pixels(images_shape)

    def _look(self, centres, size, scale, block, whole):
        """What a patch sees along one axis: whole blocks of pixels.

        Args:
            centres: `(B, 1)`, in fractions of the image.
            size: Of the image in pixels, one number or `(B, 1)`.
            scale: Float.
            block: Int.
            whole: `None`, or an int: all pixels are seen, and they are so many.

        Returns:
            The places of the pixels that it may touch, `(B, n)`, some of them
            outside the image, and the share of each cell that each of them
            covers, `(B, w, n)`.
        """
        side = scale * self.patch_size
        start = centres * ops.cast(size, "float32") - side / 2  # (B, 1)
        first = ops.floor(start / block) * block
        if whole is None:
            number, origin = (math.ceil(side / block) + 1) * block, first
        else:
            number, origin = whole, ops.zeros_like(first)
        pixels = origin + ops.arange(0, number, dtype="float32")
        # Counted from the first pixel, places are small, and their rounding does
        # not grow with the image.
        cells = start - first + ops.arange(0, self.patch_size, dtype="float32") * scale
        # The part of a cell in the image: what is outside counts as zero.
        low = ops.expand_dims(ops.maximum(cells, -first), 2)  # (B, w, 1)
        end = ops.cast(size, "float32") - first
        high = ops.expand_dims(ops.minimum(cells + scale, end), 2)
        places = ops.expand_dims(pixels - first, 1)  # (B, 1, n)
        overlap = ops.minimum(high, places + 1) - ops.maximum(low, places)
        weights = ops.relu(overlap) / scale  # (B, w, n)
        return pixels, ops.cast(weights, self.compute_dtype)

    def _crop(self, images, rows, y, x):
        """Cut out before it is weighed, the work follows the patch, not the image."""
        batch, height, width, channels = ops.shape(images)
        rows = ops.arange(0, batch) if rows is None else rows
        row_length = width // BLOCK
        # Clipped as integers, so that NaN becomes some pixel and not a wild address.
        lines = ops.clip(ops.cast(y, "int32"), 0, height - 1)
        blocks = ops.clip(ops.cast(x[:, ::BLOCK] / BLOCK, "int32"), 0, row_length - 1)
        image = ops.expand_dims(ops.cast(rows, "int32"), 1)
        lines = ops.expand_dims((image * height + lines) * row_length, 2)
        images = ops.reshape(images, (-1, BLOCK * channels))
        return ops.take(images, lines + ops.expand_dims(blocks, 1), axis=0)

    def compute_output_shape(self, images_shape, locations_shape):
        side = self.patch_size
        return (images_shape[0], len(self.scales), side, side, images_shape[-1])

    def get_config(self):
        config = {"patch_size": self.patch_size, "scales": self.scales}
        return {**super().get_config(), **config}


def _number_of_pixels(images_shape):
    _, height, width, _ = images_shape
    # JAX has symbols for unknown sizes, which do not compare.
    known = isinstance(height, int) and isinstance(width, int)
    return height * width if known else math.inf


def _whole_blocks(size, block):
    return (size + block - 1) // block * block
