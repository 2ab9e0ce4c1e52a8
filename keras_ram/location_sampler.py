"""The policy: decides where to look next."""

import math

import keras
from keras import ops

from keras_ram.validation import (
    check_choice,
    check_integer,
    check_positive,
    check_share,
    fixed,
)


@fixed("hidden_units", "step", "seed", "relative")
@keras.saving.register_keras_serializable("keras_ram")
class LocationSampler(keras.layers.Layer):
    """Draws the next location from a Gaussian around a learned mean.

    The mean is `tanh(dense(hidden_state))`, the standard deviation is fixed.
    The log-probability is that of the sample as drawn. Rounding to `step` and
    clipping to [-1, 1] come after: they belong to the world that rewards the
    action, not to the policy, and so the gradient of REINFORCE stays right.

    With `relative` the mean is `origin + reach * tanh(dense(hidden_state))`, or on the
    edge where that is outside the image: the policy says where to look in what it sees,
    instead of where in the image.

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
        relative: Bool. Whether the next location is told from the present one.

    Call arguments:
        hidden_states: Float tensor of shape `(batch, units)`.
        training: Bool. If false, the location is the mean, rounded to `step`.
        noise: `None`, or what `noise` gave, `(batch, 2)`, to sample with.
        origin: Float32 tensor of shape `(batch, 2)`, the present location. With
            `relative` it is needed, and so is `reach`.
        reach: Float32 tensor, which broadcasts to that shape: how far the next one
            can be.

    Returns:
        A dict of float32 tensors, whatever the precision policy:

        - `"location"`: `(batch, 2)`, `(x, y)` in [-1, 1].
        - `"mean"`: `(batch, 2)`, in [-1, 1].
        - `"log_prob"`: `(batch,)`, the log-density of what was drawn.

    Raises:
        ValueError: If an argument is out of its range, or `relative` without `origin`
            and `reach`.

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
        relative=False,
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
        check_choice("relative", relative, (False, True))
        self.relative = bool(relative)
        self.hidden_units = hidden_units
        self.step = step
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        # Variables, so that what was compiled sees when a callback changes them.
        self._stddev = self._setting("stddev", stddev)
        self._roams = self._setting("roams", initial_location == "random")
        self.hidden = (
            keras.layers.Dense(hidden_units, activation="relu", dtype="float32")
            if hidden_units
            else keras.layers.Identity(dtype="float32")
        )
        self.mean = keras.layers.Dense(2, activation="tanh", dtype="float32")

    def _setting(self, name, value):
        return self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(float(value)),
            trainable=False,
            dtype="float32",
            name=name,
        )

    @property
    def stddev(self):
        """Float. May be changed while training, as a learning rate may."""
        # The shortest number that is the same in float32: 0.15, not 0.15000000596.
        return float(str(keras.ops.convert_to_numpy(self._stddev)))

    @stddev.setter
    def stddev(self, value):
        self._stddev.assign(check_positive("stddev", value))

    @property
    def initial_location(self):
        """`"random"` or `"center"`. May be changed while training."""
        return "random" if keras.ops.convert_to_numpy(self._roams) else "center"

    @initial_location.setter
    def initial_location(self, value):
        check_choice("initial_location", value, ("random", "center"))
        self._roams.assign(float(value == "random"))

    def build(self, hidden_states_shape):
        self.hidden.build(hidden_states_shape)
        self.mean.build(self.hidden.compute_output_shape(hidden_states_shape))

    def first(self, batch_size, training=False):
        """Locations of the first glimpse: float32, `(batch_size, 2)`."""
        if not training:
            return ops.zeros((batch_size, 2), dtype="float32")
        anywhere = keras.random.uniform(
            (batch_size, 2), -1, 1, dtype="float32", seed=self.seed_generator
        )
        return self._within_reach(self._roams * anywhere)

    def noise(self, shape):
        """Standard normal noise for a call: float32, `(*shape, 2)`."""
        return keras.random.normal(
            (*shape, 2), dtype="float32", seed=self.seed_generator
        )

    def call(self, hidden_states, training=False, noise=None, origin=None, reach=None):
        mean = self.mean(self.hidden(hidden_states))  # (B, 2)
        if self.relative and (origin is None or reach is None):
            raise ValueError("With `relative=True` a call needs `origin` and `reach`.")
        if self.relative:
            mean = ops.stop_gradient(origin) + reach * mean
            # Beyond the edge all samples would be looked at on it, and no reward would
            # tell one from another. The gradient passes, so a mean can come back.
            mean += ops.stop_gradient(ops.clip(mean, -1, 1) - mean)
        sample = mean
        if training:
            if noise is None:
                noise = self.noise(ops.shape(mean)[:-1])
            sample = ops.stop_gradient(mean + self._stddev * noise)
        return {
            "location": self._within_reach(sample),
            "mean": mean,
            "log_prob": self.log_prob(mean, sample),
        }

    def log_prob(self, mean, location):
        """The log-probability that a policy with this mean gives to a location.

        Args:
            mean, location: Float32 tensors, `(..., 2)`.

        Returns:
            Float32 tensor, `(...)`.

        Example:

        >>> sampler = keras_ram.LocationSampler(stddev=0.5)
        >>> mean = np.zeros(2, "float32")
        >>> likely, less = (sampler.log_prob(mean, mean + x) for x in (0, 0.5))
        >>> round(float(likely - less), 3)  # one deviation along x and y
        1.0
        """
        standardized = (location - mean) / self._stddev
        log_density = -0.5 * ops.square(standardized) - ops.log(
            self._stddev * math.sqrt(2 * math.pi)
        )
        return ops.sum(log_density, axis=-1)

    def _within_reach(self, sample):
        """The location that is looked at where the policy says `sample`."""
        if self.step:
            sample = ops.round(sample / self.step) * self.step
        return ops.clip(sample, -1, 1)

    def save_own_variables(self, store):
        store["seed_state"] = self.seed_generator.state
        store["stddev"], store["roams"] = self._stddev, self._roams

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_state"][...])
        if "stddev" in store:  # older files tell it in the config alone
            self._stddev.assign(store["stddev"][...])
            self._roams.assign(store["roams"][...])

    def get_config(self):
        config = {
            "stddev": self.stddev,
            "hidden_units": self.hidden_units,
            "initial_location": self.initial_location,
            "step": self.step,
            "seed": self.seed,
            "relative": self.relative,
        }
        return {**super().get_config(), **config}
