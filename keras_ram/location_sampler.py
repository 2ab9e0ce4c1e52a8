"""The policy: decides where to look next."""

import math

import keras
from keras import ops

from keras_ram.validation import (
    check_choice,
    check_integer,
    check_positive,
    check_share,
)


@keras.saving.register_keras_serializable("keras_ram")
class LocationSampler(keras.layers.Layer):
    """Draws the next location from a Gaussian around a learned mean.

    The mean is `tanh(dense(hidden_state))`, the standard deviation is fixed.
    The log-probability is that of the sample as drawn. Rounding to `step` and
    clipping to [-1, 1] come after: they belong to the world that rewards the
    action, not to the policy, and so the gradient of REINFORCE stays right.

    Args:
        stddev: Float, positive. In units of the location, where the image is 2
            wide.
        hidden_units: `None`, or the size of one rectified layer between the
            hidden state and the mean.
        initial_location: `"random"` (in training uniform over the image) or
            `"center"`. At inference the first location is always the centre.
        step: `None`, or a float in (0, 1]: locations are rounded to multiples
            of it, in training as at inference. Rounding stops a policy from
            carrying the last bit of one location into the next, so that a
            trained model looks at the same places in every runtime. A power
            of two, such as 1/8, is exact in float32.
        seed: Int, for reproducible samples. The state of the generator is
            saved with the weights, so that a resumed run draws what an
            uninterrupted one would have drawn.

    Call arguments:
        hidden_states: Float tensor of shape `(batch, units)`.
        training: Bool. If false, the location is the mean, rounded to `step`.

    Returns:
        A dict of float32 tensors, whatever the precision policy:

        - `"location"`: `(batch, 2)`, `(x, y)` in [-1, 1].
        - `"mean"`: `(batch, 2)`, in [-1, 1].
        - `"log_prob"`: `(batch,)`, the log-density of what was drawn.

    Raises:
        ValueError: If an argument is out of its range.

    Gradients of `"mean"` and `"log_prob"` reach the weights and
    `hidden_states`. In training none passes through `"location"`.

    Example:

    >>> sampler = keras_ram.LocationSampler(stddev=0.1, seed=1)
    >>> look = sampler(np.zeros((4, 256)), training=True)
    >>> {name: tuple(value.shape) for name, value in sorted(look.items())}
    {'location': (4, 2), 'log_prob': (4,), 'mean': (4, 2)}

    References:

    - [Mnih et al., 2014](https://arxiv.org/abs/1406.6247), section 4,
      "Location network"
    - Williams, 1992, section 6, on Gaussian units
    """

    def __init__(
        self,
        stddev=0.15,
        hidden_units=None,
        initial_location="random",
        step=None,
        seed=None,
        **kwargs,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        stddev = check_positive("stddev", stddev)
        if hidden_units is not None:
            hidden_units = check_integer("hidden_units", hidden_units)
        check_choice("initial_location", initial_location, ("random", "center"))
        if step is not None:
            step = check_positive("step", step)
            check_share("step", step)
        if seed is not None:
            seed = check_integer("seed", seed, least=0)
        self.stddev = stddev
        self.hidden_units = hidden_units
        self.initial_location = initial_location
        self.step = step
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.hidden = (
            keras.layers.Dense(hidden_units, activation="relu", dtype="float32")
            if hidden_units
            else keras.layers.Identity(dtype="float32")
        )
        self.mean = keras.layers.Dense(2, activation="tanh", dtype="float32")

    def build(self, hidden_states_shape):
        self.hidden.build(hidden_states_shape)
        self.mean.build(self.hidden.compute_output_shape(hidden_states_shape))

    def first(self, batch_size, training=False):
        """Locations of the first glimpse: float32, `(batch_size, 2)`."""
        if training and self.initial_location == "random":
            anywhere = keras.random.uniform(
                (batch_size, 2), -1, 1, dtype="float32", seed=self.seed_generator
            )
            return self._within_reach(anywhere)
        return ops.zeros((batch_size, 2), dtype="float32")

    def call(self, hidden_states, training=False):
        mean = self.mean(self.hidden(hidden_states))  # (B, 2)
        sample = mean
        if training:
            noise = keras.random.normal(
                ops.shape(mean), dtype="float32", seed=self.seed_generator
            )
            sample = ops.stop_gradient(mean + self.stddev * noise)
        standardized = (sample - mean) / self.stddev
        log_density = -0.5 * ops.square(standardized) - math.log(
            self.stddev * math.sqrt(2 * math.pi)
        )
        return {
            "location": self._within_reach(sample),
            "mean": mean,
            "log_prob": ops.sum(log_density, axis=-1),
        }

    def _within_reach(self, sample):
        """The location that is looked at where the policy says `sample`."""
        if self.step:
            sample = ops.round(sample / self.step) * self.step
        return ops.clip(sample, -1, 1)

    def save_own_variables(self, store):
        store["seed_state"] = self.seed_generator.state

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_state"][...])

    def get_config(self):
        config = {
            "stddev": self.stddev,
            "hidden_units": self.hidden_units,
            "initial_location": self.initial_location,
            "step": self.step,
            "seed": self.seed,
        }
        return {**super().get_config(), **config}
