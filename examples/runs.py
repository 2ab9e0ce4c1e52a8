"""Runs of examples that are stopped and go on."""

import collections
import json
import time

import keras
import numpy as np


def begin_run(folder, options, others):
    """Begins a run in a folder, or goes on with the one that was begun there.

    A run does not go on with other settings, and a finished one is not repeated.

    Args:
        folder: Path, made if it is not there.
        options: What the command line gave.
        others: Names of options that do not decide a run.

    Returns:
        Dict of the options that do.
    """
    if (folder / "result.json").exists():
        raise SystemExit(f"{folder} holds a finished run. Move it away to repeat it.")
    folder.mkdir(parents=True, exist_ok=True)
    settings = {k: v for k, v in vars(options).items() if k not in others}
    file, text = folder / "settings.json", json.dumps(settings)
    if file.exists() and file.read_text() != text:
        raise SystemExit(
            f"{folder} was begun with {file.read_text()}. Received: {text}. "
            "Move it away, or choose another --output."
        )
    file.write_text(text)
    return settings


def keep(folder, metric, scores):
    """Callbacks that keep the best weights, the logs, and the state of training.

    Args:
        folder: Path, of the run.
        metric: String, the log whose largest value is the best.
        scores: List, what it was in the epochs so far.
    """
    return [
        keras.callbacks.ModelCheckpoint(
            folder / "best.weights.h5",
            metric,
            mode="max",
            save_best_only=True,
            save_weights_only=True,
            initial_value_threshold=max(scores, default=None),
        ),
        keras.callbacks.CSVLogger(folder / "curves.csv", append=True),
        # Last: a run goes on after epochs that were scored and logged.
        back_up(folder / "backup", delete_checkpoint=False),
    ]


def back_up(folder, **options):
    """Lets a run go on from its last epoch, or from the one before.

    Stopped while it writes one state, a run still has the other.
    """
    return keras.callbacks.BackupAndRestore(folder, double_checkpoint=True, **options)


class Score(keras.callbacks.Callback):
    """Logs after each epoch what is measured on validation, and the epoch's seconds.

    Args:
        measure: Function without arguments, which returns a dict of numbers. They are
            logged as `val_` and their names.
    """

    def __init__(self, measure):
        super().__init__()
        self.measure = measure

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.time()

    def on_epoch_end(self, epoch, logs=None):
        logs.update({f"val_{name}": v for name, v in self.measure().items()})
        logs["seconds"] = time.time() - self.start


def error(model, images, labels):
    """The share of wrong answers of a classifier."""
    logits = model.predict(images, batch_size=250, verbose=0)
    return float(np.mean(logits.argmax(axis=1) != labels))


def end_with_best(pointing, held, folder, settings):
    """Ends a run with its best epoch: saves the model, and counts its errors once.

    Args:
        pointing: The `keras_ram.Pointing` that taught the model.
        held: Dict of images and labels by the name of the split.
        folder: Path, of the run.
        settings: As from `begin_run`.
    """
    pointing.load_weights(folder / "best.weights.h5")
    model = pointing.model
    images, _ = held["validation"]
    save_bare(model, images.shape[1:], folder / "model.keras")
    errors = {name: error(model, *split) for name, split in held.items()}
    curves = read_curves(folder / "curves.csv")
    end_run(folder, {"settings": settings, "errors": errors, "curves": curves})
    print({name: f"{share:.2%}" for name, share in errors.items()})


def falling_adam(learning_rate, steps, alpha=0.0, clipnorm=5.0):
    """Adam with clipped gradients, whose rate falls by a cosine.

    Args:
        learning_rate: Float, at first.
        steps: Int, until it has fallen.
        alpha: Share of the rate that is left in the end.
        clipnorm: Float, what the norm of all gradients is at the most.
    """
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha)
    return keras.optimizers.Adam(rate, global_clipnorm=clipnorm)


def read_curves(file):
    """The logs of each epoch, by name: a dict of lists.

    An epoch that was logged twice counts once, as it was logged last: a run that is
    stopped after an epoch was logged, and before it was kept, repeats it.
    """
    curves = collections.defaultdict(list)
    # Stopped in its first epoch, a run leaves an empty file.
    if file.exists() and file.stat().st_size:
        table = np.atleast_1d(np.genfromtxt(file, delimiter=",", names=True))
        last = {int(row["epoch"]): row for row in table}
        rows = [row for _, row in sorted(last.items())]
        curves.update({n: [float(row[n]) for row in rows] for n in table.dtype.names})
    return curves


def save_bare(model, image_shape, file, **config):
    """Saves a trained model as one that was never compiled.

    Args:
        model: A Keras model with a config.
        image_shape: Height, width and channels.
        file: Path, which ends in `.keras`.
        **config: What is to be otherwise, such as `name`.
    """
    bare = type(model).from_config({**model.get_config(), **config})
    bare.build((None, *image_shape))
    bare.set_weights(model.get_weights())
    bare.save(file)


def end_run(folder, result):
    """Writes `result.json`, which is there as a whole or not at all.

    What was used goes along, the version of Keras and the backend.
    """
    versions = {"keras": keras.__version__, "backend": keras.backend.backend()}
    result = {"versions": versions, **result}
    partial = folder / "result.partial"
    partial.write_text(json.dumps(result, indent=1))
    partial.rename(folder / "result.json")
