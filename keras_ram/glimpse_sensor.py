"""The retina: cuts patches of several resolutions out of an image."""

import math
import numbers

import keras
from keras import ops

from keras_ram.validation import check_integer, check_positive


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
        images = ops.cast(images, self.compute_dtype)
        centres = (ops.cast(locations, "float32") + 1) / 2  # fractions of the image
        patches = [self._patch(images, centres, scale) for scale in self.scales]
        return ops.stack(patches, axis=1)  # (B, k, w, w, C)

    def _patch(self, images, centres, scale):
        batch, height, width, channels = ops.shape(images)
        side = scale * self.patch_size
        left = centres[:, :1] * ops.cast(width, "float32") - side / 2  # (B, 1)
        top = centres[:, 1:] * ops.cast(height, "float32") - side / 2

        # Rows are cropped before they are weighed: a row is contiguous memory,
        # and the work then follows the patch, not the height of the image.
        rows = ops.floor(top) + ops.arange(0, math.ceil(side) + 1, dtype="float32")
        last_row = ops.cast(height - 1, "float32")
        inside = ops.cast((rows >= 0) & (rows <= last_row), "float32")
        weights_y = self._weights(top, rows, scale) * inside[:, None]  # (B, w, n)
        # Clipped as integers, so that NaN becomes some row and not a wild address.
        rows = ops.clip(ops.cast(rows, "int32"), 0, height - 1)
        rows = rows + ops.arange(0, batch)[:, None] * height
        crop = ops.take(
            ops.reshape(images, (-1, width * channels)), rows, axis=0
        )  # (B, n, W*C)
        crop = ops.matmul(ops.cast(weights_y, crop.dtype), crop)  # (B, w, W*C)

        columns = ops.arange(0, width, dtype="float32")
        weights_x = self._weights(left, columns, scale)  # (B, w, W)
        return ops.einsum(
            "byxc,bvx->byvc",
            ops.reshape(crop, (-1, self.patch_size, width, channels)),
            ops.cast(weights_x, crop.dtype),
        )

    def _weights(self, start, pixels, scale):
        """The share of each cell that each pixel covers: `(B, cells, pixels)`.

        Differences to the first pixel are taken before anything else, so that
        the rounding does not grow with the size of the image.
        """
        origin = ops.floor(start)
        pixels = (pixels - origin)[:, None]
        cells = ops.arange(0, self.patch_size, dtype="float32")[:, None] * scale
        cells = (start - origin)[:, None] + cells  # (B, w, 1)
        overlap = ops.minimum(cells + scale, pixels + 1) - ops.maximum(cells, pixels)
        return ops.relu(overlap) / scale

    def compute_output_shape(self, images_shape, locations_shape):
        side = self.patch_size
        return (images_shape[0], len(self.scales), side, side, images_shape[-1])

    def get_config(self):
        config = {"patch_size": self.patch_size, "scales": self.scales}
        return {**super().get_config(), **config}
