"""Trains a small model on one device or on more, and saves its weights.

    python data_parallel.py KIND WEIGHTS [BACKUP [KILL]]

KIND is one, mirrored, multiworker or dataparallel. Prints the epochs as they
begin. With KILL the process dies in the middle of the second one.
"""

import contextlib
import os
import signal
import sys

import keras
import numpy as np
from keras import ops

import keras_ram

kind, weights, *options = sys.argv[1:]
backup, kill = (*options, None, None)[:2]


def noise(shape, mean=0.0, stddev=1.0, **_):
    """Replicas draw other samples than one device; this is the same on all."""
    return mean + stddev * ops.full(shape, 0.5)


class Progress(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        print("epoch", epoch)

    def on_train_batch_end(self, batch, logs=None):
        if kill and self.model.optimizer.iterations == 6:
            os.kill(os.getpid(), signal.SIGKILL)


scope, devices = contextlib.nullcontext(), 1
if kind == "mirrored":
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, logical)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    scope, devices = strategy.scope(), strategy.num_replicas_in_sync
elif kind == "multiworker":
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    scope, devices = strategy.scope(), strategy.num_replicas_in_sync
elif kind == "dataparallel":
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    devices = len(keras.distribution.list_devices())
assert devices == (1 if kind == "one" else 2)

keras.random.normal = noise
keras.utils.set_random_seed(0)
(x, y), _, _ = keras_ram.datasets.load_digits()
with scope:
    model = keras_ram.RAM(
        10, 2, 4, core_units=16, initial_location="center", location_units=8, seed=0
    )
    model.build((None, 8, 8, 1))
    jit_compile = "auto" if keras.backend.backend() == "jax" else False
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=jit_compile)
callbacks = [keras.callbacks.BackupAndRestore(backup)] if backup else []
callbacks += [Progress()]
model.fit(
    x[:128],
    y[:128],
    batch_size=32,
    epochs=3,
    shuffle=False,
    validation_data=(x[128:192], y[128:192]),
    callbacks=callbacks,
    verbose=0,
)
np.savez(weights, *[ops.convert_to_numpy(w) for w in model.trainable_weights])
