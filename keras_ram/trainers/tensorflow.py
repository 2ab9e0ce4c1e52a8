"""The gradient step on TensorFlow."""

import keras
import tensorflow as tf

from keras_ram.trainers.base import BaseTrainer


class TensorFlowTrainer(BaseTrainer):
    """Follows the gradient with a tape."""

    @property
    def replicas(self):
        return self.distribute_strategy.num_replicas_in_sync

    def compile(self, *args, run_eagerly=False, jit_compile="auto", **kwargs):
        self.chooses_jit = jit_compile == "auto"
        if self.chooses_jit:
            # The model is many small products, which XLA puts together. Under a
            # strategy the replicas talk to each other, which XLA cannot compile.
            jit_compile = not run_eagerly and self.replicas == 1
        super().compile(
            *args, run_eagerly=run_eagerly, jit_compile=jit_compile, **kwargs
        )

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and self.chooses_jit:
            # Another backend or strategy chooses for itself.
            config["jit_compile"] = "auto"
        return config

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            objective, logs = self.compute_objective(x, y, sample_weight)
            scaled_objective = self.optimizer.scale_loss(objective)
        weights = self.trainable_weights
        gradients = [
            # What a learning rule does not use, it leaves alone.
            tf.zeros_like(weight) if gradient is None else gradient
            for gradient, weight in zip(
                tape.gradient(scaled_objective, weights), weights, strict=True
            )
        ]
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return self._reducible(logs)

    def test_step(self, data):
        return self._reducible(super().test_step(data))

    def _reducible(self, logs):
        strategy = self.distribute_strategy
        several_workers = isinstance(
            strategy, tf.distribute.MultiWorkerMirroredStrategy
        ) and self.replicas > len(strategy.extended.worker_devices)
        # Keras takes the mean over workers along an axis, so there must be one.
        return {n: v[None] for n, v in logs.items()} if several_workers else logs

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras reduces a batch over the replicas to learn its shape, which fails
        # where the replicas are in other processes. Any replica's share will do.
        if iterator is not None and self._distribute_strategy is not None:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(
                lambda value: self.distribute_strategy.experimental_local_results(
                    value
                )[0],
                next(batches),
            )
        super()._maybe_symbolic_build(data_batch=data_batch)
