"""Measures what a preset is worth where images are few.

    python examples/transfer.py

`ram_mnist` is brought to a task of its own: the digits that scikit-learn carries, of
other writers and another scanner, enlarged from 8x8 to 28x28 pixels, in five classes of
two kinds of digit each. It is trained as a whole, or its new classifier alone, and
stands against the same architecture that begins with nothing. All of them are trained
in the same way. Prints accuracies in %, and writes them to a JSON file.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np

import keras_ram
from keras_ram import datasets

NAMES = ["0 or 5", "1 or 6", "2 or 7", "3 or 8", "4 or 9"]
ROWS = ("from nothing", "preset, all trained", "preset, classifier alone")


def main(arguments=None):
    """Trains every model, and prints how often each is right."""
    options = parse_arguments(arguments)
    results = []
    for count in options.images:
        for row in ROWS:
            runs = [run(row, count, seed, options) for seed in options.seeds]
            results += runs
            shown = " ".join(f"{100 * r['test']:.1f}" for r in runs)
            print(f"{count} images a class, {row}: {shown}", flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1))


def parse_arguments(arguments):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600, help="of 50 images each")
    parser.add_argument("--output", type=Path, default=Path("results/transfer.json"))
    return parser.parse_args(arguments)


def run(row, count, seed, options):
    """Trains one model.

    Returns:
        Dict of what was trained, and of its accuracies.
    """
    keras.utils.set_random_seed(seed)
    (images, labels), validation, test = map(enlarge, datasets.load_digits(seed))
    few = [np.flatnonzero(labels == label)[:count] for label in range(len(NAMES))]
    images, labels = (values[np.concatenate(few)] for values in (images, labels))
    model = make(row, seed)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, options.steps)
    model.compile(
        keras.optimizers.Adam(rate),
        learning="hybrid",
        reward="probability",
        baseline="leave_one_out",
        episodes=4,
    )
    start = time.time()
    epochs = options.steps * 50 // len(images)
    model.fit(images, labels, batch_size=50, epochs=epochs, verbose=0)
    return {
        "row": row,
        "images_per_class": count,
        "seed": seed,
        "seconds": round(time.time() - start),
        "validation": model.evaluate(*validation, verbose=0, return_dict=True)[
            "accuracy"
        ],
        "test": model.evaluate(*test, verbose=0, return_dict=True)["accuracy"],
    }


def make(row, seed):
    """The model of a row, before it is trained."""
    model = keras_ram.RAM.from_preset("ram_mnist", class_names=NAMES)
    if row == "from nothing":
        model = keras_ram.RAM.from_config({**model.get_config(), "seed": seed})
    if row == "preset, classifier alone":
        model.glimpse_net.trainable = False
        model.core.trainable = False
        model.location_sampler.trainable = False
    return model


def enlarge(digits):
    """Digits of 28x28 pixels in five classes."""
    images, labels = digits
    images = keras.ops.image.resize(images, (28, 28), data_format="channels_last")
    return keras.ops.convert_to_numpy(images), labels % len(NAMES)


if __name__ == "__main__":
    main()
