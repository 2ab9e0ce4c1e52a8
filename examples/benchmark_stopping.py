"""Measures what it saves to stop when sure.

    python examples/benchmark_stopping.py --data-dir FOLDER

Each preset looks at 2,000 canvases of its task, of test digits: with all glimpses,
and with the `stop_confidence` that it came with, in turns, in one process. It prints
errors and mean glimpses, seconds to export, and how many labels differ from a whole
rollout that is stopped afterwards; then milliseconds for one image in ONNX Runtime on
one core, the mean of single requests, and seconds for all images in batches of 128 in
ONNX Runtime and in `predict`, medians, with the median of the ratios.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import paper_tasks
from keras_ram.export import export_onnx

import keras_ram

BATCH = 128


def main():
    """Prints a line for each preset, with all glimpses and with the stop."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", help="folder with the four idx files of MNIST")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--task", choices=paper_tasks.TASKS, action="append")
    arguments = parser.parse_args()
    splits = paper_tasks.load(arguments.data_dir)
    digits, labels = (values[:2000] for values in splits[2])
    for name in arguments.task or paper_tasks.TASKS:
        task = paper_tasks.TASKS[name]
        images = keras_ram.datasets.clutter(
            digits, task["size"], task["pieces"], seed=2
        )
        print(f"\n{name}")
        measure(task["preset"], images, labels, arguments.rounds)


def measure(preset, images, labels, rounds):
    """Times a preset with all glimpses and with its stop, in turns."""
    images = (images / 255).astype("float32")
    runs = {}
    for name in ("all", "stop"):
        model = keras_ram.RAM.from_preset(preset)
        if name == "all":
            model.stop_confidence = None
        session, seconds = export(model)
        looked = np.concatenate(
            [
                session.run(["num_glimpses"], {"images": some})[0]
                for some in split(images)
            ]
        )
        guesses = model.predict(images, BATCH, verbose=0).argmax(axis=1)
        whole = model.rollout(images)["logits"][:, -1].numpy().argmax(axis=1)
        print(
            f"{name:5} confidence {model.stop_confidence}  "
            f"error {np.mean(guesses != labels):.2%}  glimpses {looked.mean():.2f}  "
            f"export {seconds:.1f} s  labels that differ {np.sum(guesses != whole)}"
        )
        runs[name] = {
            "ms, one image": lambda session=session: (
                1000
                / len(images[:200])
                * timed(
                    lambda: [
                        session.run(None, {"images": i[None]}) for i in images[:200]
                    ]
                )
            ),
            "s, ONNX Runtime": lambda session=session: timed(
                lambda: [session.run(None, {"images": some}) for some in split(images)]
            ),
            "s, predict": lambda model=model: timed(
                lambda: model.predict(images, BATCH, verbose=0)
            ),
        }
    for figure in runs["all"]:
        pairs = [(runs["all"][figure](), runs["stop"][figure]()) for _ in range(rounds)]
        before, after = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(stop / whole for whole, stop in pairs)
        print(f"{figure:16} all {before:8.2f}  stop {after:8.2f}  ratio {ratio:.2f}")


def export(model):
    """An ONNX Runtime of one core, and the seconds that the export took."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ram.onnx"
        seconds = timed(lambda: export_onnx(model, path))
        return onnxruntime.InferenceSession(path, options), seconds


def split(images):
    """Batches."""
    return [images[i : i + BATCH] for i in range(0, len(images), BATCH)]


def timed(run):
    """Wall time of a call, in seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
