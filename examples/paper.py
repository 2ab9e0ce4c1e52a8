"""Trains a row of the paper's tables, and prints the tables beside ours.

    python examples/paper.py --task cluttered-60 --data-dir FOLDER
    python examples/paper.py --table
    python examples/paper.py --picture tasks.png

A run writes its settings, curves and errors to OUTPUT/NAME/result.json, and
its model to OUTPUT/NAME/model.keras. Stopped in between, it goes on from the
last epoch when it is started again. The last 10,000 training digits are the
validation set: the epoch is chosen on it, and the test set is used once, at
the end. FOLDER holds the four idx files of MNIST; without it MNIST is
downloaded.
"""

import argparse
import json
import math
import time
from pathlib import Path

import keras
import numpy as np

import keras_ram
from keras_ram import datasets

# Canvas and pieces as in the paper; patches and scales of its retina.
TASKS = {
    "mnist": {"size": 28, "pieces": 0, "patch_size": 8, "scales": (1,)},
    "translated-60": {"size": 60, "pieces": 0, "patch_size": 12, "scales": (1, 2, 4)},
    "cluttered-60": {"size": 60, "pieces": 4, "patch_size": 12, "scales": (1, 2, 4)},
    "cluttered-100": {
        "size": 100,
        "pieces": 8,
        "patch_size": 12,
        "scales": (1, 2, 4, 8),
    },
}
PRESETS = {
    "mnist": "ram_mnist",
    "translated-60": "ram_translated_mnist_60",
    "cluttered-60": "ram_cluttered_mnist_60",
    "cluttered-100": "ram_cluttered_mnist_100",
}
GLIMPSES = {"mnist": 7}  # others: 8
# Test error in %, Mnih et al. 2014, tables 1 and 2.
PAPER = {
    "mnist": {"ram": 1.07, "cnn": 1.21},
    "translated-60": {"ram": 1.20, "cnn": 1.62},
    "cluttered-60": {"ram": 4.04, "cnn": 8.09, "random": 14.4},
    "cluttered-100": {"ram": 8.11, "cnn": 14.35, "random": 28.4},
}
ROWS = {
    "ram": "the best settings found",
    "plain": "the paper's networks: rectifier core, linear location network",
    "random": "the same as ram, but looking at random places",
    "cnn": "the paper's convolutional network with two layers",
}


class RandomGlimpses(keras_ram.LocationSampler):
    """Looks anywhere, in training and at inference."""

    def call(self, hidden_states, training=False):
        look = super().call(hidden_states, training=training)
        batch_size = keras.ops.shape(hidden_states)[0]
        return {**look, "location": self.first(batch_size, training=True)}


class Shifted(datasets.Canvases):
    """Digits moved by up to two pixels. Their margin is four."""

    def __getitem__(self, index):
        images, labels = super().__getitem__(index)  # of 32x32
        return images[:, 2:-2, 2:-2], labels


def make_model(task, options):
    """The model of a row; built, with the weights of `--start` if given."""
    model = cnn() if options.row == "cnn" else ram(task, options)
    model.build((None, task["size"], task["size"], 1))
    if options.start:
        model.load_weights(options.start)
    return model


def cnn():
    """The paper's convolutional network."""
    return keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 10, strides=5, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


def ram(task, options):
    """The model of the other rows."""
    found = {"location_stddev": options.stddev}
    if options.row != "plain":
        found.update(location_units=128, location_step=1 / 8)
        if task["size"] > 28:  # there is a digit to be found
            found.update(core="lstm", core_units=192)
    # Made afresh, canvases are never learned by heart; MNIST's digits are, and
    # seeing them from random places is what helps, until the policy is settled.
    anywhere = task["size"] == 28 and not options.start
    model = keras_ram.RAM(
        10,
        options.glimpses,
        task["patch_size"],
        task["scales"],
        initial_location="random" if anywhere else "center",
        seed=options.seed,
        **found,
    )
    if options.row == "random":
        model.location_sampler = RandomGlimpses(seed=options.seed)
    return model


def load(options):
    """MNIST: training, validation and test."""
    return datasets.load_mnist(options.data_dir, download=not options.data_dir)


def train(options):
    """Trains, chooses the epoch on validation, and tests it once."""
    task = TASKS[options.task]
    folder = options.output / options.name
    if (folder / "result.json").exists():
        raise SystemExit(f"{folder} holds a finished run. Move it away to repeat it.")
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    splits = load(options)
    size, pieces = task["size"], task["pieces"]
    validation, test = (
        (datasets.clutter(images, size, pieces, seed=seed), labels)
        for seed, (images, labels) in enumerate(splits[1:], start=1)
    )
    model = make_model(task, options)
    steps = math.ceil(len(splits[0][0]) / options.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(
        options.learning_rate, options.epochs * steps
    )
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=5.0)
    best = folder / "best.weights.h5"
    start = time.time()
    for canvas, pieces, epochs in grow(task, options):
        compile_model(model, optimizer, options)  # traces the step for this canvas
        # MNIST's digits are the only ones that are not made afresh.
        dataset = Shifted if canvas == 32 else datasets.Canvases
        model.fit(
            dataset(
                *splits[0], canvas, pieces, options.batch_size, options.seed, workers=1
            ),
            epochs=epochs,
            shuffle=False,
            validation_data=validation,
            validation_batch_size=500,
            verbose=options.verbose,
            callbacks=[
                keras.callbacks.BackupAndRestore(
                    folder / "backup", delete_checkpoint=False
                ),
                keras.callbacks.ModelCheckpoint(
                    best,
                    "val_accuracy",
                    save_best_only=True,
                    save_weights_only=True,
                    initial_value_threshold=best_so_far(folder),
                ),
                keras.callbacks.CSVLogger(folder / "curves.csv", append=True),
            ],
        )
    seconds = time.time() - start
    model.load_weights(best)
    errors = {
        name: 1 - model.evaluate(*split, 500, verbose=0, return_dict=True)["accuracy"]
        for name, split in (("validation", validation), ("test", test))
    }
    if options.row in ("ram", "plain"):
        name = PRESETS[options.task]
        config = {**model.get_config(), "name": name}
        bare = keras_ram.RAM.from_config(config)  # not compiled
        bare.build((None, size, size, 1))
        bare.set_weights(model.get_weights())
        bare.save(folder / "model.keras")
    write_result(folder, options, seconds, errors)
    print({name: f"{error:.2%}" for name, error in errors.items()})


