"""Trains one model for canvases and digits of every size.

    python examples/every_size.py --data-dir FOLDER

Digits among pieces, as dense as the paper has them on 60x60 pixels, on canvases of
40x40 to 400x400 pixels, on rectangles, and digits of 13 to 60 pixels with pieces to
match; sizes change from batch to batch, and canvases are small and pieces few at first.
Beside patches in pixels, which tell what is there, the retina has one that sees a
share of the image, whatever its size. What was looked at is erased from coarser
patches, so the model searches, and need not remember where it was.

First its backbone learns what digits look like. Then the model is told where they are
(`keras_ram.Pointing`), which is known, because the canvases are made here. From rewards
alone a policy did not learn to search on large canvases.

A run writes settings, curves and errors to OUTPUT/result.json, and the model to
OUTPUT/model.keras. Stopped in between, it goes on from the last epoch. The epoch is
chosen on validation digits, the last 10,000 of the training digits, and the test digits
are used once, at the end.
"""

import argparse
import collections
import math
from pathlib import Path

import keras
import numpy as np
from finding import begin, make_backbone
from paper_tasks import distort, load
from runs import begin_run, end_run, error, falling_adam, keep, read_curves, save_bare

import keras_ram
from keras_ram import datasets

LEAST, MOST = 40, 400  # sides of canvases, in pixels
AT_FIRST, GROWN = 100, 0.3  # the largest ones, and the share of training until `MOST`
SIZES = (40, 60, 80, 100, 150, 200, 400, (60, 300))
DIGITS = (14, 20, 40, 56)  # sides, in pixels, on 100x100
PATCH = 24  # cells along a side
Lesson = collections.namedtuple("Lesson", "until glimpses explored")
LESSONS = (  # until which share of the training; how far of `--stddev` it explores
    Lesson(until=0.15, glimpses=3, explored=1),
    Lesson(until=0.3, glimpses=5, explored=1),
    Lesson(until=0.7, glimpses=8, explored=1),
    Lesson(until=1, glimpses=8, explored=0.4),
)
NEAR = 2 / MOST  # one pixel, on the largest canvases


def pieces(height, width, digit=28):
    """How many lie on a canvas, and their side: as dense as in the paper.

    There 4 pieces of 8x8 pixels are on 60x60, and digits have 28x28. Larger digits and
    pieces on a larger canvas are the same canvas from nearby.
    """
    share = digit / 28
    return round(height * width * 4 / (60 * share) ** 2), round(8 * share)


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
        some, _ = pieces(height, width)
        images = datasets.clutter(digits, (height, width), some, seed=height + width)
        yield f"{height}x{width}", images
    for size in DIGITS:
        larger = enlarge(digits, size)
        images = datasets.clutter(larger, 100, *pieces(100, 100, size), seed=size)
        yield f"digit_{size}", images


