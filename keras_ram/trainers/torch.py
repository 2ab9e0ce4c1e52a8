"""The gradient step on PyTorch."""

import keras
import torch

from keras_ram.trainers.base import BaseTrainer


class TorchTrainer(BaseTrainer):
    """Follows the gradient by backpropagation."""

    def zero_grad(self, set_to_none=True):
        """Clears the gradients of all weights.

        Keras 3.15 registers weights by their paths, so of two layers of one name, such
        as those of two models in a backbone, the one's gradients would add up.
        """
        for weight in self.trainable_weights:
            weight.value.grad = None

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self.zero_grad()
        objective, logs = self.compute_objective(x, y, sample_weight)
        self.optimizer.scale_loss(objective).backward()
        weights = self.trainable_weights
        gradients = [
            # What a learning rule does not use, it leaves alone.
            torch.zeros_like(weight.value)
            if weight.value.grad is None
            else weight.value.grad
            for weight in weights
        ]
        with torch.no_grad():
            self.optimizer.apply(gradients, weights)
        return logs

    def test_step(self, data):
        return self.compute_evaluation(*keras.utils.unpack_x_y_sample_weight(data))
