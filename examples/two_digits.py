"""Trains a model to read two digits on one canvas: tasks of Ba et al., 2015.

    python examples/two_digits.py --task pair --data-dir FOLDER
    python examples/two_digits.py --task sum --data-dir FOLDER

Two digits lie on 100x100 pixels, and do not touch. `pair`: which two they are, in any
order, among 8 pieces of others; 55 classes. `sum`: their sum, on an empty canvas; 19
classes. The model takes four glimpses. The canvases are made here, so it is known where
the digits are, and the model is taught to look there (`keras_ram.Pointing`); what it
has looked at is erased from coarser patches, and so the other one is next.

A run writes settings, curves and errors to OUTPUT/TASK-sSEED/result.json, and the
model to model.keras beside it. Stopped in between, it goes on from the last epoch. The
epoch is chosen on validation digits, the last 10,000 of the training digits, and the
test digits are used once, at the end.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from finding import FreshCanvases, look_near, make_backbone
from keras import layers
from paper_tasks import load
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
from keras_ram import datasets

SIZE, DIGIT, PATCH = 100, 28, 24  # pixels, pixels, cells
NEAR = 2 * 6 / SIZE  # six pixels from its centre one has looked at a digit
PAIRS = np.zeros((10, 10), "int32")
PAIRS[np.triu_indices(10)] = np.arange(55)
# Of each task the class of two digits, and how many pieces lie beside them.
TASKS = {
    "pair": (np.maximum(PAIRS, PAIRS.T), 8),
    "sum": (np.add.outer(np.arange(10), np.arange(10)), 0),
}


def canvases(digits, labels, task, rng):
    """Puts each digit on a canvas with the one after it, in a circle.

    Args:
        digits: Bytes, `(n, 28, 28, 1)`.
        labels: Ints, `(n,)`.
        task: A name in `TASKS`.
        rng: A NumPy generator.

    Returns:
        Canvases, `(n, 100, 100, 1)`, and a dict of the `"places"` of both digits,
        `(n, 2, 2)`, and the `"classes"`, `(n,)`, as `keras_ram.Pointing` takes it.
    """
    classes, pieces = TASKS[task]
    images, first = datasets.clutter(digits, SIZE, pieces, seed=rng, return_places=True)
    corners = np.round((first + 1) / 2 * SIZE - DIGIT / 2)  # x, y
    others = rng.integers(0, SIZE - DIGIT + 1, corners.shape)
    while (close := (abs(others - corners) < DIGIT).all(axis=1)).any():
        others[close] = rng.integers(0, SIZE - DIGIT + 1, (close.sum(), 2))
    for image, digit, (x, y) in zip(
        images, np.roll(digits, -1, 0), others, strict=True
    ):
        window = image[y : y + DIGIT, x : x + DIGIT]
        window += np.minimum(digit, 255 - window)
    second = (others + DIGIT / 2) / SIZE * 2 - 1
    return images, {
        "places": np.stack([first, second], axis=1).astype("float32"),
        "classes": classes[labels, np.roll(labels, -1)].astype("int32"),
    }


class TwoDigits(FreshCanvases):
    """Batches of canvases with two digits each."""

    def draw(self, digits, labels, rng):
        return canvases(digits, labels, self.options.task, rng)


def prefer_what_is_near(model):
    """Lets what is nearer win, for each feature to another degree."""
    for layer in model.glimpse_net.backbone.layers:
        if isinstance(layer, layers.EinsumDense):
            height, width, number = layer.bias.shape
            cells = keras_ram.grids.cell_places(height, width)
            ways = np.linalg.norm(cells, axis=1).reshape(height, width, 1)
            layer.bias.assign(layer.bias - ways * np.linspace(0, 3, number))


def learn_digits(model, images, labels, steps, seed):
    """Shows a backbone digits at scale 1, some pixels around their place."""
    rng = np.random.default_rng(seed)
    classifier = keras.Sequential(
        [model.glimpse_net.backbone, layers.Dense(128, "relu"), layers.Dense(10)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    classifier.compile(keras.optimizers.Adam(rate), loss)
    wide = np.pad(images, ((0, 0), (8, 8), (8, 8), (0, 0)))
    side = model.glimpse_sensor.patch_size
    cells = np.arange(side)
    for _ in range(steps):
        rows = rng.integers(0, len(images), 64)
        y, x = rng.integers(0, wide.shape[1] - side + 1, (2, 64))
        cut = wide[
            rows[:, None, None],
            (y[:, None] + cells)[:, :, None],
            (x[:, None] + cells)[:, None],
        ]
        classifier.train_on_batch(cut / np.float32(255), labels[rows])


def make(training, options):
    """The model, which knows what digits look like."""
    model = keras_ram.RAM(
        int(TASKS[options.task][0].max()) + 1,
        num_glimpses=options.glimpses,
        patch_size=PATCH,
        scales=(1, 2, 4),
        core="lstm",
        core_units=192,
        glimpse_units=192,
        what_units=192,
        where_units=32,
        location_units=128,
        location_stddev=options.stddev,
        initial_location="center",
        location_step=1 / 64,
        relative_locations=True,
        inhibition_of_return=True,
        backbone=make_backbone(PATCH),
        seed=options.seed,
    )
    model.build((None, SIZE, SIZE, 1))
    look_near(model)
    learn_digits(model, *training, options.digit_steps, options.seed)
    prefer_what_is_near(model)
    return model


def train(options):
    """Trains, chooses the epoch on validation, and tests it once."""
    folder = options.output / f"{options.task}-s{options.seed}"
    settings = begin_run(folder, options, ("output", "data_dir", "verbose"))
    keras.utils.set_random_seed(options.seed)
    training, validation, test = load(options.data_dir)
    held = {}
    for name, split, seed in (("validation", validation, 1), ("test", test, 2)):
        rng = np.random.default_rng(seed)
        images, targets = canvases(*split, options.task, rng)
        held[name] = images, targets["classes"]
    model = make(training, options)
    model.compile()
    pointing = keras_ram.Pointing(model, NEAR, options.weight)
    pointing.compile(
        falling_adam(options.learning_rate, options.epochs * options.steps, 0.02)
    )
    scores = read_curves(folder / "curves.csv")["val_accuracy"]
    some = tuple(values[: options.images] for values in held["validation"])
    pointing.fit(
        TwoDigits(*training, options, len(scores)),
        epochs=options.epochs,
        shuffle=False,
        verbose=options.verbose,
        callbacks=[
            Score(lambda: {"accuracy": 1 - error(model, *some)}),
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
    add("--task", choices=TASKS, default="pair")
    add("--glimpses", type=int, default=4)
    add("--epochs", type=int, default=60)
    add("--steps", type=int, default=100, help="of an epoch")
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, default=1e-3)
    add("--weight", type=float, default=0.3, help="of places, beside classes")
    add("--stddev", type=float, default=0.04, help="of the policy")
    add("--digit-steps", type=int, default=2000, help="of the backbone")
    add("--images", type=int, default=2000, help="to choose the epoch by")
    add("--seed", type=int, default=0)
    add("--data-dir", help="folder with the idx files of MNIST")
    add("--output", type=Path, default=Path("results/two-digits"))
    add("--verbose", type=int, default=2, help="as in `fit`")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    train(parse_arguments())
