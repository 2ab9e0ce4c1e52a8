"""The gradient step on TensorFlow."""

import collections
import contextlib
import math
import weakref

import keras
import numpy as np
import tensorflow as tf

from keras_ram.trainers.base import BaseTrainer
from keras_ram.validation import check_images

# What Keras does between two executions takes as long as a step on small images.
STEPS_PER_EXECUTION = 16


def views(images, batch_size):
    """An array in batches, without a copy of the whole.

    Keras copies the whole array into a tensor, and each batch out of it. Of large
    images that takes longer than to look at them. Nor is this a `PyDataset`: on Python
    3.11 TensorFlow answers to the first of these with an allocator that gives memory
    back at once (M_TRIM_THRESHOLD), and the whole process is slower from then on.
    The caller keeps the array: TensorFlow never forgets the function.
    """
    array = weakref.ref(images)

    def view(start):
        return array()[start:][:batch_size]

    def batch(start):
        result = tf.numpy_function(view, [start], images.dtype, stateful=False)
        return (tf.ensure_shape(result, (None, *images.shape[1:])),)

    batches = tf.data.Dataset.range(0, len(images), batch_size).map(batch).prefetch(2)
    return untuned(batches)


def untuned(batches):
    """A pipeline without tf.data's tuner.

    There is nothing to tune in batches of an array, and the tuner can hold up the end
    of a pipeline until it wakes: 1.27 s, 2.55 s, 5.11 s, … after the start.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


def untune(iterator):
    """Replaces the pipeline that Keras made of arrays or of a `PyDataset`.

    A `tf.data.Dataset` is the user's, with the options that the user chose.
    """
    batches = getattr(iterator, "_distributed_dataset", None)
    given = getattr(getattr(iterator, "data_adapter", None), "_dataset", None)
    if batches is given or not isinstance(batches, tf.data.Dataset):
        return
    if batches.options().autotune.enabled is None:  # not by an earlier epoch
        iterator._distributed_dataset = untuned(batches)


class TensorFlowTrainer(BaseTrainer):
    """Follows the gradient with a tape."""

    @property
    def replicas(self):
        return self.distribute_strategy.num_replicas_in_sync

    def execution(self, run_eagerly):
        # The model is many small products, which XLA puts together. Under a strategy
        # the replicas talk to each other, which it cannot compile.
        alone = not run_eagerly and self.replicas == 1
        steps = STEPS_PER_EXECUTION if alone else 1
        return {"jit_compile": alone, "steps_per_execution": steps}

    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs)
        # Past Keras's tracking, which would put the functions into a SavedModel.
        vars(self)["compiled_for"] = collections.defaultdict(dict)

    def fit(self, *args, **kwargs):
        numbers = (kwargs.get("steps_per_epoch"), kwargs.get("validation_steps"))
        with self._steps_that_divide(*numbers):
            return super().fit(*args, **kwargs)

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        *args,
        **kwargs,
    ):
        within_fit = "_use_cached_eval_dataset" in kwargs  # which knows these steps
        with self._steps_that_divide(None if within_fit else steps):
            return super().evaluate(
                x, y, batch_size, verbose, sample_weight, steps, *args, **kwargs
            )

    def predict(self, x, batch_size=None, verbose="auto", steps=None, *args, **kwargs):
        batches = x
        if isinstance(x, np.ndarray):
            check_images(x)
            # Without a batch size, Keras divides the images among the steps.
            size = batch_size or (math.ceil(len(x) / steps) if steps else 32)
            batches, batch_size = views(x, size), None
        with self._steps_that_divide(steps):
            return super().predict(batches, batch_size, verbose, steps, *args, **kwargs)

    @contextlib.contextmanager
    def _steps_that_divide(self, *numbers):
        """Keras runs past a number of steps that executions do not divide.

        So there are fewer to an execution for the length of a call, which a
        callback may have made within another.
        """
        before = self.steps_per_execution
        total = math.gcd(*(number for number in numbers if number))  # or 0
        fitting = max(n for n in range(1, before + 1) if total % n == 0)
        self._execute(fitting if "steps_per_execution" in self.left_open else before)
        try:
            yield
        finally:
            self._execute(before)

    def _execute(self, steps):
        """Changes the steps of an execution, and to what was compiled for them."""
        if steps == self.steps_per_execution:
            return
        for name in ("train_function", "test_function", "predict_function"):
            self.compiled_for[self.steps_per_execution][name] = getattr(self, name)
            setattr(self, name, self.compiled_for[steps].get(name))
        self.steps_per_execution = steps

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
        # Here `fit` and `evaluate` show what they are going to read.
        untune(iterator)
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
