"""Trains a RAM in several processes, each with its share of every batch.

    python examples/train_distributed.py --local 2
    TF_CONFIG=... python examples/train_distributed.py

The first line starts two workers on this machine. On a cluster, start the
second line on every machine, with TF_CONFIG telling who takes part:

    {"cluster": {"worker": ["host0:2222", "host1:2222"]},
     "task": {"type": "worker", "index": 0}}

All workers end with the same weights, and worker 0 saves them. If a worker is
lost, stop the others and start all of them again: they go on from the last
epoch. `--local` stops them for you.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_ram
from keras_ram import datasets

CANVAS_SIZE = 16


def train_worker(options):
    """Trains in this process, together with the others of TF_CONFIG."""
    # Before anything else of TensorFlow.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    keras.utils.set_random_seed(options.seed)
    train, _, test = datasets.load_digits()
    # Each digit four times, each time elsewhere.
    images, labels = (np.repeat(array, 4, axis=0) for array in train)
    images = datasets.translate(images, CANVAS_SIZE, seed=options.seed)
    worker = strategy.cluster_resolver.task_id or 0
    with strategy.scope():
        model = keras_ram.RAM(
            num_classes=10,
            num_glimpses=3,
            patch_size=6,
            scales=(1, 2),
            location_units=64,
            initial_location="center",
            seed=options.seed,
        )
        model.build((None, CANVAS_SIZE, CANVAS_SIZE, 1))
        model.compile(keras.optimizers.Adam(2e-3))
    model.fit(
        images,
        labels,
        batch_size=options.batch_size,  # of all workers together
        epochs=options.epochs,
        verbose=2 if worker == 0 else 0,
        # Each worker has its own backup: on a cluster the disks differ.
        callbacks=[
            keras.callbacks.BackupAndRestore(options.output / f"backup{worker}")
        ],
    )
    canvases = datasets.translate(test[0], CANVAS_SIZE, seed=2)
    logs = model.evaluate(canvases, test[1], verbose=0, return_dict=True)
    if worker == 0:
        model.save(options.output / "model.keras")
        print(f"test accuracy {logs['accuracy']:.2%}, {options.output}/model.keras")


def train_locally(workers):
    """Starts workers on this machine; if one fails, stops the others."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for free in sockets:
        free.close()
    processes = []
    for index in range(workers):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        environment = {**os.environ, "TF_CONFIG": config}
        processes.append(subprocess.Popen([sys.executable, *sys.argv], env=environment))
    while any(process.poll() is None for process in processes):
        if any(process.poll() for process in processes):
            for process in processes:
                process.kill()
        time.sleep(0.5)
    return max(abs(process.wait()) for process in processes)


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--local", type=int, help="start so many workers here")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=128, help="of all together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("distributed"))
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse_arguments()
    if arguments.local and "TF_CONFIG" not in os.environ:
        sys.exit(train_locally(arguments.local))
    train_worker(arguments)
