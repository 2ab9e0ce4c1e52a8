"""Trains a model of MNIST on, so that it may stop after any glimpse.

    python examples/anytime.py --begin MODEL --data-dir FOLDER --output A
    python examples/anytime.py --begin A/model.keras --teachers MODEL ... --output B

The last guesses weigh most, and those after the first three glimpses nothing: nobody
stops there. Without teachers the labels are the truth, and the digits as they are.
Teachers are models whose mean of probabilities is the label, softened, with a tenth of
the truth; then the digits are distorted, from a third of the epochs on half of them. A
MODEL is a `.keras` file that gives logits of the digits; the one to begin with is a RAM
of seven glimpses. Stopped, a run goes on. The last 10,000 training digits are the
validation set, on which epoch and `stop_confidence` are chosen.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import paper_tasks
from runs import begin_run, end_run, falling_adam, keep, read_curves, save_bare

import keras_ram

GUESS_WEIGHTS = (0, 0, 0, 0.1, 0.3, 0.5, 3)
TEMPERATURE = 1.5  # what the teachers' logits are divided by
TRUTH = 0.1  # its share in the labels


class Lessons(keras.utils.PyDataset):
    """Epochs of digits in turn, mixed with the digits as they are.

    Args:
        epochs: List of tuples of images and labels, one-hot or shares of classes.
        exact: The same, of the digits as they are.
        mixed_from: Int, the epoch from which on they are half of the digits.
        batch_size, seed: Ints.
        epoch: Int, how many there have been.
    """

    def __init__(self, epochs, exact, mixed_from, batch_size, seed, epoch):
        super().__init__()
        self.epochs, self.exact, self.mixed_from = epochs, exact, mixed_from
        self.batch_size, self.seed, self.epoch = batch_size, seed, epoch
        self.choose()

    def choose(self):
        """Chooses the digits of this epoch, in a random order."""
        rng = np.random.default_rng([self.seed, self.epoch])
        images, labels = self.epochs[self.epoch % len(self.epochs)]
        order = rng.permutation(len(images))
        half = len(images) // 2 if self.epoch >= self.mixed_from else 0
        others = rng.permutation(len(self.exact[0]))[:half]
        parts = zip((images, labels), self.exact, strict=True)
        mixed = [np.concatenate([a[order[half:]], b[others]]) for a, b in parts]
        again = rng.permutation(len(images))
        self.images, self.labels = (values[again] for values in mixed)

    def __len__(self):
        return len(self.images) // self.batch_size

    def __getitem__(self, index):
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.images[rows], self.labels[rows]

    def on_epoch_end(self):
        self.epoch += 1
        self.choose()


def labelled(images, truth, teachers):
    """Images and their labels: the truth, or mostly what the teachers say."""
    if not teachers:
        return images, truth
    guesses = [
        keras.ops.softmax(teacher.predict(images, 500, verbose=0) / TEMPERATURE)
        for teacher in teachers
    ]
    guesses = np.mean([keras.ops.convert_to_numpy(guess) for guess in guesses], axis=0)
    return images, (1 - TRUTH) * guesses + TRUTH * truth


def lessons(digits, labels, options, epoch):
    """What is learned from."""
    truth = np.eye(10, dtype="float32")
    teachers = [keras.saving.load_model(path) for path in options.teachers]
    for teacher in teachers:
        teacher.stop_confidence = None
    exact = labelled(digits, truth[labels], teachers)
    epochs = [exact]
    if teachers:
        batches = paper_tasks.Distorted(digits, labels, 28, 0, 500, seed=options.seed)
        epochs = []
        for _ in range(5):
            images, classes = map(np.concatenate, zip(*batches, strict=True))
            batches.on_epoch_end()
            epochs.append(labelled(images, truth[classes], teachers))
    mixed_from = options.epochs // 3 if teachers else options.epochs
    return Lessons(epochs, exact, mixed_from, options.batch_size, options.seed, epoch)


def main(arguments=None):
    """Trains a model on, chooses the epoch on validation, and tests it once."""
    options = parse_arguments(arguments)
    folder = options.output
    settings = begin_run(folder, options, ("data_dir", "output", "verbose"))
    keras.utils.set_random_seed(options.seed)
    training, *others = paper_tasks.load(options.data_dir)
    validation, test = ((x, np.eye(10, dtype="float32")[y]) for x, y in others)
    model = keras.saving.load_model(options.begin)
    model.stop_confidence = None
    model.location_sampler.stddev = 0.05
    model.location_sampler.initial_location = "center"
    curves = read_curves(folder / "curves.csv")  # of the epochs so far
    data = lessons(*training, options, len(curves["val_accuracy"]))
    model.compile(
        falling_adam(options.learning_rate, options.epochs * len(data)),
        loss="categorical_crossentropy",
        learning="joint",
        episodes=2,
        discount=0.97,
        guess_weights=GUESS_WEIGHTS,
    )
    model.fit(
        data,
        epochs=options.epochs,
        shuffle=False,
        validation_data=validation,
        validation_batch_size=500,
        verbose=options.verbose,
        callbacks=keep(folder, "val_accuracy", curves["val_accuracy"]),
    )
    model.load_weights(folder / "best.weights.h5")
    curve = keras_ram.stopping_curve(model, *others[0])
    confidence = keras_ram.cheapest_confidence(curve, tolerance=0.0002)
    result = {"settings": settings, "curves": read_curves(folder / "curves.csv")}
    for suffix, model.stop_confidence in (("", None), (", stopped", confidence)):
        for name, split in (("validation", validation), ("test", test)):
            logs = model.evaluate(*split, 500, verbose=0, return_dict=True)
            kept = {"error": 1 - logs["accuracy"], "glimpses": logs.get("num_glimpses")}
            result[name + suffix] = kept
    save_bare(model, (28, 28, 1), folder / "model.keras")
    end_run(folder, result)
    print({name: value for name, value in result.items() if "error" in value})


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--begin", required=True, help="the model to begin with")
    add("--teachers", nargs="+", default=[], help="models that give the labels")
    add("--epochs", type=int, default=24)
    add("--learning-rate", type=float, default=4e-4)
    add("--batch-size", type=int, default=64)
    add("--seed", type=int, default=0)
    add("--data-dir", help="folder with the idx files of MNIST")
    add("--output", type=Path, default=Path("results/mnist-anytime"))
    add("--verbose", type=int, default=2, help="as in `fit`")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
