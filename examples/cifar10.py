"""Trains a model to classify CIFAR-10 through four glimpses of 8x8 cells.

    python examples/cifar10.py                      # downloads CIFAR-10
    python examples/cifar10.py --data-dir FOLDER    # JPEG in train/CLASS/, test/CLASS/
    python examples/cifar10.py --precision mixed_bfloat16    # twice as fast, see below

Of an image of 32x32 pixels a glimpse shows the 8x8 around a location, 16x16 in cells of
two pixels, and 32x32 in cells of four. The same convolutions look at all. The model
is taught to look at quarters of the image, one after the other (`keras_ram.Pointing`),
because from rewards alone the policy goes to a corner, and stays there. The images are
mirrored and moved afresh in each epoch. With TensorFlow on a processor that multiplies
bfloat16 an epoch takes half as long in mixed_bfloat16.

A run writes settings, curves and errors to OUTPUT/sSEED/result.json, and the model to
model.keras beside it. Stopped in between, it goes on from the last epoch. The epoch is
chosen on 5,000 of the training images, and the test images are used once, at the end.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import photos_data
from keras import layers
from runs import (
    Score,
    begin_run,
    end_with_best,
    error,
    falling_adam,
    keep,
    read_curves,
)

import keras_ram

SIZE, PATCH, SCALES = 32, 8, (1, 2, 4)  # pixels, cells, pixels a cell
MOVED = 4  # pixels at the most
VALIDATION = 5000
CLASS_NAMES = "airplane automobile bird cat deer dog frog horse ship truck".split()


def load(folder):
    """Reads the images: bytes, `(n, 32, 32, 3)`, and labels, of training and test."""
    if folder is None:
        splits = keras.datasets.cifar10.load_data()
        return [(images, labels[:, 0].astype("int32")) for images, labels in splits]
    splits = []
    for name in ("train", "test"):
        _, paths, labels = photos_data.find(folder / name)
        splits.append((photos_data.read(paths, (SIZE, SIZE)), labels))
    return splits


class Varied(keras.utils.PyDataset):
    """Batches of training images, mirrored and moved afresh in each epoch.

    The targets are the quarters of each image and its class, as `keras_ram.Pointing`
    takes them.

    Args:
        images: Bytes, `(n, 32, 32, 3)`.
        labels: `(n,)`.
        batch_size, seed: Ints.
        epoch: Int, with which it begins.
    """

    def __init__(self, images, labels, batch_size, seed, epoch, **kwargs):
        super().__init__(**kwargs)
        beside = ((0, 0), (MOVED, MOVED), (MOVED, MOVED), (0, 0))
        self.images, self.labels = np.pad(images, beside, "reflect"), labels
        self.batch_size, self.seed = batch_size, seed
        self.epoch = epoch - 1
        self.on_epoch_end()

    def __len__(self):
        return len(self.labels) // self.batch_size

    def on_epoch_end(self):
        self.epoch += 1
        rng = np.random.default_rng((self.seed, self.epoch))
        self.order = rng.permutation(len(self.labels))

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, self.epoch, index))
        rows = self.order[index * self.batch_size :][: self.batch_size]
        y, x = rng.integers(0, 2 * MOVED + 1, (2, self.batch_size, 1))
        y, x = (start + np.arange(SIZE) for start in (y, x))
        mirrored = rng.random((self.batch_size, 1)) < 0.5
        x = np.where(mirrored, x[:, ::-1], x)
        images = self.images[rows[:, None, None], y[:, :, None], x[:, None, :]]
        places = photos_data.quarters(images)
        return images, {"places": places, "classes": self.labels[rows]}


def make_backbone(filters):
    """Looks at a patch: two convolutions, half the height and width, and the others."""
    patch = keras.Input((PATCH, PATCH, 3))
    features = layers.Rescaling(4, -2)(patch)
    for index, number in enumerate(filters):
        features = layers.Conv2D(number, 3, padding="same", use_bias=False)(features)
        features = layers.BatchNormalization(momentum=0.98)(features)
        features = layers.ReLU()(features)
        if index == 1:
            features = layers.MaxPooling2D(2)(features)
    return keras.Model(patch, layers.Flatten()(features))


def make(options):
    """The model, built."""
    model = keras_ram.RAM(
        len(CLASS_NAMES),
        options.glimpses,
        PATCH,
        SCALES,
        core="lstm",
        core_units=256,
        glimpse_units=256,
        what_units=256,
        where_units=64,
        location_units=128,
        location_stddev=options.stddev,
        location_step=1 / 32,
        initial_location="center",
        backbone=make_backbone(options.filters),
        seed=options.seed,
        class_names=CLASS_NAMES,
    )
    model.build((None, SIZE, SIZE, 3))
    return model


def train(options):
    """Trains, chooses the epoch on validation, and tests it once."""
    folder = options.output / f"s{options.seed}"
    settings = begin_run(folder, options, ("output", "data_dir", "verbose"))
    keras.utils.set_random_seed(options.seed)
    keras.config.set_dtype_policy(options.precision)
    (images, labels), test = load(options.data_dir)
    order = np.random.default_rng(0).permutation(len(labels))
    kept, order = order[:VALIDATION], order[VALIDATION:]
    held = {"validation": (images[kept], labels[kept]), "test": test}
    model = make(options)
    model.compile()
    pointing = keras_ram.Pointing(model, photos_data.NEAR, options.weight)
    scores = read_curves(folder / "curves.csv")["val_accuracy"]
    batches = Varied(
        images[order], labels[order], options.batch_size, options.seed, len(scores)
    )
    steps = options.epochs * len(batches)
    pointing.compile(falling_adam(options.learning_rate, steps))
    pointing.fit(
        batches,
        epochs=options.epochs,
        shuffle=False,
        verbose=options.verbose,
        callbacks=[
            Score(lambda: {"accuracy": 1 - error(model, *held["validation"])}),
            *keep(folder, "val_accuracy", scores),
        ],
    )
    end_with_best(pointing, held, folder, settings)


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data-dir", type=Path, help="folder with the images; without, a download")
    add("--glimpses", type=int, default=4)
    add("--filters", type=int, nargs="+", default=(32, 64, 96, 96))
    add("--epochs", type=int, default=38)
    add("--batch-size", type=int, default=100)
    add("--learning-rate", type=float, default=2e-3)
    add("--weight", type=float, default=0.1, help="of places, beside classes")
    add("--stddev", type=float, default=0.1, help="of the policy")
    add("--precision", default="float32", help="a policy, such as mixed_bfloat16")
    add("--seed", type=int, default=0)
    add("--output", type=Path, default=Path("results/cifar10"))
    add("--verbose", type=int, default=2, help="as in `fit`")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    train(parse_arguments())
