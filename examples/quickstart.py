"""Trains a RAM from nothing, and leaves all that a user wants from it.

    python examples/quickstart.py
    python examples/quickstart.py --dataset mnist --data-dir FOLDER

Without arguments it trains on the handwritten digits that scikit-learn
carries, put at random places on a canvas. `--dataset mnist` trains on MNIST;
FOLDER holds its four idx files, and without it MNIST is downloaded.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from keras_ram.export import export_onnx, export_saved_model

import keras_ram
from keras_ram import datasets

CANVAS_SIZE = 16


def main():
    """Trains, evaluates, saves, exports and draws."""
    arguments = parse_arguments()
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(arguments.seed)

    if arguments.dataset == "digits":
        model, batches, splits, epochs, rate = digits(arguments.seed)
    else:
        model, batches, splits, epochs, rate = mnist(arguments)
    epochs = arguments.epochs or epochs
    steps = epochs * len(batches)
    # The probability of the true class tells more about a glimpse than whether
    # the guess was right; several rollouts tell which glimpses of an image help.
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        learning="hybrid",
        reward="probability",
        baseline="leave_one_out",
        episodes=4,
    )
    start = time.time()
    # The batches are shuffled already.
    model.fit(
        batches, epochs=epochs, validation_data=splits["validation"], shuffle=False
    )
    print(f"\nTrained in {time.time() - start:.0f} s.")

    for name, (images, labels) in splits.items():
        logs = model.evaluate(
            images, labels, batch_size=500, verbose=0, return_dict=True
        )
        print(f"{name:10} accuracy {logs['accuracy']:.2%}, loss {logs['loss']:.3f}")

    images, labels = splits["test"]
    model.save(output / "model.keras")
    export_saved_model(model, output / "saved_model", overwrite=True)
    export_onnx(model, output / "model.onnx", overwrite=True)
    check_artifacts(model, output, images[:1000])
    figure = keras_ram.plot_glimpses(model, images[:6], labels[:6])
    figure.savefig(output / "glimpses.png")
    print(f"\nAll of this is in {output}/:")
    for name in ("model.keras", "saved_model/1/", "model.onnx", "glimpses.png"):
        print(f"  {name}")


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=("digits", "mnist"), default="digits")
    parser.add_argument("--data-dir", help="folder with the idx files of MNIST")
    parser.add_argument(
        "--output", type=Path, default=Path("quickstart"), help="folder of the results"
    )
    parser.add_argument("--epochs", type=int, help="default: 120, or 24 for MNIST")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def digits(seed):
    """Digits of 8x8 pixels on a canvas, seen through 6x6 cells at two scales."""
    model = keras_ram.RAM(
        num_classes=10,
        num_glimpses=3,
        patch_size=6,
        scales=(1, 2),
        location_units=64,
        # There is something to see from the centre wherever the digit is.
        initial_location="center",
        seed=seed,
    )
    train, validation, test = datasets.load_digits()
    # Each digit four times an epoch, each time elsewhere.
    images, labels = (np.repeat(array, 4, axis=0) for array in train)
    batches = datasets.Canvases(images, labels, CANVAS_SIZE, batch_size=256, seed=seed)
    splits = {
        name: (datasets.translate(images, CANVAS_SIZE, seed=number), labels)
        for number, (name, (images, labels)) in enumerate(
            {"train": train, "validation": validation, "test": test}.items()
        )
    }
    return model, batches, splits, 120, 2e-3


def mnist(arguments):
    """MNIST through six glimpses of 8x8 pixels."""
    model = keras_ram.RAM(
        num_classes=10,
        num_glimpses=6,
        patch_size=8,
        location_units=128,
        seed=arguments.seed,
    )
    train, validation, test = datasets.load_mnist(
        arguments.data_dir, download=arguments.data_dir is None
    )
    batches = (
        tf.data.Dataset.from_tensor_slices(train)
        .shuffle(len(train[0]), seed=arguments.seed)
        .batch(64, drop_remainder=True)
        .prefetch(2)
    )
    splits = {"train": train, "validation": validation, "test": test}
    return model, batches, splits, 24, 1e-3


def check_artifacts(model, output, images):
    """Compares what was written with the model, on test images."""
    expected = model.predict(images, batch_size=500, verbose=0)
    floats = images if images.dtype == "float32" else (images / 255).astype("float32")
    loaded = keras.saving.load_model(output / "model.keras")
    signature = tf.saved_model.load(output / "saved_model/1").signatures[
        "serving_default"
    ]
    session = onnxruntime.InferenceSession(output / "model.onnx")
    results = {
        "model.keras": loaded.predict(images, batch_size=500, verbose=0),
        "saved_model": signature(images=tf.constant(floats))["logits"].numpy(),
        "model.onnx": session.run(["logits"], {"images": floats})[0],
    }
    print(f"\nAgreement with the model on {len(images)} test images:")
    for name, logits in results.items():
        same = np.mean(logits.argmax(axis=1) == expected.argmax(axis=1))
        difference = np.abs(logits - expected).max()
        print(f"{name:12} labels {same:.2%}, largest difference {difference:.1e}")
        if same < 1:
            raise SystemExit(f"{name} does not say what the model says.")


if __name__ == "__main__":
    main()
