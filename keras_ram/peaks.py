"""What a patch shows, and where in it."""

import keras
from keras import ops

from keras_ram.grids import cell_places
from keras_ram.validation import check_positive


@keras.saving.register_keras_serializable("keras_ram")
class Peaks(keras.layers.Layer):
    """The strongest answer of each feature, and where in the patch it is.

    The last layer of a backbone, in place of pooling or flattening. What is learned
    of a feature at one place holds at all of them, as with pooling, and the core still
    learns where to look next. So few images are enough.

    Args:
        sharpness: Positive float. A place is the mean of all cells, weighed with the
            softmax of `sharpness` times the feature.

    Call arguments:
        features: Tensor of shape `(batch, height, width, channels)`.

    Returns:
        Tensor of shape `(batch, 3 * channels)`: of each feature the largest value, then
        this value times x of its place, then times y. Both are in [-1, 1] from edge to
        edge, so what is not there is nowhere.

    Raises:
        ValueError: If `sharpness` is not positive, or if height and width are not
            known.

    Gradients reach the features.

    Example:

    >>> peaks = keras_ram.Peaks()
    >>> features = np.zeros((1, 2, 2, 1), "float32")
    >>> features[0, 0, 1] = 10  # at the top, on the right
    >>> np.round(keras.ops.convert_to_numpy(peaks(features)), 3)
    array([[10.,  5., -5.]], dtype=float32)

    Reference:

    - Levine et al., "End-to-end training of deep visuomotor policies", 2016: the
      places, as a "spatial softmax"
    """

    def __init__(self, sharpness=4.0, **kwargs):
        super().__init__(**kwargs)
        self.sharpness = check_positive("sharpness", sharpness)

    def call(self, features):
        _, height, width, channels = features.shape
        places = cell_places(height, width)
        cells = ops.reshape(features, (-1, height * width, channels))
        largest = ops.max(cells, axis=1, keepdims=True)  # (B, 1, channels)
        weights = ops.softmax(self.sharpness * cells, axis=1)
        places = ops.convert_to_tensor(places.T, dtype=self.compute_dtype)
        means = ops.matmul(places, weights)  # (B, 2, channels)
        peaks = ops.concatenate([largest, largest * means], axis=1)
        return ops.reshape(peaks, (-1, 3 * channels))

    def compute_output_shape(self, features_shape):
        return (features_shape[0], 3 * features_shape[-1])

    def get_config(self):
        return {**super().get_config(), "sharpness": self.sharpness}
