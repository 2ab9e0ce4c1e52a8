"""Trains one model for canvases and digits of every size.

    python examples/every_size.py --data-dir FOLDER

Digits among pieces, as dense as the paper has them on 60x60 pixels, on canvases of
40x40 to 400x400 pixels, on rectangles, and digits of 13 to 60 pixels with pieces to
match (`every_size_data.py`); sizes change from batch to batch, and pieces are few at
first. On some of 500x500 it learns to search for long. The retina sees up to 384
pixels, nearly all of the largest canvas from its centre. What was looked at is erased
from coarser patches, so the model searches, and need not remember where it was.

First its backbone learns to find digits in single patches of every scale. Then the
model is told where they are (`keras_ram.Pointing`), which is known, because the
canvases are made here: first by pairs of glimpses, of which one is anywhere, and then
by more of them. From rewards alone a policy did not learn to search on large canvases.

A run writes settings, curves and errors to OUTPUT/result.json, and the model to
OUTPUT/model.keras. Stopped in between, it goes on from the last epoch. The epoch is
chosen on validation digits, the last 10,000 of the training digits, and the test digits
are used once, at the end.
"""

import argparse
import collections
from pathlib import Path

import keras
import numpy as np
from every_size_data import MOST, EverySize, Windows, canvases
from finding import learn_to_find, look_near, make_backbone, miss
from keras import ops
from paper_tasks import load
from runs import (
    Score,
    begin_run,
    end_run,
    error,
    falling_adam,
    keep,
    read_curves,
    save_bare,
)

import keras_ram

PATCH = 24  # cells along a side
SCALES = (1, 3, 8, 16)  # pixels a cell
Lesson = collections.namedtuple("Lesson", "until glimpses first explored")
LESSONS = (  # until which share of the training; how far of `--stddev` it explores
    Lesson(until=0.15, glimpses=2, first="random", explored=1),
    Lesson(until=0.3, glimpses=4, first="center", explored=1),
    Lesson(until=0.6, glimpses=8, first="center", explored=0.6),
    Lesson(until=1, glimpses=12, first="center", explored=0.4),
)
NEAR = 6  # pixels from its centre one has looked at a digit


def make(training, options):
    """The model, as an earlier run left it, or new, but for how digits are found."""
    if options.begin:
        return keras_ram.RAM.from_preset(options.begin)
    model = keras_ram.RAM(
        10,
        patch_size=PATCH,
        scales=SCALES,
        core="lstm",
        core_units=160,
        glimpse_units=160,
        what_units=160,
        where_units=32,
        location_units=128,
        location_stddev=options.stddev,
        initial_location="center",
        location_step=1 / 64,  # all runtimes look at the same places
        relative_locations=True,
        inhibition_of_return=True,
        backbone=make_backbone(PATCH),
        name="ram_cluttered_mnist",
        seed=options.seed,
    )
    model.build((None, 100, 100, 1))
    look_near(model)
    begun = options.output / "begun.weights.h5"
    if not begun.exists():
        windows = Windows(*training, PATCH, options.find_steps, 128, options.seed)
        learn_to_find(model.glimpse_net.backbone, windows)
        model.save_weights(begun)
    model.load_weights(begun)
    return model


class Search(keras_ram.Pointing):
    """Teaches to look where the digit is, in pixels, on canvases of any size.

    Who has looked at it may look on, so nobody stays at what is like a digit. Beside a
    way that is long, one that is twice as long is hardly worse. So a policy that is in
    doubt chooses one place where the digit may be, and none between them. Long searches
    are rare, so the later a step is, the more it counts.
    """

    def compute_loss(self, x=None, *args, **kwargs):
        _, height, width, _ = ops.shape(x)
        self.size = ops.cast(ops.stack([width, height]), "float32")
        self.near = 2 * NEAR / ops.min(self.size)
        return super().compute_loss(x, *args, **kwargs)

    def _errors(self, means, places):
        squares = ops.sum(ops.square((places - means) / 2 * self.size), axis=-1)
        steps = ops.arange(squares.shape[1], dtype="float32")
        return (1 + steps / 2) * miss(squares, (4.0, 16.0, 48.0, 96.0))


def errors(model, digits, labels, number):
    """The share of wrong answers by name of size."""
    return {
        name: error(model, images, labels[:number])
        for name, images in canvases(digits, number)
    }


def score(model, digits, labels, number):
    """How often a model is right, over all sizes, and its errors at each."""
    found = errors(model, digits, labels, number)
    shares = {f"error_{name}": share for name, share in found.items()}
    return {**shares, "accuracy": 1 - np.mean(list(found.values()))}


def train(options):
    """Trains, chooses the epoch on validation, and tests it once."""
    settings = begin_run(options.output, options, ("output", "data_dir", "verbose"))
    keras.utils.set_random_seed(options.seed)
    training, validation, test = load(options.data_dir)
    model = make(training, options)
    model.compile()
    pointing = Search(model, 2 * NEAR / MOST, options.weight)
    steps = options.epochs * options.steps
    optimizer = falling_adam(options.learning_rate, steps, alpha=0.02)
    curves = options.output / "curves.csv"
    for lesson in LESSONS[-1:] if options.begin else LESSONS:
        model.num_glimpses = lesson.glimpses
        model.location_sampler.initial_location = lesson.first
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
                Score(lambda: score(model, *validation, options.images // 10)),
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
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--steps", type=int, default=100, help="of an epoch")
    parser.add_argument("--glimpses", type=int, default=12, help="at inference")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--stddev", type=float, default=0.05, help="of the policy")
    parser.add_argument(
        "--weight", type=float, default=0.3, help="of places, beside classes"
    )
    parser.add_argument("--find-steps", type=int, default=2500, help="of the backbone")
    parser.add_argument("--images", type=int, default=2000, help="to count errors on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--begin", help="a preset, or a model that an earlier run left")
    parser.add_argument("--data-dir", help="folder with the idx files of MNIST")
    parser.add_argument("--output", type=Path, default=Path("results/every-size"))
    parser.add_argument("--verbose", type=int, default=1, help="as in `fit`")
    return parser.parse_args()


if __name__ == "__main__":
    train(parse_arguments())
