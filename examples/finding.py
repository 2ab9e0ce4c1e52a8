"""Parts of models that find digits: what a patch shows, and where in it."""

import keras
import numpy as np
from keras import layers, ops
from paper_tasks import distort
from runs import falling_adam

import keras_ram
from keras_ram.pointing import pull


def convolve(features, filters, size, strides):
    """A rectified convolution, which keeps height and width but for its strides."""
    layer = layers.Conv2D(filters, size, strides, "same", activation="relu")
    return layer(features)


def places(features, number):
    """What is somewhere, and where. It counts more or less with where that is."""
    shape = (*features.shape[1:3], number)
    weighed = layers.EinsumDense(
        "bhwc,cd->bhwd", shape, activation="relu", bias_axes="hwd"
    )
    return keras_ram.Peaks()(weighed(features))


def make_backbone(side):
    """Looks at a patch of any scale: what it shows, and where.

    Args:
        side: Int, the cells along a side of the patch.
    """
    patch = keras.Input((side, side, 1))
    fine = convolve(patch, 24, 4, 2)
    coarse = convolve(convolve(fine, 32, 4, 2), 32, 3, 1)
    what = layers.Flatten()(convolve(coarse, 48, 4, 2))
    where = [places(coarse, 24), places(fine, 16)]
    return keras.Model(patch, layers.Concatenate()([what, *where]))


def learn_to_find(backbone, windows):
    """Shows a backbone patches: is a digit there, where, and which?

    Args:
        backbone: What looks at a patch.
        windows: A `keras.utils.PyDataset` of patches, and dicts of `"there"`, `"place"`
            and `"class"`, targets and weights.
    """
    features = layers.Dense(256, "relu")(backbone.output)
    sizes = {"there": 1, "place": 2, "class": 10}
    answers = {
        name: layers.Dense(size, name=name)(features) for name, size in sizes.items()
    }
    finder = keras.Model(backbone.input, answers)
    losses = {
        "there": keras.losses.BinaryCrossentropy(from_logits=True),
        "place": distance,
        "class": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }
    finder.compile(falling_adam(1e-3, len(windows), alpha=0.02), losses)
    finder.fit(windows, verbose=2)


def to_be_found(ways, classes, readable):
    """What `learn_to_find` is told of patches.

    Args:
        ways: `(batch, 2)`, to the digit; in [-1, 1], from edge to edge, it is there.
        classes: Ints, `(batch,)`.
        readable: `(batch,)`, what its class counts, where it is there.

    Returns:
        Targets and weights. What is not there has no place and no class.
    """
    there = (np.abs(ways).max(axis=1) < 1).astype("float32")
    places = np.where(there[:, None], ways, 0)
    targets = {"there": there, "place": places, "class": classes}
    weights = {"place": there, "class": readable * there}
    return targets, {"there": np.ones_like(there), **weights}


def distance(places, answers):
    """The error of a place in a patch, in [-1, 1] from edge to edge."""
    return miss(ops.sum(ops.square(places - answers), axis=-1), (0.1,))


def miss(squares, nears):
    """What it costs to be so far off, where all that is far is nearly as wrong.

    Args:
        squares: Squared distances, of any shape.
        nears: Floats, the distances from which on a step nearer counts less, in
            ascending order.
    """
    errors = [1 - ops.exp(-squares / 2 / near**2) for near in nears]
    return sum(errors) + 0.2 * pull(squares, nears[0])


class FreshCanvases(keras.utils.PyDataset):
    """Batches of canvases with digits, made afresh each epoch.

    Those that inherit from it have `draw(digits, labels, rng)`, which gives the images
    and what `keras_ram.Pointing` is to be told of them.

    Args:
        digits, labels: Of the training digits.
        options: What the command line gave.
        epoch: Int, with which it begins.
    """

    def __init__(self, digits, labels, options, epoch, **kwargs):
        super().__init__(**kwargs)
        self.digits, self.labels = digits, labels
        self.options, self.epoch = options, epoch

    def __len__(self):
        return self.options.steps

    def on_epoch_end(self):
        self.epoch += 1

    def __getitem__(self, index):
        rng = np.random.default_rng((self.options.seed, self.epoch, index))
        rows = rng.integers(0, len(self.digits), self.options.batch_size)
        digits = self.digits[rows]
        # In the end as they are: see "Distorted digits" in results.md.
        if self.epoch < self.options.epochs * 2 // 3:
            digits = distort(digits, rng)
        return self.draw(digits, self.labels[rows], rng)


def look_near(model):
    """Lets the policy of a new model look not too far at first."""
    kernel = model.location_sampler.mean.kernel
    kernel.assign(0.1 * kernel)
