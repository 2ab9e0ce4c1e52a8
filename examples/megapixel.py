"""Trains a model to look for the digits on megapixel canvases.

    python examples/megapixel.py --data-dir FOLDER

Five digits lie on 1500x1500 pixels among 50 patches of noise, and the class of three of
them is asked for: see `megapixel_data.py`. A policy does not find five digits one after
the other by luck. So it is taught, on canvases that are made here, of which the places
and classes of all digits are known (others learn from the labels of canvases alone):
first the backbone learns what digits look like; then the model learns by single
glimpses what it sees, and to look next at a digit nearby, or to go round the canvas
where there is none; then the way round by itself, on a canvas of nothing
(`megapixel_way.py`), and single glimpses again; and then to do so glimpse after glimpse
(`LESSONS`). What it has looked at is erased from what it sees next
(`inhibition_of_return`), so it need not remember. With `--epochs` it then learns from
rewards, which need labels alone.

A run writes settings, curves and results to OUTPUT/result.json, and the model to
OUTPUT/model.keras. Stopped in between, it goes on. `--begin` takes the model of an
earlier run, and `--lessons` some of the lessons. Epochs are chosen on canvases of the
last 10,000 training digits, and the 1,000 published test canvases are used once, at the
end; of another `--size` they are drawn in the same way.
"""

import argparse
import collections
import json
from pathlib import Path

import keras
import numpy as np
from finding import learn_to_find
from megapixel_data import TASKS, load_own, load_published
from megapixel_glances import PACE, Glances, Starts
from megapixel_models import draw, judge, looked_at, make
from megapixel_search import Search, Visits
from megapixel_way import learn_the_way
from megapixel_windows import Windows
from runs import (
    Score,
    back_up,
    begin_run,
    end_run,
    falling_adam,
    keep,
    read_curves,
    save_bare,
)

from keras_ram import datasets

STEPS = 100  # of an epoch
Lesson = collections.namedtuple("Lesson", "glimpses first epochs way", defaults=[False])
LESSONS = (  # how many of all glimpses, 0 for single ones; where the first is
    Lesson(glimpses=0, first="center", epochs=15),
    Lesson(glimpses=0, first="center", epochs=5, way=True),  # the way by itself before
    Lesson(glimpses=1 / 2, first="random", epochs=4),
    Lesson(glimpses=1, first="center", epochs=12),
)
GLANCES = 32  # of a canvas, where they are single
STDDEV = 2  # pixels, how far to explore


def once(model, path, learn, *settings):
    """What `learn` makes of a model, or made of it in an earlier run."""
    if not path.exists():
        learn(model, *settings)
        model.save_weights(path)
    model.load_weights(path)


def learn_digits(model, digits, options):
    """What digits look like."""
    settings = options.digit_steps, options.seed, options.thickness
    learn_to_find(model.glimpse_net.backbone, Windows(*digits, *settings))


def teach(model, digits, validation, options):
    """Lesson after lesson, of which each is kept when it is over."""
    for number in options.lessons:
        lesson = LESSONS[number]
        done = options.output / f"lesson{number}.weights.h5"
        model.num_glimpses = round((lesson.glimpses or 1) * options.glimpses)
        model.location_sampler.initial_location = lesson.first
        model.compile(guess_weights=later_counts_more(model.num_glimpses))
        if done.exists():
            model.load_weights(done)
            continue
        if lesson.way:
            way = options.size, options.way_steps, options.seed
            once(model, options.output / "way.weights.h5", learn_the_way, *way)
        model.location_sampler.stddev = 2 * STDDEV / options.size
        epochs = max(1, round(options.share * lesson.epochs))
        curves = options.output / f"lesson{number}.csv"
        seen = len(read_curves(curves)["loss"])
        seed = 1000 * (options.seed + 1) + 100 * number
        student, data = prepare(model, digits, lesson, options, seed + seen)
        rate = options.learning_rate * (1 if lesson.glimpses else PACE)
        student.compile(falling_adam(rate, epochs * STEPS, 0.05))
        student.fit(
            data,
            epochs=epochs,
            shuffle=False,
            verbose=options.verbose,
            callbacks=[
                Score(lambda: score(model, validation, options.images)),
                keras.callbacks.CSVLogger(curves, append=True),
                back_up(options.output / f"lesson{number}"),
            ],
        )
        model.save_weights(done)


def score(model, canvases, number):
    """How often a model is right in the end, and what it finds."""
    found = judge(model, canvases, number)
    return {n: found[n] for n in ("accuracy", "digits_found", "all_found")}


def later_counts_more(number):
    """Weights of guesses, of which the first cannot know."""
    return (np.arange(1, number + 1) / number) ** 2


