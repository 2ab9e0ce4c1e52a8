"""The retina: cuts patches of several resolutions out of an image."""

import math
import numbers

import keras
from keras import ops

from keras_ram.validation import check_integer, check_positive

# Images are read in blocks of so many pixels side by side, because reading
# contiguous memory is fast.
BLOCK = 8


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
        check_integer("patch_size", patch_size)
        scales = (scales,) if isinstance(scales, numbers.Real) else tuple(scales)
        if not scales:
            raise ValueError(
                f"`scales` must have at least one number. Received: scales={scales}"
            )
        for scale in scales:
            check_positive("scales", scale)
        self.patch_size = patch_size
        self.scales = scales

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

    def call(self, images, locations):
        batch, height, width, channels = ops.shape(images)
        centres = (ops.cast(locations, "float32") + 1) / 2  # fractions of the image
        row_length = (width + BLOCK - 1) // BLOCK
        padding = row_length * BLOCK - width
        images = ops.pad(images, ((0, 0), (0, 0), (0, padding), (0, 0)))
        images = ops.reshape(images, (-1, BLOCK * channels))
        first_row = ops.arange(0, batch)[:, None] * height
        patches = []
        for scale in self.scales:
            rows, weights_y = self._look(centres[:, 1:], height, scale, 1)
            blocks, weights_x = self._look(centres[:, :1], width, scale, BLOCK)
            # Cropped before it is weighed: the work follows the patch, not the
            # size of the image.
            rows = (first_row + rows) * row_length
            crop = ops.take(images, rows[:, :, None] + blocks[:, None], axis=0)
            crop = ops.cast(crop, self.compute_dtype)  # (B, n, m, BLOCK*C)
            crop = ops.reshape(crop, (batch, rows.shape[1], -1))
            crop = ops.matmul(weights_y, crop)
            crop = ops.reshape(crop, (batch, self.patch_size, -1, channels))
            patches.append(ops.einsum("byxc,bvx->byvc", crop, weights_x))
        return ops.stack(patches, axis=1)  # (B, k, w, w, C)

    def _look(self, centres, size, scale, block):
        """What a patch sees along one axis, in blocks of pixels.

        Returns:
            The indices of the blocks that it may touch, `(B, n)`, and the share
            of each cell that each of their pixels covers, `(B, w, n * block)`.
        """
        side = scale * self.patch_size
        number = math.ceil(side / block) + 1
        start = centres * ops.cast(size, "float32") - side / 2  # (B, 1)
        first = ops.floor(start / block)
        # Counted from the first pixel, positions are small, and their rounding
        # does not grow with the image.
        cells = ops.arange(0, self.patch_size, dtype="float32") * scale
        cells = (start - first * block + cells)[..., None]  # (B, w, 1)
        pixels = ops.arange(0, number * block, dtype="float32")
        overlap = ops.minimum(cells + scale, pixels + 1) - ops.maximum(cells, pixels)
        pixels = first * block + pixels  # (B, n * block)
        inside = (pixels >= 0) & (pixels < ops.cast(size, "float32"))
        weights = ops.relu(overlap) / scale * ops.cast(inside[:, None], "float32")
        blocks = first + ops.arange(0, number, dtype="float32")
        # Clipped as integers, so that NaN becomes some block and not a wild address.
        blocks = ops.clip(ops.cast(blocks, "int32"), 0, (size - 1) // block)
        return blocks, ops.cast(weights, self.compute_dtype)

    def compute_output_shape(self, images_shape, locations_shape):
        side = self.patch_size
        return (images_shape[0], len(self.scales), side, side, images_shape[-1])

    def get_config(self):
        config = {"patch_size": self.patch_size, "scales": self.scales}
        return {**super().get_config(), **config}
