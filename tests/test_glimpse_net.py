import keras
import numpy as np
import pytest
from keras import ops

from keras_ram import GlimpseNet


def relu(x):
    return np.maximum(x, 0)


def test_equals_numpy(rng):
    patches = rng.uniform(size=(5, 2, 3, 3, 1)).astype("float32")
    locations = rng.uniform(-1, 1, size=(5, 2)).astype("float32")
    net = GlimpseNet(units=7, what_units=6, where_units=4)
    glimpse = ops.convert_to_numpy(net(patches, locations))
    what_kernel, what_bias, where_kernel, where_bias, merge_kernel, bias = (
        ops.convert_to_numpy(weight) for weight in net.weights
    )
    from_what, from_where = np.split(merge_kernel, [6])
    what = relu(patches.reshape(5, -1) @ what_kernel + what_bias)
    where = relu(locations @ where_kernel + where_bias)
    expected = relu(what @ from_what + bias + where @ from_where)
    np.testing.assert_allclose(glimpse, expected, atol=1e-6)
    assert net.count_params() == (18 * 6 + 6) + (2 * 4 + 4) + (6 * 7 + 7) + 4 * 7


def convolve(images, kernel, bias, stride):
    """A rectified convolution without padding, window by window."""
    windows = np.lib.stride_tricks.sliding_window_view(
        images, kernel.shape[:2], axis=(1, 2)
    )[:, ::stride, ::stride]  # (B, n, m, C, height, width)
    return relu(np.einsum("bnmcij,ijcf->bnmf", windows, kernel) + bias)


def test_convolutions_see_the_scales_as_channels(rng):
    patches = rng.uniform(size=(4, 3, 9, 9, 2)).astype("float32")
    net = GlimpseNet(units=5, what_units=6, where_units=4, filters=(8, 7, 9))
    net.build(patches.shape, (4, 2))
    for layer in net.convolutions:
        layer.bias.assign(rng.normal(size=layer.bias.shape))
    glimpse = net(patches, np.zeros((4, 2)))
    # Channel c of scale k is input channel 2 k + c.
    features = np.stack([patches[:, k, ..., c] for k in range(3) for c in (0, 1)], -1)
    for layer, stride, margin in zip(
        net.convolutions, (2, 1, 1), (0, 1, 0), strict=True
    ):
        kernel, bias = map(ops.convert_to_numpy, layer.weights)
        border = ((0, 0), (margin, margin), (margin, margin), (0, 0))
        features = convolve(np.pad(features, border), kernel, bias, stride)
    assert features.shape == (4, 1, 1, 9)
    what = net.what(features.reshape(4, -1))
    where = net.where(np.zeros((4, 2)))
    expected = net.merge(ops.concatenate([what, where], axis=1))
    np.testing.assert_allclose(
        ops.convert_to_numpy(glimpse), ops.convert_to_numpy(expected), atol=1e-6
    )


@pytest.mark.parametrize("filters", [None, (4,)])
def test_keras_file_round_trip(filters, tmp_path, rng):
    patches, locations = keras.Input((2, 4, 4, 1)), keras.Input((2,))
    outputs = GlimpseNet(5, 6, 7, filters)(patches, locations)
    model = keras.Model([patches, locations], outputs)
    inputs = [rng.uniform(size=(3, 2, 4, 4, 1)), rng.uniform(-1, 1, size=(3, 2))]
    model.save(tmp_path / "net.keras")
    restored = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(
        restored.predict(inputs, verbose=0), model.predict(inputs, verbose=0)
    )


@pytest.mark.parametrize(
    "options,name",
    [
        ({"units": 0}, "units"),
        ({"what_units": 1.5}, "what_units"),
        ({"where_units": -1}, "where_units"),
        ({"filters": (8, 0)}, "filters"),
    ],
)
def test_bad_arguments(options, name):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer of at least 1"):
        GlimpseNet(**options)


def test_bad_shape():
    with pytest.raises(ValueError, match="`patches` must have shape"):
        GlimpseNet()(np.zeros((2, 8, 8, 1)), np.zeros((2, 2)))


def test_patches_too_small_for_the_convolutions():
    with pytest.raises(ValueError, match="`filters` are too many for patches of 5x5"):
        GlimpseNet(filters=(4, 4))(np.zeros((2, 1, 5, 5, 1)), np.zeros((2, 2)))


def test_channels_are_last_whatever_keras_is_told(rng):
    patches = rng.uniform(size=(4, 2, 8, 8, 3)).astype("float32")
    locations = np.zeros((4, 2), "float32")
    net = GlimpseNet(units=5, filters=(8, 7))
    expected = ops.convert_to_numpy(net(patches, locations))
    usual = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        other = GlimpseNet(units=5, filters=(8, 7))
        other.build(patches.shape, locations.shape)
        other.set_weights(net.get_weights())
        glimpse = ops.convert_to_numpy(other(patches, locations))
    finally:
        keras.config.set_image_data_format(usual)
    np.testing.assert_allclose(glimpse, expected, atol=1e-6)


def small_backbone():
    return keras.Sequential(
        [
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.1),
        ]
    )


def test_a_backbone_looks_at_each_scale(rng):
    patches = rng.uniform(size=(4, 2, 6, 6, 3)).astype("float32")
    net = GlimpseNet(units=5, what_units=6, where_units=4, backbone=small_backbone())
    glimpse = net(patches, np.zeros((4, 2)))
    convolution = net.backbone.layers[0]
    kernel, bias = map(ops.convert_to_numpy, convolution.weights)
    features = [convolve(patches[:, scale], kernel, bias, 1) for scale in (0, 1)]
    features = np.concatenate([f.reshape(4, -1) for f in features], axis=1)
    features /= np.sqrt(1 + 1e-3)  # what batch normalization begins with
    what = net.what(features)
    expected = net.merge(ops.concatenate([what, net.where(np.zeros((4, 2)))], axis=1))
    np.testing.assert_allclose(
        ops.convert_to_numpy(glimpse), ops.convert_to_numpy(expected), atol=1e-5
    )


@pytest.mark.parametrize(
    "options,message",
    [
        ({"backbone": len}, "`backbone` must be a Keras layer or model"),
        (
            {"backbone": keras.layers.Flatten(), "filters": (4,)},
            "Either `filters` or a `backbone`",
        ),
    ],
)
def test_no_backbone(options, message):
    with pytest.raises(ValueError, match=message):
        GlimpseNet(**options)


@pytest.mark.parametrize(
    "backbone,message",
    [
        (
            keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]),
            r"does not take patches of shape \(6, 6, 3\)",
        ),
        (
            keras.layers.Lambda(lambda x: [x, x]),
            "must return one tensor of features",
        ),
    ],
)
def test_a_backbone_that_does_not_fit(backbone, message):
    net = GlimpseNet(backbone=backbone)
    with pytest.raises(ValueError, match=f"`backbone` {message}"):
        net.build((None, 2, 6, 6, 3), (None, 2))
