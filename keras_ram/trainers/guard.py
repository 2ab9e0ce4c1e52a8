"""The ways in: whatever is passed is looked at before anything is computed."""

import contextlib

import keras

from keras_ram import inputs, targets
from keras_ram.field_of_view import warn_of_blindness
from keras_ram.on_logits import takes_classes
from keras_ram.sizes import images_and_sizes, number_of, range_of_sizes


class GuardedModel(keras.Model):
    """A classifier of images whose `fit`, `evaluate` and `predict` refuse bad data.

    A backend may say with `run` how they read and execute what was found good.
    """

    image_sizes = None
    """`None`, or the least and the largest `(height, width)` of the images that `fit`
    was given, of a pipeline those of the first batch. May be set."""

    def scope(self):
        """Where weights are made."""
        return contextlib.nullcontext()

    def run(self, method, **options):
        """Calls `fit`, `evaluate` or `predict` of Keras."""
        return getattr(super(), method)(**options)

    def compile_anew(self):
        """Replaces what was compiled, where an attribute that it read has changed."""
        for name in ("train", "test", "predict"):
            if getattr(self, f"{name}_function", None) is not None:
                getattr(self, f"make_{name}_function")(force=True)

    def check_trainable(self):
        """Raises `ValueError` if not the weights are trainable that were at first.

        What was compiled would train the others, or fail. The first time after
        `compile` it only takes note of them.
        """
        weights = self.trainable_weights
        if self.compiled and not weights:
            raise ValueError(
                "Nothing can be learned, because all weights are frozen. Set "
                "`trainable = True` on a part of the model, and compile it."
            )
        before = vars(self).setdefault("weights_of_optimizer", weights)
        if self.compiled and list(map(id, before)) != list(map(id, weights)):
            raise ValueError(
                "After `trainable` was changed the model must be compiled anew: "
                f"{len(before)} weights were trained so far, and {len(weights)} are "
                "trainable now."
            )

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_steps=None,
        validation_batch_size=None,
        validation_freq=1,
    ):
        x, y, sample_weight = self._inspect(x, y, sample_weight, trains=True)
        self.check_trainable()
        if isinstance(validation_data, (tuple, list)):
            given = len(validation_data)
            validation_data = self._inspect(*validation_data)[:given]
        elif validation_data is not None:
            validation_data, *_ = self._inspect(validation_data)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            # First, so that no other callback saves what has become NaN.
            guard = keras.callbacks.TerminateOnNaN(raise_error=True)
            # Last, so that it sees what others changed.
            last = keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda *_: self.check_trainable()
            )
            callbacks = [guard, *keras.tree.flatten(callbacks or []), last]
        return self.run(
            "fit",
            x=x,
            y=y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=self._class_weights(class_weight),
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
        )

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict=False,
        **kwargs,
    ):
        options = {"callbacks": callbacks, "return_dict": return_dict, **kwargs}
        if "_use_cached_eval_dataset" in kwargs:  # by `fit`, which has looked at it
            return super().evaluate(x, y, batch_size, verbose, **options)
        x, y, sample_weight = self._inspect(x, y, sample_weight)
        return self.run(
            "evaluate",
            x=x,
            y=y,
            batch_size=batch_size,
            verbose=verbose,
            sample_weight=sample_weight,
            steps=steps,
            **options,
        )

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        x, *_ = self._inspect(x, learns=False)
        return self.run(
            "predict",
            x=x,
            batch_size=batch_size,
            verbose=verbose,
            steps=steps,
            callbacks=callbacks,
        )

    def train_on_batch(
        self, x, y=None, sample_weight=None, class_weight=None, return_dict=False
    ):
        x, y, sample_weight = self._inspect(x, y, sample_weight, trains=True)
        self.check_trainable()
        class_weight = self._class_weights(class_weight)
        return super().train_on_batch(x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        x, y, sample_weight = self._inspect(x, y, sample_weight)
        return super().test_on_batch(x, y, sample_weight, return_dict)

    def predict_on_batch(self, x):
        x, *_ = self._inspect(x, learns=False)
        return super().predict_on_batch(x)

    def _class_weights(self, weights):
        return targets.class_weights(weights, self.num_classes, self.multi_label)

    def _inspect(self, x, y=None, sample_weight=None, learns=True, trains=False):
        """Looks at all images of an array, and at the first batch of a pipeline.

        So nothing is compiled, and no weight made, for what cannot be learned.

        Returns:
            The data to read, as `x`, `y` and `sample_weight`: arrays in the machine's
            byte order, images padded if they are a list, or a generator like `x`.
        """
        y, sample_weight = map(inputs.native, (y, sample_weight))
        if inputs.is_pipeline(x):
            *first, x = inputs.first_batch(x)
        else:
            x = inputs.read(x)
            first = x, y, sample_weight
        if first[0] is not None:  # or they are spread over devices
            was_built = self.built  # else `build` has warned
            self._check(*first, learns)
            if trains:
                self.image_sizes = range_of_sizes(first[0], self.image_sizes)
            if trains and was_built:
                _, largest = range_of_sizes(first[0])
                warn_of_blindness(self.num_glimpses, self.glimpse_sensor, *largest)
        return x, y, sample_weight

    def _check(self, images, y, sample_weight, learns):
        channels = self.input_spec.axes[-1] if self.built else None
        inputs.check_images(images, channels)
        count = number_of(images)
        if learns:
            sparse = takes_classes(getattr(self, "loss", None))
            targets.check_labels(y, count, self.num_classes, sparse, self.multi_label)
            targets.check_weights(sample_weight, count)
        self.build_for(images)

    def build_for(self, images):
        """Makes the weights, if there are none yet, for images like these."""
        if not self.built:
            with self.scope():
                self.build((None, *images_and_sizes(images)[0].shape[1:]))
