"""The gradient step on JAX."""

import jax
import keras
from keras import ops

from keras_ram.trainers.base import BaseTrainer


class JAXTrainer(BaseTrainer):
    """Follows the gradient of a pure function of the weights."""

    def run(self, method, **options):
        try:
            return super().run(method, **options)
        except BaseException:
            self.jax_state_sync()  # of the last batch that did not fail
            raise

    def train_step(self, state, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        trainable, non_trainable, optimizer, metrics = state

        def objective(trainable):
            with self._scope(trainable, non_trainable, metrics, optimizer) as scope:
                value, logs = self.compute_objective(x, y, sample_weight)
                value = self.optimizer.scale_loss(value)
            return value, (logs, *self._updated(scope))

        gradients, (logs, non_trainable, metrics) = jax.grad(objective, has_aux=True)(
            trainable
        )
        trainable, optimizer = self.optimizer.stateless_apply(
            optimizer, gradients, trainable
        )
        return logs, (trainable, non_trainable, optimizer, metrics)

    def test_step(self, state, data):
        trainable, non_trainable, metrics = state
        with self._scope(trainable, non_trainable, metrics) as scope:
            logs = self.compute_evaluation(*keras.utils.unpack_x_y_sample_weight(data))
        return logs, (trainable, *self._updated(scope))

    def _scope(self, trainable, non_trainable, metrics, optimizer=None):
        """Where the variables have these values."""
        pairs = [
            *zip(self.trainable_variables, trainable, strict=True),
            *zip(self.non_trainable_variables, non_trainable, strict=True),
            *zip(self.metrics_variables, metrics, strict=True),
        ]
        if optimizer is not None:
            pairs += zip(self.optimizer.variables, optimizer, strict=True)
        return keras.StatelessScope(state_mapping=pairs, collect_losses=True)

    def _updated(self, scope):
        """What a step made of the non-trainable variables and of the metrics."""
        return [
            [scope.get_current_value(variable) for variable in variables]
            for variables in (self.non_trainable_variables, self.metrics_variables)
        ]

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            super().make_train_function(force=True)
            self.train_function = self._keep_weights(self._by_size(self.train_function))

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            super().make_test_function(force=True)
            function = self._by_size(self.test_function, self.test_step)
            self.test_function = self._keep_weights(function)

    def make_predict_function(self, force=False):
        def predict_step(state, data):
            outputs, non_trainable = self.predict_step(state, data)
            return outputs, (state[0], non_trainable)

        if self.predict_function is None or force:
            super().make_predict_function(force=True)
            function = self._by_size(self.predict_function, predict_step)
            self.predict_function = self._keep_weights(function)

    def _keep_weights(self, function):
        """A function whose model has its weights again where a batch fails.

        Keras takes them out while it runs, and puts them back after a batch (3.15).
        """

        def keeping(state, iterator):
            try:
                return function(state, iterator)
            except BaseException:
                training = len(state) == 4
                groups = [
                    self.trainable_variables,
                    self.non_trainable_variables,
                    *([self.optimizer.variables] if training else []),
                    self.metrics_variables,  # `predict` has none
                ]
                for variables, values in zip(groups, state, strict=False):
                    for variable, value in zip(variables, values, strict=True):
                        variable.assign(value)
                raise

        return keeping

    def _by_size(self, compiled, step=None):
        """A function that is compiled for few sizes of images.

        JAX compiles each size anew. On images of 20 to 29 pixels, each of another
        size, `predict` took 1.5 s for each, and 0.24 s without compilation (two
        cores, Keras 3.15, JAX 0.10). So inference is compiled for the size of the
        first images alone. Images that come with their sizes are padded to powers of
        two, which changes nothing that is seen, and compiled for these.
        """
        if "jit_compile" not in self.left_open or self.steps_per_execution > 1:
            return compiled
        sizes = {}

        def function(state, iterator):
            data = next(iterator)
            size = keras.tree.flatten(data)[0].shape[1:3]  # "images", then "sizes"
            other = size != sizes.setdefault("first", size)
            x, *labels = keras.utils.unpack_x_y_sample_weight(data)
            if other and isinstance(x, dict):
                x = _with_sides_of_powers_of_two(x)
                data = keras.utils.pack_x_y_sample_weight(x, *labels)
            elif other and step is not None:
                return step(state, data)
            return compiled(state, iter([data]))

        return function


def _with_sides_of_powers_of_two(x):
    padding = [(0, 2 ** (n - 1).bit_length() - n) for n in x["images"].shape[1:3]]
    return {**x, "images": ops.pad(x["images"], [(0, 0), *padding, (0, 0)])}
