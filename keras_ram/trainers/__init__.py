"""The learning rule, and the gradient step of each backend."""

import keras

if keras.backend.backend() == "tensorflow":
    from keras_ram.trainers.tensorflow import TensorFlowTrainer as Trainer
elif keras.backend.backend() == "jax":
    from keras_ram.trainers.jax import JAXTrainer as Trainer
elif keras.backend.backend() == "torch":
    from keras_ram.trainers.torch import TorchTrainer as Trainer
else:
    raise ImportError(
        "keras_ram trains on the TensorFlow, JAX and PyTorch backends of Keras. "
        f"Received: backend={keras.backend.backend()!r}. Set KERAS_BACKEND."
    )

__all__ = ["Trainer"]
