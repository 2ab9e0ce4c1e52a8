"""What a patch shows where it is looked at most."""

import keras
from keras import ops

from keras_ram.grids import cell_places
from keras_ram.validation import check_integer


@keras.saving.register_keras_serializable("keras_ram")
class AttentionPooling2D(keras.layers.Layer):
    """The mean of values by a learned attention, and where that is.

    The last layer of a backbone, in place of pooling or flattening. One linear function
    of the features says what a cell tells, its values, and another how much it counts;
    its softmax over the cells is the attention. So of many features few numbers are
    left, which few images are enough for, and a policy can look there next.

    Args:
        units: Int, number of values.

    Call arguments:
        features: Tensor of shape `(batch, height, width, channels)`.

    Returns:
        Tensor of shape `(batch, units + 3)`: the mean of the values, the mean place
        `(x, y)`, in [-1, 1] from edge to edge, and the logarithm of the softmax's
        denominator: how much there is to attend to.

    Raises:
        ValueError: If `units` is not a positive integer, or if height and width are not
            known.

    Gradients reach the features and the weights.

    Example:

    >>> pooling = keras_ram.AttentionPooling2D(units=1)
    >>> features = np.zeros((1, 2, 2, 1), "float32")
    >>> features[0, 0, 1] = 50  # at the top, on the right
    >>> pooling.build(features.shape)
    >>> for part in (pooling.values, pooling.attention):
    ...     part.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    >>> np.round(keras.ops.convert_to_numpy(pooling(features)), 3)
    array([[50. ,  0.5, -0.5, 50. ]], dtype=float32)

    Reference:

    - Ilse et al., "Attention-based deep multiple instance learning", 2018: the mean
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = check_integer("units", units)
        options = {"data_format": "channels_last", "dtype": self.dtype_policy}
        self.values = keras.layers.Conv2D(self.units, 1, **options)
        self.attention = keras.layers.Conv2D(1, 1, **options)

    def build(self, features_shape):
        self.values.build(features_shape)
        self.attention.build(features_shape)

    def call(self, features):
        _, height, width, _ = features.shape
        places = cell_places(height, width)
        places = ops.convert_to_tensor(places.T, dtype=self.compute_dtype)
        logits = ops.reshape(self.attention(features), (-1, height * width, 1))
        weights = ops.softmax(logits, axis=1)  # (B, cells, 1)
        values = ops.reshape(self.values(features), (-1, height * width, self.units))
        means = ops.sum(weights * values, axis=1)
        place = ops.matmul(places, weights)[..., 0]  # (B, 2)
        return ops.concatenate([means, place, ops.logsumexp(logits, axis=1)], axis=1)

    def compute_output_shape(self, features_shape):
        return (features_shape[0], self.units + 3)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
