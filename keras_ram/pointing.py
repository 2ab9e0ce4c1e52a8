"""Teaching a model where to look, before it finds out for itself."""

import keras
import numpy as np
from keras import ops

from keras_ram import inputs
from keras_ram.reinforce import label_log_probs
from keras_ram.sizes import number_of, range_of_sizes
from keras_ram.targets import check_labels
from keras_ram.trainers import Trainer
from keras_ram.validation import check_positive


class Pointing(keras.Model):
    """Teaches a RAM to look at given places, and to tell there what it sees.

    A policy that gets no reward before it has found something finds it by luck, and
    in large images with few of them it does not. Here it is told: its log-probability
    of the place rises, with that of the class after each glimpse. Places may come from
    people, or from a classifier of whole images that tells where its evidence is.
    Afterwards `model.fit` goes on from rewards, which know better what helps.

    Args:
        model: A built `keras_ram.RAM`. Its weights are trained, by the rule that it was
            compiled with: under `"hybrid"` learning places train the location network
            alone, and `guess_weights` tell what each guess counts.
        near: `None`, or a positive float, in units of the location. Several places of
            an image are visited one after the other, in any order: of those that no
            glimpse so far came nearer to than this, the next is the one nearest to
            where the policy would look. So the model looks at a place again that it
            missed, and where all were visited nothing is taught. The error then is
            that of `log_prob` near a place, and far from it grows with the root of the
            distance: otherwise long ways would drown short ones.
        weight: Positive float, what places count beside classes.

    Call arguments:
        images: As for the model.

    Returns:
        What `model.rollout(images, training)` does.

    Raises:
        ValueError: If the model is no RAM, or was not built; in `fit` and `evaluate`,
            if images, classes or places do not fit it. Of a pipeline the first batch
            is looked at.

    The targets of `fit` are a dict of `"places"`, `(batch, 2)`, or with `near`
    `(batch, n, 2)`, `(x, y)` in [-1, 1] or NaN where there is none, and `"classes"`,
    the labels, as integers, or as sets with `multi_label`. It logs `distance`, from
    where the policy would look to the place that is next, where the image is 2 wide,
    and with `near` `found`, the share of places that were visited in the end.

    Example:

    >>> model = keras_ram.RAM(num_classes=3, num_glimpses=2, patch_size=8)
    >>> model.build((None, 28, 28, 1))
    >>> images = np.zeros((4, 28, 28, 1))
    >>> targets = {"places": np.zeros((4, 2)), "classes": np.array([0, 1, 2, 0])}
    >>> pointing = keras_ram.Pointing(model)
    >>> pointing.compile("adam")
    >>> sorted(pointing.fit(images, targets, verbose=0).history)
    ['distance', 'loss']

    Reference:

    - Elsayed et al., "Saccader: improving accuracy of hard attention models for
      vision", 2019: a policy that is first taught where a classifier has evidence
    """

    def __init__(self, model, near=None, weight=1.0, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(model, Trainer) or not model.built:
            raise ValueError(
                f"Only a built `keras_ram.RAM` is taught. Received: {model}"
            )
        self.near = near if near is None else check_positive("near", near)
        self.weight = check_positive("weight", weight)
        # Its parts are tracked. The baseline has nothing to learn here.
        vars(self)["model"] = model
        self.parts = [
            model.glimpse_net,
            model.core,
            model.location_sampler,
            model.classifier,
        ]
        self.distance_tracker = keras.metrics.Mean(name="distance")
        if near is not None:
            self.found_tracker = keras.metrics.Mean(name="found")
        self.built = True

    def fit(self, x=None, y=None, *args, **kwargs):
        return super().fit(self._inspect(x, y, trains=True), y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        return super().evaluate(self._inspect(x, y), y, *args, **kwargs)

    def _inspect(self, x, y, trains=False):
        model = self.model
        if inputs.is_pipeline(x):
            images, y, *_, x = inputs.first_batch(x)
        else:
            images = x = inputs.read(x)
        inputs.check_images(images, model.input_spec.axes[-1])
        model.rule.learned_guesses(model.num_glimpses)  # refuses weights of others
        sets = model.multi_label
        check_labels(y["classes"], number_of(images), model.num_classes, True, sets)
        self._check_places(y["places"], number_of(images))
        if trains:
            model.image_sizes = range_of_sizes(images, model.image_sizes)
        return x

    def _check_places(self, places, number):
        places = ops.convert_to_numpy(places)
        several = () if self.near is None else places.shape[1:2] or ("n",)
        if places.shape != (number, *several, 2):
            axes = "(batch, 2)" if self.near is None else "(batch, n, 2)"
            raise ValueError(
                f"With near={self.near} places must have shape {axes}. Received: shape="
                f"{places.shape} for {number} images"
            )
        known = places[np.isfinite(places)]
        if (np.abs(known) > 1).any():
            raise ValueError(
                "Places must be in [-1, 1], or NaN. Received: places from "
                f"{known.min()} to {known.max()}"
            )

    def zero_grad(self, set_to_none=True):  # on PyTorch, of which it is a module
        self.model.zero_grad()

    def call(self, images, training=False):
        return self.model.rollout(images, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        means, logits = y_pred["location_means"], y_pred["logits"]  # (B, T - 1, 2), …
        places = ops.cast(y["places"], "float32")
        if self.near is None:
            places = ops.expand_dims(places, 1)
            known = ops.all(ops.isfinite(places), axis=-1)  # (B, 1)
        else:
            places, known = self._next(places, y_pred["locations"], means)
        # Where none is known, the policy is right.
        places = ops.where(ops.expand_dims(known, -1), places, means)
        classes = self._classes(y, y_pred["locations"])
        steps = range(logits.shape[1])
        log_probs = [
            label_log_probs(classes[:, step], logits[:, step]) for step in steps
        ]
        shares = self.model.rule.guess_shares
        losses = -ops.mean(shares * ops.stack(log_probs, axis=1), axis=1)
        if len(steps) > 1:
            losses += self.weight * ops.mean(self._errors(means, places), axis=1)
        if sample_weight is not None:
            weights = keras.tree.flatten(sample_weight)[0]  # the same for both targets
            losses *= ops.cast(weights, "float32")
        distances = ops.sqrt(ops.sum(ops.square(places - means), axis=-1))
        there = ops.cast(known, "float32") + ops.zeros_like(distances)
        self.distance_tracker.update_state(distances, sample_weight=there)
        return ops.mean(losses)

    def _classes(self, y, locations):
        """What is right after each glimpse: `(batch, T)`, or `(batch, T, classes)`."""
        classes = ops.expand_dims(ops.cast(y["classes"], "int32"), 1)
        return ops.repeat(classes, locations.shape[1], axis=1)

    def _errors(self, means, places):
        """Minus the log-probability, or what is like it near a place."""
        sampler = self.model.location_sampler
        if self.near is None:
            return -sampler.log_prob(means, places)
        return pull(ops.sum(ops.square(places - means), axis=-1), sampler._stddev)

    def _next(self, places, locations, means):
        """The places that are next after each glimpse but the last.

        Of those that are left it is the one that is nearest to where the policy would
        look: which comes first is the policy's to choose.

        Args:
            places: `(batch, n, 2)`, of which some may be NaN.
            locations: `(batch, T, 2)`, where the glimpses were taken.
            means: `(batch, T - 1, 2)`, where the policy would look next.

        Returns:
            `(batch, T - 1, 2)`, and whether there is one, `(batch, T - 1)`.
        """
        left = self._left(places, locations)
        places = self._choices(places, left, locations[:, :-1])
        return nearest(places, means), ops.any(ops.isfinite(places), axis=(2, 3))

    def _choices(self, places, left, locations):
        """Those that may be next: `(batch, T - 1, n, 2)`, or NaN."""
        left = ops.expand_dims(left, -1)
        return ops.where(left, ops.expand_dims(places, 1), np.nan)

    def _left(self, places, locations):
        """Which places no glimpse so far came near to: `(batch, T - 1, n)`."""
        known = ops.all(ops.isfinite(places), axis=-1)[:, None]  # (B, 1, n)
        visited = self._visited(places, locations)
        self.found_tracker.update_state(visited[:, -1:], sample_weight=known)
        return ops.logical_and(known, ops.logical_not(visited[:, :-1]))

    def _visited(self, places, locations):
        """Which places a glimpse so far came near to: `(batch, T, n)`."""
        ways = ops.expand_dims(locations, 2) - ops.expand_dims(places, 1)
        close = ops.sum(ops.square(ways), axis=-1) < self.near**2
        return ops.cumsum(ops.cast(close, "int32"), axis=1) > 0


def nearest(places, means):
    """Of several places the one that is nearest to where a policy would look.

    Args:
        places: `(batch, steps, n, 2)`, some of them NaN.
        means: `(batch, steps, 2)`.

    Returns:
        `(batch, steps, 2)`, 0 where all are NaN.
    """
    known = ops.isfinite(places)
    places = ops.where(known, places, 0.0)
    squares = ops.where(known, ops.square(places - ops.expand_dims(means, 2)), np.inf)
    chosen = ops.argmin(ops.sum(squares, axis=-1), axis=-1)
    chosen = ops.one_hot(chosen, places.shape[2], dtype="float32")
    return ops.sum(ops.expand_dims(chosen, -1) * places, axis=2)


def pull(squares, stddev):
    """The error of a place: squared near it, and the root of the way far from it.

    Args:
        squares: Squared distances, of any shape.
        stddev: The distance from which on it is far.
    """
    return 2 * ((1 + squares / ops.square(stddev)) ** 0.25 - 1)
