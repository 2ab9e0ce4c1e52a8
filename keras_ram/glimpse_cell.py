"""One step of attention: look, remember, decide where to look next."""

import keras
from keras import ops

from keras_ram.core import make_core
from keras_ram.inhibition import check_coarser, unseen
from keras_ram.validation import check_integer

FAR = 1e4  # outside of any image, where none was looked at


@keras.saving.register_keras_serializable("keras_ram")
class GlimpseCell(keras.layers.Layer):
    """Takes one glimpse of each image, as a cell of a recurrent network.

    Sensor and glimpse net see a patch around a location, the core puts it to what
    it remembers, and the sampler decides where the next glimpse is taken. The
    contract is that of a Keras RNN cell, but that the input is a batch of images
    and the output a dict. A loop over the cell is a rollout. The images may change
    from step to step, as in a game or a video.

    Patches that see a share of the image are lit up until their brightest cell is
    white, because the larger an image, the less of a cell does a small thing fill.
    With them the glimpse net is told the size of the image as well, because a share
    does not tell how far a step is in pixels: `log(height / 100)`, `log(width / 100)`.

    With inhibition of return the cell also keeps where it looked. What lay under the
    finest patches of earlier glimpses is erased from coarser ones: a cell of those
    gets darker by the share of it that was seen, and is black if it holds a whole
    finest patch. So they show what has not been looked at yet.

    Args:
        sensor: A `GlimpseSensor`.
        net: A `GlimpseNet`.
        core: Any Keras RNN cell. Its output is the hidden state.
        sampler: A `LocationSampler`.
        inhibition_of_return: Int, how many of the last glimpses are kept in mind. 0 is
            none, and there is no such state.

    Call arguments:
        images: Tensor of shape `(batch, height, width, channels)`, floats in
            [0, 1] or integers in [0, 255], which the cell scales; or what
            `prepare` made of it, for images that are looked at several times, or
            that have different sizes.
        states: List `[location, core_states]`, as `get_initial_state` and the last
            call returned it: the location of this glimpse, float32 of shape
            `(batch, 2)`, and the states of the core. With inhibition of return there
            is a third, `(batch, 2 * inhibition_of_return)`, the locations before.
        training: Bool. If true, the next location is sampled; if false, it is the
            mean.
        rows: `None`, or an int tensor of shape `(batch,)`: which of the images
            each state looks at, where that is not one state an image.
        noise: `None`, or a float tensor of shape `(batch, 2)`. See
            `LocationSampler`.
        detach: Bool. Whether the gradient of the policy stops at the hidden state,
            as in hybrid learning.

    Returns:
        Tuple of what this glimpse gave and the next states. The first is a dict:

        - `"hidden_state"`: `(batch, core.output_size)`.
        - `"location"`: float32, `(batch, 2)`, where this glimpse was taken.
        - `"mean"`, `"log_prob"`: float32, `(batch, 2)` and `(batch,)`, of the
          policy for the next location. See `LocationSampler`.

    Raises:
        ValueError: If `core` is no cell, if a shape does not fit, or if there is no
            patch to erase from.

    Gradients reach all weights, but for `detach`. None passes through a location
    that was sampled.

    Example:

    >>> cell = keras_ram.GlimpseCell(
    ...     keras_ram.GlimpseSensor(patch_size=8),
    ...     keras_ram.GlimpseNet(),
    ...     keras.layers.GRUCell(32),
    ...     keras_ram.LocationSampler(),
    ... )
    >>> images, locations = np.zeros((4, 28, 28, 1)), []
    >>> states = cell.get_initial_state(batch_size=4)
    >>> for _ in range(6):
    ...     found, states = cell(images, states)
    ...     locations.append(found["location"])
    >>> tuple(found["hidden_state"].shape)
    (4, 32)

    Reference:

    - [Mnih et al., 2014](https://arxiv.org/abs/1406.6247), section 3.1
    - Itti, Koch and Niebur, "A model of saliency-based visual attention for rapid
      scene analysis", 1998: inhibition of return
    """

    def __init__(self, sensor, net, core, sampler, inhibition_of_return=0, **kwargs):
        # Locations and bytes keep their types.
        super().__init__(autocast=False, **kwargs)
        self.sensor = sensor
        self.net = net
        self.core = make_core(core)
        self.sampler = sampler
        self.inhibition_of_return = check_integer(
            "inhibition_of_return", inhibition_of_return, least=0
        )
        if self.inhibition_of_return:
            check_coarser(sensor)

    @property
    def state_size(self):
        earlier = [2 * self.inhibition_of_return] if self.inhibition_of_return else []
        return [2, self.core.state_size, *earlier]

    @property
    def output_size(self):
        """The size of the hidden state."""
        size = getattr(self.core, "output_size", None)
        return size or keras.tree.flatten(self.core.state_size)[0]

    def build(self, images_shape, states_shape=None):
        if isinstance(images_shape, dict):  # of prepared images
            images_shape = images_shape["images"]
        locations_shape = (None, 2)
        if not self.sensor.built:
            self.sensor.build(images_shape, locations_shape)
        patches_shape = self.sensor.compute_output_shape(images_shape, locations_shape)
        if not self.net.built:
            self.net.build(patches_shape, (None, 4 if self.sensor.shares else 2))
        if not self.core.built:  # a cell from a config comes with its weights
            self.core.build((None, self.net.units))
        if not self.sampler.built:
            self.sampler.build((None, self.output_size))

    def get_initial_state(self, batch_size, training=False):
        """The states before the first glimpse.

        Args:
            batch_size: Int, or a scalar tensor.
            training: Bool. If true, the first location is the sampler's to draw.
        """
        location = self.sampler.first(batch_size, training)  # (B, 2)
        states = [location, keras.layers.RNN(self.core).get_initial_state(batch_size)]
        earlier = self.state_size[2:]
        return states + [ops.full((batch_size, n), FAR, "float32") for n in earlier]

    def prepare(self, images, sizes=None):
        """What is done once for images that are looked at several times.

        Args:
            images: As for the call.
            sizes: `None`, or the sizes of images that are padded. See
                `GlimpseSensor`.
        """
        return self.sensor.prepare(images, sizes)

    def call(self, images, states, training=False, rows=None, noise=None, detach=False):
        prepared = images if isinstance(images, dict) else self.prepare(images)
        location, states, *earlier = states
        patches = self._brighten(self.see(prepared, location, earlier, rows))
        glimpse = self.net(patches, self._where(prepared, location, rows))  # (B, G)
        hidden_state, states = self.core(glimpse, states)  # (B, h)
        if not keras.tree.is_nested(states):  # which Keras allows to a cell
            states = [states]
        decided_on = ops.stop_gradient(hidden_state) if detach else hidden_state
        seen_from = {}
        if self.sampler.relative:
            seen_from = {"origin": location, "reach": self._reach(prepared, rows)}
        look = self.sampler(decided_on, training=training, noise=noise, **seen_from)
        found = {
            "hidden_state": hidden_state,
            "location": location,
            "mean": look["mean"],
            "log_prob": look["log_prob"],
        }
        return found, [look["location"], states, *self.remember(earlier, location)]

    def see(self, prepared, location, earlier=(), rows=None):
        """What the retina shows, in [0, 1], of shape `(batch, k, w, w, channels)`.

        Args:
            prepared: What `prepare` returned.
            location, rows: As for the call.
            earlier: List, what comes third in the states, if there is such.
        """
        dtype = keras.backend.standardize_dtype(prepared["images"].dtype)
        unit = 255 if keras.backend.is_int_dtype(dtype) else 1
        patches = self.sensor.look(prepared, location, rows) / unit
        for places in earlier:
            places = ops.reshape(places, (-1, self.inhibition_of_return, 2))
            size = self.sensor.size(prepared, rows)
            left = ops.expand_dims(unseen(self.sensor, size, location, places), -1)
            patches = patches * ops.cast(left, patches.dtype)
        return patches

    def remember(self, earlier, location):
        """What is `earlier` after a glimpse at this location."""
        return [ops.concatenate([e[:, 2:], location], axis=1) for e in earlier]

    def _brighten(self, patches):
        """Patches of which those that see a share are lit up."""
        if not self.sensor.shares:
            return patches
        scales, shares = ops.split(patches, [len(self.sensor.scales)], axis=1)
        # Of no image at all there is no brightest cell, and black stays black.
        brightest = ops.max(shares, axis=(2, 3, 4), keepdims=True, initial=1e-4)
        return ops.concatenate([scales, shares / brightest], axis=1)

    def _where(self, prepared, location, rows):
        """The place, `(batch, 2)`, or with the size of the image, `(batch, 4)`."""
        if not self.sensor.shares:
            return location
        size = ops.reshape(self.sensor.size(prepared, rows), (-1, 2))
        size = ops.log(size / 100) + ops.zeros_like(location)
        return ops.concatenate([location, size], axis=1)

    def _reach(self, prepared, rows):
        """How far the widest patch sees from its centre: `(1 or batch, 2)`."""
        size = ops.reshape(self.sensor.size(prepared, rows), (-1, 2))
        side = self.sensor.patch_size * max(self.sensor.scales, default=0)
        reach = ops.maximum(side / size, max(self.sensor.shares, default=0))
        return ops.flip(reach, axis=1)  # x before y

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        config = {
            "sensor": serialize(self.sensor),
            "net": serialize(self.net),
            "core": serialize(self.core),
            "sampler": serialize(self.sampler),
            "inhibition_of_return": self.inhibition_of_return,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("sensor", "net", "core", "sampler")
        }
        return cls(**{**config, **parts})
