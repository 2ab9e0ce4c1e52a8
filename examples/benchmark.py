"""Measures the speed of training and inference beside that of the machine.

    python examples/benchmark.py
    python examples/benchmark.py --peer CHECKOUT --json results.json

Every figure stands beside the bare chain of matrix products of the same sizes,
timed in the same rounds: their ratio means the same on every machine. Training is
`learning="hybrid"`, one rollout an image, and counts as three forward passes.
Images are bytes, as in the data sets; the peer gets the same as floats, which it
needs, made beforehand. `--peer` runs a checkout of
github.com/kevinzakka/recurrent-visual-attention in turns with this package; it
needs PyTorch, and takes a GPU where there is one. Each case runs in a process of
its own.

The columns: `first step s`, seconds of the first step, which compiles; `…/s`, images
a second, of which `matmul/s` is the products of one forward pass; `fit/matmul` and
`predict/mm`, the shares of the products' speed; `copy us`, microseconds in which an
image is copied once; `fit/peer` and `predict/peer`, how many times as fast as the
peer; `peak GB`, memory of the process, with the images, a copy of them and the peer;
`images GB`, of the images alone.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import resource
import statistics
import time

import benchmark_peer
import keras
import numpy as np

import keras_ram

PAPER_28 = {"size": 28, "patch_size": 8, "scales": (1,), "num_glimpses": 6}
PAPER_100 = {"size": 100, "patch_size": 12, "scales": (1, 2, 4, 8), "num_glimpses": 8}
# Keras makes its pipeline anew for each epoch, in the time of some ten steps. The
# tasks have epochs as long as MNIST's; the others are compared among themselves.
# Large arrays are copied into a tensor once in a `fit`: that is shared by epochs.
CASES = {
    "tasks": [
        {**PAPER_28, "images": 50_000, "batch": 128},
        {**PAPER_28, "images": 50_000, "batch": 512},
        {**PAPER_100, "images": 50_000, "batch": 128},
    ],
    "sizes": [
        {**PAPER_100, "size": s, "images": 800, "epochs": 5, "batch": 16}
        for s in (100, 200, 400, 800, 1600)
    ],
    "glimpses": [
        {**PAPER_28, "num_glimpses": t, "images": 10_000, "batch": 128}
        for t in (4, 8, 16, 32, 64)
    ],
}
WIDTH, EMBEDDING = 256, 128  # of the default model
STEPS = 30  # of what has no epochs: the products and the peer


def main():
    """Runs the cases, prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", choices=CASES, action="append", help="default: all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peer", help="checkout of the PyTorch implementation")
    parser.add_argument("--json", help="file to write the results to")
    arguments = parser.parse_args()
    rows = []
    for suite in arguments.suite or CASES:
        print(f"\n{suite}")
        peer = arguments.peer if suite == "tasks" else None
        for number, case in enumerate(CASES[suite]):
            with concurrent.futures.ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn")
            ) as pool:
                figures = pool.submit(measure, case, arguments.rounds, peer).result()
            if number == 0:
                print("  ".join(f"{name:>12}" for name in figures))
            print(
                "  ".join(f"{value:>12.4g}" for value in figures.values()), flush=True
            )
            rows.append({"suite": suite, **case, **figures})
    if arguments.json:
        about = {"backend": keras.backend.backend(), "keras": keras.__version__}
        with open(arguments.json, "w") as file:
            json.dump({**about, "rows": rows}, file, indent=1)


def measure(case, rounds, peer):
    """Times one case; medians over the rounds.

    Returns:
        A dict of figures: images a second, ratios, seconds, GB.
    """
    case = dict(case)
    size, batch = case.pop("size"), case.pop("batch")
    number = case.pop("images") // batch * batch
    epochs = case.pop("epochs", 1)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (number, size, size, 1), "uint8")
    labels = generator.integers(0, 10, number)
    few = STEPS * batch

    model = keras_ram.RAM(10, **case)
    model.compile(learning="hybrid")
    first_step = seconds(
        lambda: model.fit(images[:batch], labels[:batch], batch, verbose=0)
    )
    runs = {
        "matmul": (few, products(batch, **case)),
        "fit": (
            number * epochs,
            lambda: model.fit(images, labels, batch, epochs, verbose=0),
        ),
        "predict": (number, lambda: model.predict(images, batch, verbose=0)),
        "copy": (number, lambda: images.copy()),
    }
    if peer:
        sizes = {**case, "embedding": EMBEDDING, "width": WIDTH}
        training, inference = benchmark_peer.runs(
            peer, images[:few], labels[:few], batch, **sizes
        )
        runs.update({"peer fit": (few, training), "peer predict": (few, inference)})
    for _, run in runs.values():
        run()
    times = {name: [] for name in runs}  # for an image
    for _ in range(rounds):
        for name, (count, run) in runs.items():
            times[name].append(seconds(run) / count)

    def ratio(name, unit, factor=1):
        pairs = zip(times[name], times[unit], strict=True)
        return statistics.median(factor * u / t for t, u in pairs)

    figures = {"size": size, "glimpses": case["num_glimpses"], "batch": batch}
    figures["first step s"] = first_step
    for name, run_times in times.items():
        if name != "copy":
            figures[f"{name}/s"] = 1 / statistics.median(run_times)
    figures["fit/matmul"] = ratio("fit", "matmul", 3)
    figures["predict/mm"] = ratio("predict", "matmul")
    figures["copy us"] = statistics.median(times["copy"]) * 1e6
    if peer:
        figures["fit/peer"] = ratio("fit", "peer fit")
        figures["predict/peer"] = ratio("predict", "peer predict")
    figures["peak GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    figures["images GB"] = images.nbytes / 2**30
    return figures


def seconds(run):
    """Wall time of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def products(batch, patch_size, scales, num_glimpses):
    """The matrix products of a forward pass, and nothing else.

    Every glimpse has inputs of its own: a compiler computes equal products once.
    """
    inputs = patch_size**2 * len(scales)
    shapes = [
        (inputs, EMBEDDING),
        (2 * EMBEDDING, WIDTH),
        (WIDTH, WIDTH),
        (WIDTH, WIDTH),
    ]
    weights = [keras.random.normal(shape, stddev=0.01) for shape in shapes]
    patches = [keras.random.normal((batch, inputs)) for _ in range(num_glimpses)]
    where = [keras.random.normal((batch, EMBEDDING)) for _ in range(num_glimpses)]
    hidden = keras.random.normal((batch, WIDTH))

    def chain(patches, where, hidden):
        for step in range(num_glimpses):
            what = keras.ops.matmul(patches[step], weights[0])
            glimpse = keras.ops.concatenate([what, where[step]], axis=1)
            glimpse = keras.ops.matmul(glimpse, weights[1])
            hidden = keras.ops.matmul(glimpse, weights[2]) + keras.ops.matmul(
                hidden, weights[3]
            )
        return hidden

    compiled = compiler()(chain)

    def run():
        for _ in range(STEPS):
            hidden_state = compiled(patches, where, hidden)
        keras.ops.convert_to_numpy(hidden_state)

    return run


def compiler():
    """How the backend makes a graph of a function."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit
    return lambda function: function


if __name__ == "__main__":
    main()
