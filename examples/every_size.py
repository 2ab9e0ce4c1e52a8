"""Trains one model for canvases and digits of every size.

    python examples/every_size.py --data-dir FOLDER

Digits among pieces, as dense as the paper has them on 60x60 pixels, on canvases of
40x40 to 400x400 pixels, on rectangles, and digits of 13 to 60 pixels with pieces to
match; sizes change from batch to batch, and pieces are few in many batches at first.
Beside patches in pixels, which tell what is there, the retina has patches that see a
share of the image, whatever its size.

It begins with the weights of an earlier run, `--begin every_size.keras` beside this
file, or with those of the preset of 100x100, whose coarsest patch becomes the one that
sees the whole image. A run writes settings, curves and errors to
OUTPUT/result.json, and the model to OUTPUT/model.keras. Stopped in between, it goes on
from the last epoch. The epoch is chosen on validation digits, the last 10,000 of the
training digits, and the test digits are used once, at the end.
"""

import argparse
import math
from pathlib import Path

import keras
import numpy as np
from paper_tasks import distort, load
from runs import begin_run, end_run, falling_adam, keep, read_curves, save_bare

import keras_ram
from keras_ram import datasets

BEGIN = "ram_cluttered_mnist_100"
LEAST, MOST = 40, 400  # sides of canvases, in pixels
SIZES = (40, 60, 80, 100, 150, 200, 400, (60, 300))
DIGITS = (14, 20, 40, 56)  # sides, in pixels, on 100x100


def pieces(height, width):
    """How many lie on a canvas: 4 on 60x60, as in the paper."""
    return round(height * width * 4 / 60**2)


def piece_size(digit):
    """Side of pieces among digits of another size than 28: 8 there, as in the paper."""
    return round(8 * digit / 28)


def enlarge(digits, size):
    """Digits of another size in pixels."""
    digits = keras.ops.image.resize(
        digits.astype("float32"), (size, size), antialias=True
    )
    return np.round(keras.ops.convert_to_numpy(digits)).astype("uint8")


def canvases(digits, number):
    """Yields names, and images of the same digits at every size, always the same."""
    digits = digits[:number]
    for size in SIZES:
        height, width = size if isinstance(size, tuple) else (size, size)
        some = pieces(height, width)
        images = datasets.clutter(digits, (height, width), some, seed=height + width)
        yield f"{height}x{width}", images
    some = pieces(100, 100)
    for size in DIGITS:
        larger = enlarge(digits, size)
        images = datasets.clutter(larger, 100, some, piece_size(size), seed=size)
        yield f"digit_{size}", images


class EverySize(keras.utils.PyDataset):
    """Batches of canvases, each of a size of its own.

    Args:
        digits, labels: Of the training digits.
        options: What the command line gave.
        epoch: Int, with which it begins.
    """

    def __init__(self, digits, labels, options, epoch, **kwargs):
        super().__init__(**kwargs)
        self.digits, self.labels, self.options = digits, labels, options
        self.epoch = epoch - 1
        self.on_epoch_end()

    def __len__(self):
        return self.options.steps

    def on_epoch_end(self):
        self.epoch += 1
        rng = self._rng()
        number = self.options.steps * self.options.batch_size
        rows = np.resize(rng.permutation(len(self.digits)), number)
        self.some = self.digits[rows], self.labels[rows]
        # In the end as they are: see "Distorted digits" in results.md.
        if self.epoch < self.options.epochs * 2 // 3:
            self.some = distort(self.some[0], rng), self.some[1]

    def __getitem__(self, index):
        rng = self._rng(index + 1)
        begin = index * self.options.batch_size
        digits, labels = (x[begin:][: self.options.batch_size] for x in self.some)
        kind = rng.choice(["square", "rectangle", "digit"], p=[0.5, 0.2, 0.3])
        height = width = _between(rng, LEAST, MOST)
        digit = 28
        if kind == "rectangle":
            height, width = (_between(rng, LEAST, 300) for _ in range(2))
        elif kind == "digit":
            height = width = _between(rng, 70, 200)
            digit = _between(rng, 13, 60)
            digits = enlarge(digits, digit)
        some = pieces(height, width)
        # What is to be found is first found where there is little else.
        if rng.random() > self.epoch / (0.6 * self.options.epochs):
            some = rng.integers(some + 1)
        canvas = (height, width)
        images = datasets.clutter(digits, canvas, some, piece_size(digit), seed=rng)
        return images, labels

    def _rng(self, index=0):
        return np.random.default_rng((self.options.seed, self.epoch, index))


