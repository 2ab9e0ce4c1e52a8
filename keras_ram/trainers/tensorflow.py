"""The gradient step on TensorFlow."""

import contextlib

import keras
import tensorflow as tf

from keras_ram.trainers.arrays import are_arrays, pipeline
from keras_ram.trainers.base import BaseTrainer
from keras_ram.trainers.steps import STEPS, StepsOfAnExecution, step_by_step


class TensorFlowTrainer(BaseTrainer):
    """Follows the gradient with a tape."""

    steps_per_execution = StepsOfAnExecution()
    compiles_sizes = False  # by XLA, each image size for itself

    @property
    def replicas(self):
        return self.distribute_strategy.num_replicas_in_sync

    def scope(self):
        return self.distribute_strategy.scope()

    def execution(self, run_eagerly=False, jit_compile="auto", **_):
        # The model is many small products, which XLA puts together. Under a strategy
        # the replicas talk to each other, which it cannot compile. Convolutions of each
        # channel by itself are slow with it, and no others: with the first half of a
        # MobileNet a step took 2.81 s in place of 0.56, and `predict` 1.31, not 0.35.
        alone = not run_eagerly and self.replicas == 1
        suits = not any(map(_is_by_channel, _layers_in(self.glimpse_net.backbone)))
        self.compiles_sizes = alone and suits and jit_compile == "auto"
        return {"jit_compile": False, "steps_per_execution": STEPS if alone else 1}

    def run(self, method, **options):
        names = ("steps", "steps_per_epoch", "validation_steps")
        counted = any(options.get(name) for name in names)
        with contextlib.ExitStack() as calls:
            calls.enter_context(step_by_step(counted))
            if self.replicas == 1 and not counted:
                options = _in_place(options, calls)
            return super().run(method, **options)

    def make_train_function(self, force=False):
        self._forget("train", force or self._has_other_steps("train"))
        super().make_train_function()

    def make_test_function(self, force=False):
        self._forget("test", force or self._has_other_steps("test"))
        super().make_test_function()

    def make_predict_function(self, force=False):
        self._forget("predict", force)
        with step_by_step(False):  # made for several batches, it takes any number
            super().make_predict_function()

    def _has_other_steps(self, name):
        """Whether a function was made for another number of steps an execution."""
        made_for = vars(self).setdefault("steps_of_functions", {})
        before, steps = made_for.get(name), self.steps_per_execution
        made_for[name] = steps
        return before not in (None, steps)

    def _forget(self, name, force):
        if force:
            setattr(self, f"{name}_function", None)
        if getattr(self, f"{name}_function") is None:
            for key in (True, False, "first size"):
                self._steps.pop((name, key), None)

    @property
    def _steps(self):
        """Steps as TensorFlow's functions, past Keras's tracking."""
        return vars(self).setdefault("steps_as_functions", {})

    def train_step(self, data):
        return self._reducible(self._by_size("train", self._follow_gradient, data))

    def test_step(self, data):
        def step(data):
            return self.compute_evaluation(*keras.utils.unpack_x_y_sample_weight(data))

        return self._reducible(self._by_size("test", step, data))

    def predict_step(self, data):
        return self._by_size("predict", super().predict_step, data)

    def _by_size(self, name, step, data):
        """Runs a step, compiled by XLA where the size of the images is known.

        XLA compiles each size for itself, for a second or two. So images whose sizes
        vary, of which TensorFlow knows no size while tracing, go without, and so does
        inference that stops when sure, where the batch shrinks. Batches that are
        predicted together may be of several sizes, and the first alone is compiled.
        """
        size = keras.tree.flatten(data)[0].shape[1:3]  # "images" come before "sizes"
        fixed = name == "train" or self.stop_confidence is None
        compiled = self.compiles_sizes and fixed and size.is_fully_defined()
        if compiled and name == "predict":
            compiled = size == self._steps.setdefault((name, "first size"), size)
        # Of batches that are predicted together, a step is traced once.
        traced = compiled or name == "predict"
        if self.run_eagerly or self.replicas > 1 or not traced:
            return step(data)
        if (name, compiled) not in self._steps:
            self._steps[name, compiled] = tf.function(
                step,
                jit_compile=compiled or None,
                autograph=False,
                reduce_retracing=True,
                # Else TensorFlow copies the step into each of the sixteen: the first
                # `predict` of many batches, without XLA, took 14 s in place of 3.
                experimental_attributes={"_noinline": True},
            )
        return self._steps[name, compiled](data)

    def _follow_gradient(self, data):
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
        return logs

    def _reducible(self, logs):
        strategy = self.distribute_strategy
        several_workers = isinstance(
            strategy, tf.distribute.MultiWorkerMirroredStrategy
        ) and self.replicas > len(strategy.extended.worker_devices)
        # Keras takes the mean over workers along an axis, so there must be one.
        return {n: v[None] for n, v in logs.items()} if several_workers else logs

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras reduces a batch over the replicas to learn its shape, which fails where
        # the replicas are in other processes (Keras 3.15). Any replica's share will
        # do. It is a private method, and there is no public one.
        if iterator is not None and self._distribute_strategy is not None:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(
                lambda value: self.distribute_strategy.experimental_local_results(
                    value
                )[0],
                next(batches),
            )
        super()._maybe_symbolic_build(data_batch=data_batch)


def _in_place(options, calls):
    """Options of `fit`, `evaluate` or `predict`, with pipelines for arrays."""
    arrays = tuple(options.get(name) for name in ("x", "y", "sample_weight"))
    batch_size = options.get("batch_size") or 32
    if are_arrays(*arrays) and not options.get("validation_split"):
        shuffle = options.get("shuffle", False)
        batches = calls.enter_context(pipeline(arrays, batch_size, shuffle))
        nothing = dict.fromkeys({"y", "sample_weight", "batch_size"} & options.keys())
        options = {**options, **nothing, "x": batches}
        options.update({"shuffle": False} if "shuffle" in options else {})
    validation = options.get("validation_data")
    if isinstance(validation, (tuple, list)) and are_arrays(*validation):
        batch_size = options["validation_batch_size"] or batch_size
        batches = calls.enter_context(pipeline(validation, batch_size))
        options = {**options, "validation_data": batches, "validation_batch_size": None}
    return options


def _layers_in(layer):
    """A layer, or `None`, and all that are in it."""
    yield layer
    for part in getattr(layer, "layers", ()):
        yield from _layers_in(part)


def _is_by_channel(layer):
    layers = keras.layers
    kinds = (layers.DepthwiseConv2D, layers.SeparableConv2D)
    return isinstance(layer, kinds) or getattr(layer, "groups", 1) not in (1, None)
