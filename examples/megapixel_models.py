"""The model of `megapixel.py`, and how well it does."""

import keras
import numpy as np
from keras import layers, ops
from megapixel_data import SIDE

import keras_ram

PATCH = 32  # cells along a side
# Pixels a cell: what a digit is; where in sight; where nearby; where at all.
SCALES = (1, 4, 25, 94)


def make_backbone():
    """Looks at a patch of any scale: what it shows, and where what is lowest, …

    The larger a cell, the less of it does a digit fill. So the patch enters as it is,
    6 times and 50 times as bright. What is somewhere counts more or less with where.
    """
    patch = keras.Input((PATCH, PATCH, 1))
    bright = [
        layers.ReLU(max_value=1.5)(layers.Rescaling(gain)(patch)) for gain in (6, 50)
    ]
    seen = layers.Concatenate()([patch, *bright])

    def convolve(features, filters, size, strides):
        return layers.Conv2D(filters, size, strides, "same", activation="relu")(
            features
        )

    def places(features, number):
        shape = (*features.shape[1:3], number)
        weighed = layers.EinsumDense(
            "bhwc,cd->bhwd", shape, activation="relu", bias_axes="hwd"
        )
        return keras_ram.Peaks()(weighed(features))

    coarse = convolve(convolve(seen, 48, 4, 4), 32, 3, 1)
    what = layers.Flatten()(convolve(coarse, 32, 3, 2))
    fine = convolve(seen, 16, 4, 2)
    where = [places(coarse, 24), places(fine, 16)]
    return keras.Model(patch, layers.Concatenate()([what, *where]))


def make(options):
    """The model, as it was before, or new."""
    if options.begin:
        return keras.saving.load_model(options.begin)
    model = keras_ram.RAM(
        10,
        patch_size=PATCH,
        scales=SCALES,
        core="lstm",
        core_units=128,
        glimpse_units=128,
        where_units=32,
        initial_location="center",
        relative_locations=True,
        backbone=make_backbone(),
        seed=options.seed,
        multi_label=options.task == "multi",
    )
    model.build((None, options.size, options.size, 1))
    kernel = model.location_sampler.mean.kernel
    kernel.assign(0.1 * kernel)  # not too far at first
    return model


def learn_digits(model, images, labels, options):
    """Shows the backbone digits at scale 1, 6 pixels around their place."""
    rng = np.random.default_rng(options.seed)
    classifier = keras.Sequential(
        [model.glimpse_net.backbone, layers.Dense(128, "relu"), layers.Dense(10)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, options.digit_steps)
    classifier.compile(keras.optimizers.Adam(rate), loss)
    wide = np.pad(images, ((0, 0), (8, 8), (8, 8), (0, 0)))
    for _ in range(options.digit_steps):
        rows = rng.integers(0, len(images), 64)
        y, x = rng.integers(0, wide.shape[1] - PATCH + 1, (2, 64))
        cells = np.arange(PATCH)
        cut = wide[
            rows[:, None, None],
            (y[:, None] + cells)[:, :, None],
            (x[:, None] + cells)[:, None],
        ]
        classifier.train_on_batch(cut / np.float32(255), labels[rows])


def accuracy(model, canvases, number):
    """The share of the first canvases that are right, sets as a whole."""
    right = []
    for index in range(-(-number // canvases.batch_size)):
        images, labels = canvases[index]
        logits = model.predict_on_batch(images)
        if model.multi_label:
            right.append(((logits > 0) == labels).all(axis=1))
        else:
            right.append(logits.argmax(axis=1) == labels)
    return float(np.concatenate(right).mean())


def judge(model, canvases, near=SIDE / 2):
    """How often it is right after each glimpse, and how many digits it came near to."""
    right, found = [], []
    for index in range(len(canvases)):
        images, labels = canvases[index]
        look = model.rollout(images)
        logits, locations = (
            ops.convert_to_numpy(look[n]) for n in ("logits", "locations")
        )
        if model.multi_label:
            right.append(((logits > 0) == labels[:, None]).all(axis=-1))
        else:
            right.append(logits.argmax(axis=-1) == labels[:, None])
        corners = canvases.places(index)[:, None]  # (B, 1, 5, 2)
        pixels = (locations[:, :, None, ::-1] + 1) / 2 * canvases.size
        ways = np.linalg.norm(pixels - SIDE / 2 - corners, axis=-1)  # (B, T, 5)
        found.append((ways < near).any(axis=1))
    right, found = np.concatenate(right), np.concatenate(found)
    return {
        "accuracy": float(right[:, -1].mean()),
        "accuracy_after": right.mean(axis=0).tolist(),
        "digits_found": float(found.mean()),
        "all_found": float(found.all(axis=1).mean()),
    }


def looked_at(model, size):
    """The share of pixels that lie under the finest patches, at most."""
    side = model.glimpse_sensor.patch_size * min(model.glimpse_sensor.scales)
    return model.num_glimpses * side**2 / size**2