def _between(rng, low, high):
    """A whole number; its logarithm is uniform."""
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


def make(options):
    """The model, with the weights to begin with."""
    if options.begin:
        model = keras_ram.RAM.from_preset(options.begin)
        model.num_glimpses = options.glimpses
        return model
    begin = keras_ram.RAM.from_preset(BEGIN)
    config = {
        **begin.get_config(),
        "name": "ram_cluttered_mnist",
        "num_glimpses": options.glimpses,
        "scales": (1, 2, 4),
        "shares": (0.35, 1),
        "seed": options.seed,
        "stop_confidence": None,
    }
    model = keras_ram.RAM.from_config(config)
    model.build((None, 100, 100, 1))
    for weight, old in zip(model.weights, begin.weights, strict=True):
        old = keras.ops.convert_to_numpy(old)
        if weight.shape != old.shape:
            new = np.zeros(weight.shape, old.dtype)
            if old.ndim == 4:  # a kernel: scales 1, 2, 4, then 8
                new[:, :, :3], new[:, :, 4:] = old[:, :, :3], old[:, :, 3:]
            else:  # of the place, to which the size of the image is added
                new[: len(old)] = old
            old = new
        weight.assign(old)
    return model


class Score(keras.callbacks.Callback):
    """Logs the errors on validation digits at every size, and how far to explore."""

    def __init__(self, digits, labels, options):
        super().__init__()
        self.digits, self.labels, self.options = digits, labels, options

    def on_epoch_begin(self, epoch, logs=None):
        done = epoch / self.options.epochs
        share = 1 if done < 1 / 2 else 1 / 2 if done < 5 / 6 else 1 / 3
        self.model.location_sampler.stddev = self.options.stddev * share

    def on_epoch_end(self, epoch, logs=None):
        few = self.options.images // 4
        found = errors(self.model, self.digits, self.labels, few)
        logs.update({f"val_error_{name}": error for name, error in found.items()})
        logs["val_accuracy"] = 1 - np.mean(list(found.values()))


def errors(model, digits, labels, number):
    """The share of wrong answers by name of size."""
    return {
        name: float(
            np.mean(
                model.predict(images, 100, verbose=0).argmax(axis=1) != labels[:number]
            )
        )
        for name, images in canvases(digits, number)
    }


def train(options):
    """Trains, chooses the epoch on validation, and tests it once."""
    settings = begin_run(options.output, options, ("output", "data_dir", "verbose"))
    keras.utils.set_random_seed(options.seed)
    training, validation, test = load(options.data_dir)
    model = make(options)
    model.compile(
        falling_adam(options.learning_rate, options.epochs * options.steps),
        episodes=2,
        jit_compile=False,  # which would compile for each size anew
    )
    curves = options.output / "curves.csv"
    scores = read_curves(curves)["val_accuracy"]
    model.fit(
        EverySize(*training, options, len(scores), workers=1),
        epochs=options.epochs,
        shuffle=False,
        verbose=options.verbose,
        callbacks=[
            Score(*validation, options),
            *keep(options.output, "val_accuracy", scores),
        ],
    )
    model.load_weights(options.output / "best.weights.h5")
    save_bare(model, (100, 100, 1), options.output / "model.keras")
    found = {
        name: errors(model, *split, options.images)
        for name, split in (("validation", validation), ("test", test))
    }
    result = {"settings": settings, "errors": found, "curves": read_curves(curves)}
    end_run(options.output, result)
    for name, error in found["test"].items():
        print(f"{name:10}{error:8.2%}")


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=500, help="of an epoch")
    parser.add_argument("--glimpses", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--stddev", type=float, default=0.08, help="of the policy")
    parser.add_argument("--images", type=int, default=2000, help="to count errors on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--begin", help="a model that an earlier run left")
    parser.add_argument("--data-dir", help="folder with the idx files of MNIST")
    parser.add_argument("--output", type=Path, default=Path("results/every-size"))
    parser.add_argument("--verbose", type=int, default=1, help="as in `fit`")
    return parser.parse_args()


if __name__ == "__main__":
    train(parse_arguments())
