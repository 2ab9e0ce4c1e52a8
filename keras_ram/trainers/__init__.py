"""The learning rule, and the gradient step of each backend."""

import keras

if keras.backend.backend() == "tensorflow":
    from keras_ram.trainers.tensorflow import TensorFlowTrainer as Trainer
else:
    raise ImportError(
        "keras_ram trains on the TensorFlow backend so far. Received: backend="
        f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow."
    )

__all__ = ["Trainer"]
