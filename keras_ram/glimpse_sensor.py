"""The retina: cuts patches of several resolutions out of an image."""

import math
import numbers

import keras
from keras import ops

from keras_ram.box_sums import cell_sums, sum_table
from keras_ram.cell_means import BLOCK, cell_means, crop, whole_blocks
from keras_ram.grids import cell_sides, grid_lines
from keras_ram.validation import check_integer, check_positive, fixed

# Cells of so many pixels and more are not added up, but looked up in a table of sums,
# which is made once an image. A table holds cells of less than the second number. Of
# images of few pixels all are added up sooner than some are looked up.
COARSE, TOO_COARSE = 6, 2048
FEW_PIXELS = 2**14


@fixed("patch_size", "scales", "shares")
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

    A patch of share `a` sees that share of the height and of the width, whatever
    the size of the image: at 1 and from the centre, the whole of it.

    Of floats, large cells of side `n` are summed up in whole numbers. Their means are
    within `(n + 2)**2 / 2**31` of the largest value of the image: 4e-6 for 90 pixels,
    1e-4 for 460. Of bytes they are exact up to 2048 pixels.

    Args:
        patch_size: Int, at least 1. Cells along one side of a patch.
        scales: Sequence of positive numbers in any order, whole or not. The
            side of a cell of each patch, in pixels. `None` is none of them.
        shares: Sequence of positive numbers, or `None`, a patch for each, after
            those of `scales`.

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
        Tensor of shape `(batch, len(scales) + len(shares), patch_size, patch_size,
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

    def __init__(self, patch_size, scales=(1,), shares=(), **kwargs):
        # Locations must keep float32 under a half precision policy, so this
        # layer casts its inputs itself.
        super().__init__(autocast=False, **kwargs)
        self.patch_size = check_integer("patch_size", patch_size)
        self.scales = _numbers("scales", scales)
        self.shares = _numbers("shares", shares)
        if not self.scales + self.shares:
            raise ValueError(
                f"`scales` must have at least one number. Received: scales={scales}"
            )

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

    def sides(self, height, width):
        """Height and width of what each patch sees, in pixels.

        Args:
            height, width: Ints, the size of an image.

        Returns:
            A list of pairs, of `scales` and then of `shares`.

        Example:

        >>> keras_ram.GlimpseSensor(8, scales=(1, 4)).sides(60, 80)
        [(8, 8), (32, 32)]
        """
        squares = [(scale * self.patch_size,) * 2 for scale in self.scales]
        return squares + [(share * height, share * width) for share in self.shares]

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
        padding = whole_blocks(width) - width
        padded = ops.pad(images, ((0, 0), (0, 0), (0, padding), (0, 0)))
        prepared = {"images": images, "padded": padded}
        if sizes is not None:
            # Larger ones would lead outside of the memory.
            prepared["sizes"] = ops.minimum(
                ops.cast(sizes, "int32"), ops.shape(images)[1:3]
            )
        looked_up = [s for s in self.scales if self._is_coarse(images.shape, s)]
        if looked_up or self.shares:
            prepared["table"] = sum_table(images, self._largest(prepared, looked_up))
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
        images = prepared["images"]
        which = ops.arange(0, ops.shape(images)[0]) if rows is None else rows
        which = ops.cast(which, "int32")
        cut = [self._is_cut(images.shape, scale) for scale in self.scales]
        cut += [False] * len(self.shares)
        size = self.size(prepared, rows)
        cells = cell_sides(self.scales, self.shares, self.patch_size, size)
        first, lines = grid_lines(locations, size, cells, self.patch_size, cut)
        patches = []
        for index, scale in enumerate(self.scales + (None,) * len(self.shares)):
            y, x = lines[:, index, 0], lines[:, index, 1]  # (B, w + 1)
            if scale is None or self._is_coarse(images.shape, scale):
                sums = cell_sums(prepared["table"], images, which, y, x)
                area = ops.prod(cells[..., index, :], axis=-1)  # of all, or (B,)
                area = ops.reshape(area, (-1, 1, 1, 1))
                patches.append(ops.cast(sums / area, self.compute_dtype))
                continue
            seen = prepared["padded"]
            if cut[index]:
                side = math.ceil(scale * self.patch_size)
                seen = crop(seen, which, first[:, index], side)
            elif rows is not None:
                seen = ops.take(seen, rows, axis=0)
            seen = ops.cast(seen, self.compute_dtype)  # (B, n, m, C)
            patches.append(cell_means(seen, y, x, scale))
        return ops.stack(patches, axis=1)  # (B, k, w, w, C)

    def _largest(self, prepared, scales):
        """The longest side of a cell, in pixels, of some scales and all shares.

        A tensor of shape `(1, 1, 1, 1)` or `(batch, 1, 1, 1)`, if there are shares and
        the size of the images is not known yet, or each has its own.
        """
        side, shape = max(scales, default=0.0), prepared["images"].shape
        if not self.shares:
            return side
        share = max(self.shares) / self.patch_size
        if "sizes" not in prepared and _number_of_pixels(shape) < math.inf:
            return max(side, share * max(shape[1:3]))
        longest = ops.max(self.size(prepared), axis=-1)
        return ops.maximum(side, share * ops.reshape(longest, (-1, 1, 1, 1)))

    def size(self, prepared, rows=None):
        """Height and width, float32: of all images, `(2,)`, or `(B, 1, 2)` of each."""
        if "sizes" not in prepared:
            size = ops.stack(ops.shape(prepared["images"])[1:3])
        else:
            size = prepared["sizes"]
            size = size if rows is None else ops.take(size, rows, axis=0)
            size = ops.expand_dims(size, 1)
        return ops.cast(size, "float32")

    def _is_coarse(self, images_shape, scale):
        """Whether cells are looked up in a table."""
        few = _number_of_pixels(images_shape) <= FEW_PIXELS
        return COARSE <= scale < TOO_COARSE and not few

    def _is_cut(self, images_shape, scale):
        """Whether a patch is cut out of its image before it is added up.

        Where it may touch half of the image or more, cutting it out costs more than it
        spares. Of images whose size is unknown while tracing, all patches are cut out.
        """
        side = math.ceil(scale * self.patch_size)
        most = 2 * (side + 1) * (side + BLOCK) >= _number_of_pixels(images_shape)
        return not (most or self._is_coarse(images_shape, scale))

    def compute_output_shape(self, images_shape, locations_shape):
        side, number = self.patch_size, len(self.scales + self.shares)
        return (images_shape[0], number, side, side, images_shape[-1])

    def get_config(self):
        config = {
            "patch_size": self.patch_size,
            "scales": self.scales,
            "shares": self.shares,
        }
        return {**super().get_config(), **config}


def _number_of_pixels(images_shape):
    _, height, width, _ = images_shape
    # JAX has symbols for unknown sizes, which do not compare.
    known = isinstance(height, int) and isinstance(width, int)
    return height * width if known else math.inf


def _numbers(name, values):
    values = () if values is None else values
    values = (values,) if isinstance(values, numbers.Real) else tuple(values)
    return tuple(check_positive(name, value) for value in values)