def grow(task, options):
    """Yields the canvas, its pieces, and the epoch until which to train on it.

    A model takes images of any size. It learns what digits look like where they
    are easily found, and then to find them.
    """
    size, pieces = task["size"], task["pieces"]
    if size == 28:
        yield 32, 0, options.epochs  # cut to 28
        return
    if options.row != "cnn" and not options.start:
        for stage in range(3):
            yield 40 + (size - 40) * stage // 3, pieces * stage // 3, 2 * (stage + 1)
    yield size, pieces, options.epochs


def compile_model(model, optimizer, options):
    """Chooses the learning rule."""
    if options.row == "cnn":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"])
        return
    model.compile(
        optimizer,
        learning="hybrid" if options.row == "plain" else "joint",
        reward="probability",
        baseline="leave_one_out",
        episodes=options.episodes,
        discount=options.discount,
        consistency=options.consistency,
    )


def read_curves(folder):
    """The logs of each epoch, by name."""
    table = np.genfromtxt(folder / "curves.csv", delimiter=",", names=True)
    return {name: np.atleast_1d(table[name]).tolist() for name in table.dtype.names}


def best_so_far(folder):
    """What a resumed run has to beat."""
    curves = folder / "curves.csv"
    # Stopped in its first epoch, a run leaves an empty file.
    if not curves.exists() or not curves.stat().st_size:
        return None
    return max(read_curves(folder)["val_accuracy"])


def write_result(folder, options, seconds, errors):
    """One JSON for a run."""
    settings = {
        name: value
        for name, value in vars(options).items()
        if name not in ("output", "data_dir", "table", "picture", "verbose")
    }
    result = {
        "settings": settings,
        "versions": {"keras": keras.__version__, "backend": keras.backend.backend()},
        "seconds": seconds,  # of the last start
        "errors": errors,
        "curves": read_curves(folder),
    }
    (folder / "result.json").write_text(json.dumps(result, indent=1))


def print_table(output):
    """The paper's test errors beside ours, the mean over seeds."""
    results = [
        json.loads(path.read_text()) for path in sorted(output.glob("*/result.json"))
    ]
    print(
        f"{'task':15}{'row':8}{'T':>3}{'paper':>8}{'ours':>8}{'spread':>8}{'runs':>6}"
    )
    for task, figures in PAPER.items():
        for row in ROWS:
            runs = [
                r
                for r in results
                if (r["settings"]["task"], r["settings"]["row"]) == (task, row)
            ]
            for glimpses in sorted({r["settings"]["glimpses"] for r in runs}):
                errors = [
                    100 * r["errors"]["test"]
                    for r in runs
                    if r["settings"]["glimpses"] == glimpses
                ]
                paper = figures.get(row, "")
                print(
                    f"{task:15}{row:8}{glimpses:>3}{paper:>8}{np.mean(errors):>8.2f}"
                    f"{np.ptp(errors):>8.2f}{len(errors):>6}"
                )


def draw_tasks(options):
    """Five validation images of each task, at one size on the page."""
    from matplotlib.figure import Figure

    _, (digits, _), _ = load(options)
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots(len(TASKS), 5)
    for row, (name, task) in zip(axes, TASKS.items(), strict=True):
        images = datasets.clutter(digits[:100], task["size"], task["pieces"], seed=1)
        row[2].set_title(f"{name}: {task['size']}x{task['size']} pixels")
        for axis, image in zip(row, images[:5, :, :, 0], strict=True):
            axis.imshow(image, cmap="gray")
            axis.set_axis_off()
    figure.savefig(options.picture, dpi=100)


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true", help="print the results")
    parser.add_argument("--picture", help="draw the tasks into this file")
    parser.add_argument("--task", choices=TASKS, default="mnist")
    rows = "; ".join(f"{name}: {text}" for name, text in ROWS.items())
    parser.add_argument("--row", choices=ROWS, default="ram", help=rows)
    parser.add_argument("--glimpses", type=int, help="default: 7 for mnist, 8 else")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--episodes", type=int, default=4, help="rollouts an image")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--stddev", type=float, default=0.15, help="of the policy")
    parser.add_argument("--discount", type=float, default=0.5, help="see `compile`")
    parser.add_argument("--consistency", type=float, default=0.0, help="see `compile`")
    parser.add_argument(
        "--start", help="a trained model to go on from, its first glimpse at the centre"
    )
    parser.add_argument("--data-dir", help="folder with the idx files of MNIST")
    parser.add_argument("--output", type=Path, default=Path("results"))
    parser.add_argument("--verbose", type=int, default=1, help="as in `fit`")
    options = parser.parse_args()
    options.glimpses = options.glimpses or GLIMPSES.get(options.task, 8)
    options.name = f"{options.task}-{options.row}-T{options.glimpses}-s{options.seed}"
    options.name += "-consistent" if options.consistency else ""
    return options


if __name__ == "__main__":
    arguments = parse_arguments()
    if arguments.table:
        print_table(arguments.output)
    elif arguments.picture:
        draw_tasks(arguments)
    else:
        train(arguments)
