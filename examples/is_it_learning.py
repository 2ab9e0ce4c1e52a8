"""Makes runs fail on purpose, to show how each looks in the logs.

python examples/is_it_learning.py [--logs FOLDER] [CASE ...]

Each case changes one thing of a run that learns; `is_it_learning.md` tells the
numbers, of JAX. Digits of 8x8 pixels at random places on 20x20, through glimpses
of 6x6. With --logs, `tensorboard --logdir FOLDER` shows them.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

import keras_ram
from keras_ram import datasets
from keras_ram.callbacks import GlimpseBoard

ARCHITECTURE = {
    "num_glimpses": 3,
    "patch_size": 6,
    "scales": (1, 3),
    "core_units": 64,
    "glimpse_units": 64,
    "what_units": 64,
    "where_units": 32,
    "location_units": 32,
    "initial_location": "center",
    "canvas_size": 20,
}
ADAM = {"learning_rate": 2e-3}
# What is changed: the architecture, the optimizer, the learning rule, which is hybrid.
CASES = {
    "healthy": ({}, ADAM, {}),
    "default": ({}, ADAM, {"learning": "joint"}),
    "corner": ({}, {"learning_rate": 0.05}, {}),
    "nan": ({}, {"learning_rate": 5.0, "momentum": 0.9}, {}),
    "same-path": ({"canvas_size": 40, "scales": (1,)}, ADAM, {}),
    "same-path-mended": ({"canvas_size": 40, "scales": (1, 6)}, ADAM, {}),
    "flat": ({}, ADAM, {"learning": "reinforce"}),
    "baseline": ({"frozen": ("baseline",)}, ADAM, {}),
    "two-episodes": ({}, ADAM, {"episodes": 2}),
    "baseline-mended": ({}, ADAM, {"baseline": "leave_one_out", "episodes": 2}),
}
SIGNS = (
    "val_accuracy",
    "reward",
    "reinforce_loss",
    "baseline_loss",
    "spread_over_images",
    "step_length",
    "share_on_border",
    "reward_spread",
    "reward_lost",
    "baseline_explains",
)


def main(arguments=None):
    """Runs the cases, and prints the logs of some epochs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--logs", type=Path, help="folder of the logs")
    options = parser.parse_args(arguments)
    print("| case | epoch |", " | ".join(SIGNS), "|")
    print("|---" * (2 + len(SIGNS)) + "|")
    for case in options.cases or CASES:
        run(case, options.epochs, options.logs)


def run(case, epochs, logs_folder):
    """Trains one case, and prints its logs after 1, 10, 20, … epochs."""
    changes, optimizer, rule = CASES[case]
    architecture = {**ARCHITECTURE, **changes}
    size = architecture.pop("canvas_size")
    frozen = architecture.pop("frozen", ())
    keras.utils.set_random_seed(0)
    (x, y), (x_val, y_val), _ = datasets.load_digits()
    x, y = np.repeat(x, 4, axis=0), np.repeat(y, 4)
    batches = datasets.Canvases(x, y, size, batch_size=64)
    x_val = datasets.translate(x_val, size, seed=1)
    model = keras_ram.RAM(10, seed=0, **architecture)
    for part in frozen:
        getattr(model, part).trainable = False
    kind = keras.optimizers.SGD if "momentum" in optimizer else keras.optimizers.Adam
    model.compile(kind(**optimizer), **{"learning": "hybrid", **rule})

    def show(epoch, logs):
        if epoch == 0 or epoch + 1 in (epochs // 3, epochs):
            logs.update(keras_ram.vital_signs(model, x_val, y_val, batch_size=512))
            numbers = (f"{logs.get(name, 0):.3f}" for name in SIGNS)
            print(f"| {case} | {epoch + 1} |", " | ".join(numbers), "|", flush=True)

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=show)]
    if logs_folder:
        callbacks.append(GlimpseBoard(logs_folder / case, x_val, y_val))
    try:
        model.fit(
            batches,
            epochs=epochs,
            validation_data=(x_val, y_val),
            callbacks=callbacks,
            verbose=0,
        )
    except RuntimeError as error:
        print(f"| {case} | | {error}")


if __name__ == "__main__":
    main()
