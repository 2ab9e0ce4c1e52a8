"""The models of `photos.py`."""

import keras
import numpy as np
import photos_data
from keras import layers, ops

import keras_ram
from keras_ram.grids import cell_places


def make_blocks(filters):
    """Convolutions, each of which halves height and width.

    Their kernels are even, as the stride is: what a cell sees lies around its centre.
    With kernels of 3 it would lie half a pixel beside it, and twice as far with each
    layer.
    """
    return [
        layer
        for number in filters
        for layer in (
            layers.Conv2D(number, 4, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.95),
            layers.ReLU(),
        )
    ]


def begin_blocks():
    """The first layers of a MobileNet that learned ImageNet; a cell sees 16 pixels on.

    They learn no more: few photos would spoil what they know.
    """
    seen = keras.applications.MobileNet(include_top=False, input_shape=(None, None, 3))
    names = [layer.name for layer in seen.layers]
    blocks = seen.layers[1 : names.index("conv_pw_11_relu") + 1]
    for layer in blocks:
        layer.trainable = False
    return [layers.Rescaling(2, -1), *blocks]


class OnePlace(layers.Layer):
    """Classifies by what is seen at one place, of which it is not sure.

    What is told at a place counts by the attention to it, which is the same for all
    classes: p(class) = sum over places of p(place) p(class | place). To be right, the
    attention has to be where the class is told best.

    Args:
        pooling: `AttentionPooling2D`, with a value for each class. It is shared.

    Call arguments:
        features: Tensor of shape `(batch, height, width, channels)`.

    Returns:
        Log-probabilities, `(batch, num_classes)`, which are logits as well.
    """

    def __init__(self, pooling, **kwargs):
        super().__init__(**kwargs)
        self.pooling = pooling

    def build(self, features_shape):
        if not self.pooling.built:
            self.pooling.build(features_shape)

    def call(self, features):
        maps = [self.pooling.values(features), self.pooling.attention(features)]
        cells = ops.shape(features)[1] * ops.shape(features)[2]
        classes, attention = (ops.reshape(m, (-1, cells, m.shape[-1])) for m in maps)
        log_probs = ops.log_softmax(attention, axis=1) + ops.log_softmax(classes)
        return ops.logsumexp(log_probs, axis=1)

    def compute_output_shape(self, features_shape):
        return (features_shape[0], self.pooling.units)


def make_pooling(num_classes, texture):
    """What of a patch's features is told: of one place, or their means."""
    if texture:
        return layers.GlobalAveragePooling2D()
    return keras_ram.AttentionPooling2D(num_classes)


def make_cnn(blocks, pooling, channels, num_classes=None):
    """A classifier of whole photos.

    Args:
        blocks, pooling: Layers, which may be those of a backbone. It decides by
            `OnePlace` where `pooling` attends to places, or by the means.
        channels: Int, of the photos, which may be of any size.
        num_classes: Int, which an attending `pooling` knows.
    """
    if isinstance(pooling, keras_ram.AttentionPooling2D):
        head = [layers.Dropout(0.3), OnePlace(pooling)]
    else:  # means of very different sizes
        head = [
            pooling,
            layers.BatchNormalization(momentum=0.95),
            layers.Dropout(0.3),
            layers.Dense(128, "relu"),
            layers.Dense(num_classes),
        ]
    return keras.Sequential(
        [
            keras.Input((None, None, channels)),
            layers.Rescaling(1 / 255),
            *blocks,
            *head,
        ]
    )


def evidence_of(cnn, shrink, sure=0.3):
    """Tells where a classifier of whole photos would look.

    Args:
        cnn: As `make_cnn` makes it, trained.
        shrink: Ints. The photos are seen at one over each of these of their size, and
            attention to a place is the product of all of them.
        sure: Share of the attention that the most attended place has at the least.

    Returns:
        Function of images `(n, height, width, channels)`, which gives places `(x, y)`,
        `(n, 2)`, in [-1, 1], or NaN where the attention is spread.
    """
    *blocks, _, head = cnn.layers  # without dropout
    looking = keras.Sequential([keras.Input(cnn.input_shape[1:]), *blocks])
    looking.add(head.pooling.attention)

    def evidence(images):
        maps = []
        for factor in sorted(shrink):
            small = np.stack([photos_data.shrunk(image, factor) for image in images])
            maps.append(looking.predict(small, 32, verbose=0))
        finest = maps[0].shape[1:3]
        total = sum(ops.convert_to_numpy(ops.image.resize(m, finest)) for m in maps)
        attention = ops.softmax(total.reshape(len(total), -1))
        attention = ops.convert_to_numpy(attention)
        places = cell_places(*finest)[attention.argmax(axis=1)]
        known = attention.max(axis=1, keepdims=True) >= sure
        return np.where(known, places, np.nan).astype("float32")

    return evidence


def make_ram(shape, class_names, options):
    """A RAM whose retina fits the photos and whose backbone convolves."""
    channels = shape[-1]
    side = options.patch_size
    model = keras_ram.RAM(
        len(class_names),
        options.glimpses,
        side,
        options.scales,
        core="gru",
        core_units=128,
        glimpse_units=128,
        location_units=64,
        location_stddev=options.stddev,
        relative_locations=True,
        seed=options.seed,
        class_names=class_names,
        backbone=keras.Sequential(
            [
                keras.Input((side, side, channels)),
                *(
                    begin_blocks()
                    if options.pretrained
                    else make_blocks(options.filters)
                ),
                make_pooling(len(class_names), options.texture),
                layers.Normalization(),
            ]
        ),
    )
    model.build((None, *shape))
    return model


def normalize(model, images, seed):
    """Scales what a RAM's backbone says to mean 0 and variance 1, over many glimpses.

    Places are small numbers beside logits, and a policy would learn them last.
    """
    *others, last = model.glimpse_net.backbone.layers
    rng = np.random.default_rng(seed)
    locations = rng.uniform(-1, 1, (len(images), 2)).astype("float32")
    shape = others[0].input.shape[1:]
    looking = keras.Sequential([keras.Input(shape), *others])
    patches = ops.convert_to_numpy(model.glimpse_sensor(images, locations)) / 255
    last.adapt(looking.predict(patches.reshape(-1, *shape), 32, verbose=0))
