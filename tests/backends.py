"""What tests need to know of the backend of Keras."""

import keras
import numpy as np
from keras import ops

BACKEND = keras.backend.backend()
# XLA's compile time is not worth it for a few small steps on TensorFlow.
JIT = False if BACKEND == "tensorflow" else "auto"
# Nor is tracing, for one or two of them.
FEW_STEPS = {"run_eagerly": True} if BACKEND == "tensorflow" else {}


def noise(shape, mean=0.0, stddev=1.0, **_):
    """Stands for what a backend draws: normal, and the same everywhere.

    More rows begin with those of fewer, and every step draws the same.
    """
    values = np.random.default_rng(3).normal(size=shape[-2:])
    values = np.broadcast_to(values, shape)
    return mean + stddev * ops.convert_to_tensor(values.astype("float32"))


def gradients_of(function, *inputs):
    """The gradient of the sum of what a function returns, in each input.

    By the backend's own means. One array for each input, zeros where no
    gradient flows.
    """
    return GRADIENTS[BACKEND](function, *inputs)


def _tensorflow_gradients(function, *inputs):
    import tensorflow as tf

    inputs = [tf.constant(value, "float32") for value in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(function(*inputs))
    gradients = tape.gradient(total, inputs, unconnected_gradients="zero")
    return [gradient.numpy() for gradient in gradients]


def _jax_gradients(function, *inputs):
    import jax

    def total(*inputs):
        with keras.StatelessScope():
            return function(*inputs).sum()

    inputs = [np.asarray(value, "float32") for value in inputs]
    gradients = jax.grad(total, tuple(range(len(inputs))))(*inputs)
    return [np.asarray(gradient) for gradient in gradients]


def _torch_gradients(function, *inputs):
    import torch

    inputs = [
        torch.tensor(np.asarray(v, "float32"), requires_grad=True) for v in inputs
    ]
    total = function(*inputs).sum()
    if total.requires_grad:
        total.backward()
    return [np.zeros(v.shape) if v.grad is None else v.grad.numpy() for v in inputs]


GRADIENTS = {
    "tensorflow": _tensorflow_gradients,
    "jax": _jax_gradients,
    "torch": _torch_gradients,
}
