"""Merges what a glimpse shows with where it was taken."""

import math
import numbers

import keras
from keras import ops

from keras_ram.validation import check_integer, fixed


@fixed("units", "what_units", "where_units", "filters", "backbone")
@keras.saving.register_keras_serializable("keras_ram")
class GlimpseNet(keras.layers.Layer):
    """Merges patches ("what") and their location ("where") into one vector.

    `glimpse = relu(dense(what) + dense(where))`, where `what` is a rectified
    dense embedding of the flattened patches and `where` one of the location.
    With `filters`, a stack of convolutions looks at the patches first, or any
    Keras model does, the `backbone`.

    Args:
        units: Int, size of the glimpse vector.
        what_units: Int, size of the embedding of the patches.
        where_units: Int, size of the embedding of the location.
        filters: `None`, or a sequence of ints. One rectified convolution for
            each, with that many filters: the first of 4x4 cells with a stride
            of 2, the others of 3x3. Those between the first and the last are
            padded and keep the size. The patches of all scales enter as
            channels.
        backbone: `None`, or a Keras layer or model, in place of `filters`. It
            maps one patch, `(batch, size, size, channels)` in [0, 1], to features
            of any shape, which are flattened. It looks at the patch of each scale
            with the same weights, and the features of all scales are put side by
            side. One that expects other values is wrapped, such as
            `keras.Sequential([keras.layers.Rescaling(255), backbone])`, or
            `Rescaling(2, offset=-1)` for values in [-1, 1]. With
            `trainable = False` it is frozen.

    Call arguments:
        patches: Tensor of shape `(batch, scales, size, size, channels)`, as
            `GlimpseSensor` returns it.
        locations: Tensor of shape `(batch, 2)`, in [-1, 1]; or `(batch, n)`, with
            what else is known of the place.

    Returns:
        Tensor of shape `(batch, units)`.

    Raises:
        ValueError: If a size is not a positive integer, if `backbone` is no
            layer or comes with `filters`, or if a shape does not fit.

    Gradients reach all weights and both inputs.

    Example:

    >>> net = keras_ram.GlimpseNet(units=32, filters=(8, 16))
    >>> tuple(net(np.ones((5, 3, 8, 8, 1)), np.zeros((5, 2))).shape)
    (5, 32)
    >>> backbone = keras.Sequential(
    ...     [keras.layers.Conv2D(8, 3), keras.layers.GlobalAveragePooling2D()]
    ... )
    >>> net = keras_ram.GlimpseNet(units=32, backbone=backbone)
    >>> tuple(net(np.ones((5, 3, 8, 8, 1)), np.zeros((5, 2))).shape)
    (5, 32)

    Reference:

    - [Mnih et al., 2014](https://arxiv.org/abs/1406.6247), section 4,
      "Glimpse network". Convolutions and backbones are ours.
    """

    def __init__(
        self,
        units=256,
        what_units=128,
        where_units=128,
        filters=None,
        backbone=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        filters = () if filters is None else filters
        if isinstance(filters, numbers.Number):
            raise ValueError(
                "`filters` must be a sequence of integers, one for each convolution, "
                f"such as ({filters},). Received: filters={filters!r}"
            )
        self.units = check_integer("units", units)
        self.what_units = check_integer("what_units", what_units)
        self.where_units = check_integer("where_units", where_units)
        self.filters = tuple(check_integer("filters", size) for size in filters)
        self.backbone = make_backbone(backbone)
        if self.backbone is not None and self.filters:
            raise ValueError(
                "Either `filters` or a `backbone` looks at the patches. Received both: "
                f"filters={self.filters}, backbone={self.backbone.name}"
            )
        options = {"dtype": self.dtype_policy}
        # Channels are last, whatever the user's configuration of Keras says.
        pictures = {**options, "data_format": "channels_last"}
        self.convolutions = [
            keras.layers.Conv2D(
                number,
                kernel_size=3 if layer else 4,
                strides=1 if layer else 2,
                padding="same" if 0 < layer < len(self.filters) - 1 else "valid",
                activation="relu",
                **pictures,
            )
            for layer, number in enumerate(self.filters)
        ]
        self.what = keras.layers.Dense(self.what_units, activation="relu", **options)
        self.where = keras.layers.Dense(self.where_units, activation="relu", **options)
        # One layer on both is the sum of a linear layer on each.
        self.merge = keras.layers.Dense(self.units, activation="relu", **options)

    def build(self, patches_shape, locations_shape):
        if len(patches_shape) != 5 or None in patches_shape[1:]:
            raise ValueError(
                "`patches` must have shape (batch, scales, size, size, channels), "
                "known but for the batch. "
                f"Received: patches.shape={tuple(patches_shape)}"
            )
        _, scales, height, width, channels = patches_shape
        self.check_patch_size(min(height, width))
        shape = (None, height, width, scales * channels)
        for convolution in self.convolutions:
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
        size = math.prod(shape[1:])
        if self.backbone is not None:
            size = scales * self._build_backbone((height, width, channels))
        self.what.build((None, size))
        self.where.build(locations_shape)
        self.merge.build((None, self.what_units + self.where_units))

    def _build_backbone(self, patch_shape):
        """The number of features that the backbone makes of a patch."""
        try:
            # Called with no values, every kind of layer builds itself.
            features = self.backbone(keras.KerasTensor((None, *patch_shape)))
        except ValueError as error:
            raise ValueError(
                f"`backbone` does not take patches of shape {patch_shape}: height, "
                "width and channels, which follow `patch_size` and the images. "
                f"Received: backbone={self.backbone.name}, which says: {error}"
            ) from error
        shape = getattr(features, "shape", ())
        if len(shape) < 2 or None in shape[1:]:
            raise ValueError(
                "`backbone` must return one tensor of features, known but for the "
                f"batch. Received: {features}"
            )
        return math.prod(shape[1:])

    def check_patch_size(self, patch_size):
        """Raises `ValueError` if the convolutions leave nothing of a patch."""
        size = patch_size
        for convolution in self.convolutions:
            if convolution.padding == "valid":
                size = (size - convolution.kernel_size[0]) // convolution.strides[0] + 1
        if size < 1:
            raise ValueError(
                f"`filters` are too many for patches of {patch_size}x{patch_size} "
                f"cells: nothing is left after {len(self.filters)} convolutions. "
                f"Received: filters={self.filters}. Pass fewer, or a larger "
                "`patch_size`."
            )

    def call(self, patches, locations):
        features = patches  # (B, k, w, w, C)
        if self.convolutions:
            _, scales, height, width, channels = patches.shape
            features = ops.transpose(features, (0, 2, 3, 1, 4))
            shape = (None, height, width, scales * channels)
            features = ops.reshape(features, (-1, *shape[1:]))
            for convolution in self.convolutions:
                shape = convolution.compute_output_shape(shape)
                # TensorFlow 2.21 with oneDNN leaves no image at all in the shape that
                # it had, on some processors.
                features = ops.reshape(convolution(features), (-1, *shape[1:]))
        if self.backbone is not None:
            _, scales, *patch_shape = patches.shape
            features = self.backbone(ops.reshape(patches, (-1, *patch_shape)))
            features = ops.reshape(features, (-1, scales, *features.shape[1:]))
        # Not -1 for the width, which runtimes cannot infer of no image at all.
        features = ops.reshape(features, (-1, math.prod(features.shape[1:])))
        what = self.what(features)
        return self.merge(ops.concatenate([what, self.where(locations)], axis=1))

    def compute_output_shape(self, patches_shape, locations_shape):
        return (patches_shape[0], self.units)

    def get_config(self):
        config = {
            "units": self.units,
            "what_units": self.what_units,
            "where_units": self.where_units,
            "filters": self.filters or None,
            "backbone": self.backbone
            and keras.saving.serialize_keras_object(self.backbone),
        }
        return {**super().get_config(), **config}


def make_backbone(backbone):
    """Turns what a user passes as `backbone`, or its config, into a layer."""
    if isinstance(backbone, dict):
        backbone = keras.saving.deserialize_keras_object(backbone)
    if backbone is not None and not isinstance(backbone, keras.layers.Layer):
        raise ValueError(
            "`backbone` must be a Keras layer or model, such as "
            "`keras.Sequential([...])`. "
            f"Received: backbone={backbone!r}"
        )
    return backbone
