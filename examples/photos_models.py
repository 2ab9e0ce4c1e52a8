"""The models of `photos.py`, what they cost, and where they looked."""

import math

import keras
import numpy as np
from keras import layers, ops

import keras_ram


def make_blocks(filters):
    """Convolutions, each of which halves height and width."""
    return [
        layer
        for number in filters
        for layer in (
            layers.Conv2D(number, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.95),
            layers.ReLU(),
        )
    ]


def make_cnn(blocks, shape, num_classes):
    """A classifier of whole photos, whose last convolution says what is somewhere.

    Args:
        blocks: Layers, which may be those of a backbone.
        shape: Tuple `(height, width, channels)`.
        num_classes: Int.
    """
    cnn = keras.Sequential(
        [
            keras.Input(shape),
            layers.Rescaling(1 / 255),
            *blocks,
            layers.GlobalMaxPooling2D(),
            layers.Dropout(0.3),
            layers.Dense(num_classes),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    cnn.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    return cnn


def evidence_of(cnn):
    """Tells where a classifier of whole photos has the most evidence for the class.

    Args:
        cnn: As `make_cnn` makes it, trained.

    Returns:
        Function of images `(n, height, width, channels)` and labels `(n,)`, which gives
        places `(x, y)`, `(n, 2)`, in [-1, 1].

    Reference:

    - Zhou et al., "Learning deep features for discriminative localization", 2016
    """
    *blocks, _, _, classifier = cnn.layers  # without pooling and dropout
    looking = keras.Sequential([keras.Input(cnn.input_shape[1:]), *blocks])
    kernel = ops.convert_to_numpy(classifier.kernel)  # (features, classes)

    def evidence(images, labels):
        features = looking.predict(images, verbose=0)
        maps = np.einsum("nhwc,cn->nhw", features, kernel[:, labels])
        height, width = maps.shape[1:]
        rows, columns = np.divmod(maps.reshape(len(maps), -1).argmax(axis=1), width)
        places = np.stack([(columns + 0.5) / width, (rows + 0.5) / height], axis=1)
        return (2 * places - 1).astype("float32")

    return evidence


def make_ram(shape, class_names, options):
    """A RAM whose retina fits the photos and whose backbone convolves."""
    height, width, channels = shape
    seen = keras_ram.retina(height, width, options.patch_size)
    side = seen["patch_size"]
    model = keras_ram.RAM(
        len(class_names),
        options.glimpses,
        **seen,
        core="gru",
        core_units=128,
        glimpse_units=128,
        location_units=64,
        location_stddev=options.stddev,
        seed=options.seed,
        class_names=class_names,
        backbone=keras.Sequential(
            [
                keras.Input((side, side, channels)),
                *make_blocks(options.filters),
                keras_ram.Peaks(),
            ]
        ),
    )
    model.build((None, *shape))
    return model


def multiply_adds(model, shape):
    """Those of convolutions, and of products with matrices, for one image.

    What the retina averages is not counted.
    """
    if isinstance(model, keras_ram.RAM):
        sensor, net = model.glimpse_sensor, model.glimpse_net
        patch = (sensor.patch_size, sensor.patch_size, shape[-1])
        others = sum(_matrices(part) for part in (net.what, net.where, net.merge))
        others += _matrices(model.core) + _matrices(model.location_sampler)
        look = (
            len(sensor.scales + sensor.shares) * multiply_adds(net.backbone, patch)
            + others
        )
        return model.num_glimpses * look + _matrices(model.classifier)
    total, shape = 0, (None, *shape)
    for layer in model.layers:
        shape = layer.compute_output_shape(shape)
        convolves = isinstance(layer, layers.Conv2D)
        cells = math.prod(shape[1:3]) if convolves else 1
        total += cells * _size(layer)
    return total


def _size(layer):
    """Numbers in the kernel of a layer, or 0."""
    return math.prod(layer.kernel.shape) if hasattr(layer, "kernel") else 0


def _matrices(part):
    return sum(math.prod(w.shape) for w in part.weights if len(w.shape) == 2)


def answers(model, images, batch_size=32):
    """Logits, and where a RAM looked, `(n, T, 2)`, or `None`."""
    if not isinstance(model, keras_ram.RAM):
        return model.predict(images, batch_size, verbose=0), None
    seen = [
        model.rollout(images[start : start + batch_size])
        for start in range(0, len(images), batch_size)
    ]
    logits = [ops.convert_to_numpy(s["logits"])[:, -1] for s in seen]
    locations = [ops.convert_to_numpy(s["locations"]) for s in seen]
    return np.concatenate(logits), np.concatenate(locations)


def balanced_accuracy(guesses, labels):
    """The mean over the classes of how often photos of a class are right."""
    right = guesses == labels
    return float(np.mean([right[labels == label].mean() for label in set(labels)]))


def touched(masks, locations, side):
    """Whether a finest patch touched what decides: `(n,)`.

    Args:
        masks: Bools, `(n, height, width)`.
        locations: `(n, T, 2)`.
        side: Of a finest patch, in pixels.
    """
    size = np.array(masks.shape[:0:-1])  # width and height
    starts = (locations + 1) / 2 * size - side / 2
    starts, stops = np.clip([starts, starts + side], 0, size)
    found = []
    for mask, low, high in zip(masks, np.floor(starts), np.ceil(stops), strict=True):
        boxes = zip(low.astype(int), high.astype(int), strict=True)
        found.append(any(mask[y:v, x:u].any() for (x, y), (u, v) in boxes))
    return np.array(found)


def draw(model, images, labels, folder):
    """Draws some right answers and some wrong ones."""
    guesses = answers(model, images)[0].argmax(axis=1)
    for name, chosen in (("right", guesses == labels), ("wrong", guesses != labels)):
        rows = np.flatnonzero(chosen)
        if len(rows):
            rows = np.random.default_rng(0).permutation(rows)[:6]
            figure = keras_ram.plot_glimpses(model, images[rows], labels[rows])
            figure.savefig(folder / f"{name}.png", dpi=60)