def prepare(model, digits, lesson, options, seed):
    """What learns in a lesson, and from what."""
    batch_size = options.batch_size
    if not lesson.glimpses:
        batch_size = max(1, batch_size // 4)
    canvases = {
        "task": options.task,
        "count": STEPS * batch_size,
        "size": options.size,
        "patches": options.noise,
        "thickness": options.thickness,
        "batch_size": batch_size,
        "seed": seed,
        "each_epoch": "fresh",
    }
    if lesson.glimpses:
        return Search(model, options), Visits(*digits, **canvases)
    memory = model.num_glimpses - 1
    return Glances(model, options), Starts(*digits, GLANCES, memory, **canvases)


def learn_from_rewards(model, training, validation, options):
    """Goes on with labels alone, and keeps the epoch that is best on validation."""
    model.num_glimpses = options.glimpses
    model.location_sampler.stddev = 2 * STDDEV / options.size
    steps = max(1, options.epochs) * len(training)
    model.compile(
        falling_adam(options.reward_rate, steps, alpha=0.02),
        episodes=2,
        guess_weights=later_counts_more(options.glimpses),
    )
    scores = read_curves(options.output / "curves.csv")["val_accuracy"]
    for _ in scores:  # of the epochs so far, which saw other canvases
        training.on_epoch_end()
    model.fit(
        training,
        epochs=options.epochs,
        shuffle=False,
        verbose=options.verbose,
        callbacks=[
            Score(lambda: score(model, validation, options.images)),
            *keep(options.output, "val_accuracy", scores),
        ],
    )
    if options.epochs:
        model.load_weights(options.output / "best.weights.h5")


def main(arguments=None):
    """Trains a model, and tests it once."""
    options = parse_arguments(arguments)
    settings = begin_run(options.output, options, ("output", "data_dir", "verbose"))
    keras.utils.set_random_seed(options.seed)
    digits = datasets.load_mnist(options.data_dir, download=not options.data_dir)
    model = make(options)
    if not options.begin:
        begun = options.output / "digits.weights.h5"
        once(model, begun, learn_digits, digits[0], options)
    canvases = {
        "task": options.task,
        "size": options.size,
        "patches": options.noise,
        "thickness": options.thickness,
        "batch_size": options.batch_size,
    }
    count = options.steps * options.batch_size
    training, validation = load_own(options.data_dir, count=count, **canvases)
    teach(model, digits[0], validation, options)
    learn_from_rewards(model, training, validation, options)
    save_bare(model, (options.size,) * 2 + (1,), options.output / "model.keras")
    _, test = load_published(options.data_dir, count=1, **canvases)
    images, classes = test[0]
    draw(model, images[0], classes[0]).savefig(options.output / "canvas.png")
    result = {"settings": settings, "looked_at": looked_at(model, options.size)}
    result |= {"validation": judge(model, validation), "test": judge(model, test)}
    curves = sorted(options.output.glob("*.csv"))
    result["curves"] = {file.stem: read_curves(file) for file in curves}
    end_run(options.output, result)
    print(json.dumps({"looked_at": result["looked_at"], **result["test"]}))


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--task", choices=TASKS, default="majority")
    add("--size", type=int, default=1500, help="of the canvases, in pixels")
    add("--noise", type=int, default=50, help="patches on them")
    add("--thickness", type=int, default=1, help="of its strokes, in pixels")
    add("--glimpses", type=int, default=39)
    add("--digit-steps", type=int, default=2400, help="of the backbone")
    add("--way-steps", type=int, default=12000, help="of the way round")
    every = range(len(LESSONS))
    add("--lessons", type=int, nargs="*", default=[*every], choices=every)
    add("--share", type=float, default=1.0, help="of the epochs of the lessons")
    add("--weight", type=float, default=0.5, help="of places, beside classes")
    add("--learning-rate", type=float, default=1e-3, help="of the lessons")
    add("--epochs", type=int, default=0, help="of learning from rewards")
    add("--steps", type=int, default=STEPS, help="of such an epoch")
    add("--reward-rate", type=float, default=3e-4, help="learning rate")
    add("--batch-size", type=int, default=16)
    add("--images", type=int, default=200, help="to choose by, of the 1,000")
    add("--begin", help="a model that an earlier run left")
    add("--seed", type=int, default=0)
    add("--data-dir", help="folder with the idx files of MNIST")
    add("--output", type=Path, default=Path("results/megapixel"))
    add("--verbose", type=int, default=2, help="as in `fit`")
    options = parser.parse_args(arguments)
    if options.glimpses < 2:
        parser.error("--glimpses must be at least 2: the first is at the centre")
    return options


if __name__ == "__main__":
    main()