class EverySize(keras.utils.PyDataset):
    """Batches of canvases, each of a size of its own, and where their digits are.

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
        start = index * self.options.batch_size
        digits, classes = (x[start:][: self.options.batch_size] for x in self.some)
        done = 1 if self.options.begin else self.epoch / self.options.epochs
        most = AT_FIRST * (MOST / AT_FIRST) ** min(1, done / GROWN)
        kind = rng.choice(["square", "rectangle", "digit"], p=[0.45, 0.15, 0.4])
        height = width = _between(rng, LEAST, most)
        digit = 28
        if kind == "rectangle":
            height, width = (_between(rng, LEAST, min(most, 300)) for _ in range(2))
        elif kind == "digit":
            height = width = _between(rng, 70, min(most, 200))
            digit = _between(rng, 13, 60)
            digits = enlarge(digits, digit)
        some, side = pieces(height, width, digit)
        # What is to be found is first found where there is little else, or nothing.
        if rng.random() > min(0.7, 0.3 + done / 0.6):
            some = rng.integers(2) * rng.integers(some + 1)
        images, places = datasets.clutter(
            digits,
            (height, width),
            some,
            side,
            seed=rng,
            return_places=True,
        )
        return images, {"places": places[:, None], "classes": classes}

    def _rng(self, index=0):
        return np.random.default_rng((self.options.seed, self.epoch, index))


def _between(rng, low, high):
    """A whole number; its logarithm is uniform."""
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


def make(training, options):
    """The model, as an earlier run left it, or new, but for what digits look like."""
    if options.begin:
        return keras_ram.RAM.from_preset(options.begin)
    model = keras_ram.RAM(
        10,
        patch_size=PATCH,
        scales=(1, 3),
        shares=(1,),
        core="lstm",
        core_units=160,
        glimpse_units=160,
        what_units=160,
        where_units=32,
        location_units=128,
        location_stddev=options.stddev,
        initial_location="center",
        location_step=1 / 256,  # all runtimes look at the same places
        relative_locations=True,
        inhibition_of_return=True,
        backbone=make_backbone(PATCH),
        name="ram_cluttered_mnist",
        seed=options.seed,
    )
    begin(model, 100, training, options)
    return model


class Score(keras.callbacks.Callback):
    """Logs the errors on validation digits at every size."""

    def __init__(self, model, digits, labels, number):
        super().__init__()
        self.ram, self.digits, self.labels = model, digits, labels
        self.number = number

    def on_epoch_end(self, epoch, logs=None):
        found = errors(self.ram, self.digits, self.labels, self.number)
        logs.update({f"val_error_{name}": share for name, share in found.items()})
        logs["val_accuracy"] = 1 - np.mean(list(found.values()))


def errors(model, digits, labels, number):
    """The share of wrong answers by name of size."""
    return {
        name: error(model, images, labels[:number])
        for name, images in canvases(digits, number)
    }


def train(options):
    """Trains, chooses the epoch on validation, and tests it once."""
    settings = begin_run(options.output, options, ("output", "data_dir", "verbose"))
    keras.utils.set_random_seed(options.seed)
    training, validation, test = load(options.data_dir)
    model = make(training, options)
    model.compile()
    pointing = keras_ram.Pointing(model, NEAR, options.weight)
    steps = options.epochs * options.steps
    optimizer = falling_adam(options.learning_rate, steps, alpha=0.02)
    curves = options.output / "curves.csv"
    for lesson in LESSONS:
        if options.begin and lesson.until <= GROWN:
            continue  # canvases have their full size from the first
        model.num_glimpses = lesson.glimpses
        model.location_sampler.stddev = lesson.explored * options.stddev
        # Compiled for each size it would be anew.
        pointing.compile(optimizer, jit_compile=False)
        scores = read_curves(curves)["val_accuracy"]
        pointing.fit(
            EverySize(*training, options, len(scores), workers=1),
            epochs=round(lesson.until * options.epochs),
            shuffle=False,
            verbose=options.verbose,
            callbacks=[
                Score(model, *validation, options.images // 10),
                *keep(options.output, "val_accuracy", scores),
            ],
        )
    pointing.load_weights(options.output / "best.weights.h5")
    model.num_glimpses = options.glimpses
    save_bare(model, (100, 100, 1), options.output / "model.keras")
    found = {
        name: errors(model, *split, options.images)
        for name, split in (("validation", validation), ("test", test))
    }
    result = {"settings": settings, "errors": found, "curves": read_curves(curves)}
    end_run(options.output, result)
    for name, share in found["test"].items():
        print(f"{name:10}{share:8.2%}")


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=160)
    parser.add_argument("--steps", type=int, default=100, help="of an epoch")
    parser.add_argument("--glimpses", type=int, default=12, help="at inference")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--stddev", type=float, default=0.05, help="of the policy")
    parser.add_argument(
        "--weight", type=float, default=0.3, help="of places, beside classes"
    )
    parser.add_argument("--digit-steps", type=int, default=2000, help="of the backbone")
    parser.add_argument("--images", type=int, default=2000, help="to count errors on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--begin", help="a preset, or a model that an earlier run left")
    parser.add_argument("--data-dir", help="folder with the idx files of MNIST")
    parser.add_argument("--output", type=Path, default=Path("results/every-size"))
    parser.add_argument("--verbose", type=int, default=1, help="as in `fit`")
    return parser.parse_args()


if __name__ == "__main__":
    train(parse_arguments())
