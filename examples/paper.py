"""Trains a row of the paper's tables, and prints the tables beside ours.

    python examples/paper.py --task cluttered-60 --data-dir FOLDER
    python examples/paper.py --table
    python examples/paper.py --picture tasks.png

A run writes its settings, curves and errors to OUTPUT/NAME/result.json, and
the model of `ram` and `plain` to OUTPUT/NAME/model.keras. Stopped in between, it
goes on from the last epoch when it is started again with the same settings. The
last 10,000 training digits are the validation set: the epoch is chosen on it,
and the test set is used once, at the end. FOLDER holds the four idx files of
MNIST; without it MNIST is downloaded.
"""

import argparse
import math
import time
from pathlib import Path

import keras
import paper_models
import paper_tasks
from paper_tasks import ROWS, TASKS
from runs import begin_run, end_run, falling_adam, keep, read_curves, save_bare

import keras_ram

NOT_SETTINGS = ("name", "output", "data_dir", "table", "picture", "verbose")


def train(options):
    """Trains, chooses the epoch on validation, and tests it once."""
    task = TASKS[options.task]
    folder = options.output / options.name
    settings = begin_run(folder, options, NOT_SETTINGS)
    keras.utils.set_random_seed(options.seed)
    splits = paper_tasks.load(options.data_dir)
    validation, test = paper_tasks.canvases(task, splits)
    model = paper_models.make(task, options)
    steps = math.ceil(len(splits[0][0]) / options.batch_size)
    optimizer = falling_adam(options.learning_rate, options.epochs * steps)
    start = time.time()
    for stage in stages(task, options):
        prepare(model, optimizer, stage, options)
        curves = read_curves(folder / "curves.csv")  # of the epochs so far
        scores = curves["val_accuracy"]
        model.fit(
            stage["images"](
                *splits[0],
                stage["canvas"],
                stage["pieces"],
                options.batch_size,
                # No stage repeats another, and no start what was before it.
                seed=1000 * options.seed + len(scores),
                workers=1,
            ),
            epochs=stage["until"],
            shuffle=False,
            validation_data=validation,
            validation_batch_size=500,
            verbose=options.verbose,
            callbacks=keep(folder, "val_accuracy", scores),
        )
    seconds = time.time() - start
    model.load_weights(folder / "best.weights.h5")
    errors = {
        name: 1 - model.evaluate(*split, 500, verbose=0, return_dict=True)["accuracy"]
        for name, split in (("validation", validation), ("test", test))
    }
    if options.row in ("ram", "plain"):
        image_shape = (task["size"], task["size"], 1)
        save_bare(model, image_shape, folder / "model.keras", name=task["preset"])
    result = {
        "settings": settings,
        "seconds": seconds,  # of the last start
        "errors": errors,
        "curves": read_curves(folder / "curves.csv"),
    }
    end_run(folder, result)
    print({name: f"{error:.2%}" for name, error in errors.items()})


def stages(task, options):
    """Yields what the model is trained on, and the epoch until when.

    A RAM takes images of any size. It learns what digits look like where they
    are easily found, and then to find them. In the end the policy explores less,
    and the classifier learns at the places where inference looks.
    """
    size, pieces, epochs = task["size"], task["pieces"], options.epochs
    # The few digits that are not put anywhere are seen from anywhere. The paper's
    # networks do better where inference begins.
    first = "random" if size == 28 and options.row != "plain" else "center"
    distorted, exact = paper_tasks.Distorted, keras_ram.datasets.Canvases
    whole = {
        "images": exact if options.distorted == "never" else distorted,
        "canvas": size,
        "pieces": pieces,
        "stddev": options.stddev,
        "first": first,
    }
    growing = size > 28 and options.row not in paper_models.SEE_ALL
    for step in range(3 if growing else 0):
        canvas, some = 40 + (size - 40) * step // 3, pieces * step // 3
        until = min(2 * (step + 1), epochs // 3)
        yield {**whole, "canvas": canvas, "pieces": some, "until": until}
    yield {**whole, "until": epochs * 2 // 3}
    yield {
        **whole,
        "images": distorted if options.distorted == "always" else exact,
        "stddev": options.stddev / 3,
        "first": "center",
        "until": epochs,
    }


def prepare(model, optimizer, stage, options):
    """Chooses the learning rule. Compiled anew, the step is traced anew."""
    if options.row in paper_models.SEE_ALL:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"])
        return
    if options.row != "random":
        model.location_sampler.stddev = stage["stddev"]
        model.location_sampler.initial_location = stage["first"]
    model.compile(
        optimizer,
        # At random places, decisions that nobody follows have nothing to teach.
        learning="hybrid" if options.row == "random" else "joint",
        reward="probability",
        baseline="leave_one_out",
        episodes=options.episodes,
        discount=options.discount,
        guess_weights=options.guess_weights,
    )


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
    parser.add_argument("--epochs", type=int, help="default: see paper_tasks.py")
    parser.add_argument(
        "--discount", type=float, help="see `compile`; default: 1 for mnist, 0.5 else"
    )
    parser.add_argument(
        "--guess-weights", type=float, nargs="+", help="see `compile`; default: None"
    )
    parser.add_argument(
        "--filters",
        type=int,
        nargs="+",
        default=(32, 64),
        help="of the convolutions; default: 32 32 32 64 for cluttered-100, 32 64 else",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--episodes", type=int, default=2, help="rollouts an image")
    parser.add_argument(
        "--distorted",
        choices=("always", "first", "never"),
        default="always",
        help="the training digits; first: in the first two thirds of the epochs",
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--stddev", type=float, default=0.15, help="of the policy")
    parser.add_argument("--data-dir", help="folder with the idx files of MNIST")
    parser.add_argument("--output", type=Path, default=Path("results"))
    parser.add_argument("--verbose", type=int, default=1, help="as in `fit`")
    options = parser.parse_args()
    task = TASKS[options.task]
    parser.set_defaults(**{**task["settings"], **task["rows"].get(options.row, {})})
    options = parser.parse_args()
    options.name = f"{options.task}-{options.row}-T{options.glimpses}-s{options.seed}"
    return options


if __name__ == "__main__":
    arguments = parse_arguments()
    if arguments.table:
        paper_tasks.print_table(arguments.output)
    elif arguments.picture:
        paper_tasks.draw(arguments.data_dir, arguments.picture)
    else:
        train(arguments)
