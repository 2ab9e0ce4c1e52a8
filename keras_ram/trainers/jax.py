"""The gradient step on JAX."""

import jax
import keras

from keras_ram.trainers.base import BaseTrainer


class JAXTrainer(BaseTrainer):
    """Follows the gradient of a pure function of the weights."""

    def train_step(self, state, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        trainable, non_trainable, optimizer, metrics = state
        others = [
            *zip(self.non_trainable_variables, non_trainable, strict=True),
            *zip(self.optimizer.variables, optimizer, strict=True),
            *zip(self.metrics_variables, metrics, strict=True),
        ]

        def objective(trainable):
            weights = zip(self.trainable_variables, trainable, strict=True)
            with keras.StatelessScope(
                state_mapping=[*weights, *others], collect_losses=True
            ) as scope:
                value, logs = self.compute_objective(x, y, sample_weight)
                value = self.optimizer.scale_loss(value)
            updated = [
                [scope.get_current_value(variable) for variable in variables]
                for variables in (self.non_trainable_variables, self.metrics_variables)
            ]
            return value, (logs, *updated)

        gradients, (logs, non_trainable, metrics) = jax.grad(objective, has_aux=True)(
            trainable
        )
        trainable, optimizer = self.optimizer.stateless_apply(
            optimizer, gradients, trainable
        )
        return logs, (trainable, non_trainable, optimizer, metrics)
