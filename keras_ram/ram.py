"""The Recurrent Attention Model: the parts, and how they see an image together."""

import warnings

import keras
from keras import ops

from keras_ram.core import draw_dropout_masks, make_core, reset_dropout_masks
from keras_ram.field_of_view import warn_of_blindness
from keras_ram.glimpse_cell import GlimpseCell
from keras_ram.glimpse_net import GlimpseNet
from keras_ram.glimpse_sensor import GlimpseSensor
from keras_ram.inputs import check_images, is_symbolic, read
from keras_ram.location_sampler import LocationSampler
from keras_ram.loops import scan
from keras_ram.persistence import Persistent
from keras_ram.presets import PRESETS
from keras_ram.sizes import images_and_sizes
from keras_ram.stopping import look_until_sure, stop_when_sure
from keras_ram.validation import check_integer, check_positive, check_share, fixed


@fixed("num_classes")
@keras.saving.register_keras_serializable("keras_ram")
class RAM(Persistent):
    """The Recurrent Attention Model, a classifier that looks through glimpses.

    At each of `num_glimpses` steps the model sees only patches of the image
    around a location. A recurrent core remembers what was seen, and decides
    where to look next. After the last glimpse it guesses the class. Neither
    the number of weights nor the number of glimpses depends on the size of the
    image, and one model takes images of any size.

    The constructor holds the architecture, `compile` the learning rule; a bare
    `compile()` already trains well. `RAM.from_preset` loads a trained one of
    `RAM.presets`, and `keras_ram.plot_glimpses` shows where a model looked.

    Args:
        num_classes: Int, at least 2.
        num_glimpses: Int, at least 1. The first is taken at the initial
            location; the model decides on the others.
        patch_size: Int. Cells along a side of a patch. See `GlimpseSensor`.
        scales, shares: Positive numbers, the resolutions, in pixels a cell or as
            shares of the image. See `GlimpseSensor`; `retina` chooses patches for
            the size of the images.
        core: `"rnn"` (rectified units, as in the paper), `"lstm"`, `"gru"`, or
            any Keras RNN cell.
        core_units: Int, size of the hidden state of a core given by name.
        glimpse_units, what_units, where_units, filters, backbone: See
            `GlimpseNet`; `filters` adds convolutions, and `backbone` is any Keras
            model that looks at a patch.
        location_units: `None`, or the size of a hidden layer in the location
            network. See `LocationSampler`.
        location_stddev: Float, positive. Standard deviation of the sampled
            locations, where the image is 2 wide.
        initial_location: `"random"` or `"center"`: where the first glimpse of
            a training image is taken. At inference it is the centre.
        location_step: `None`, or a float in (0, 1] to whose multiples locations
            are rounded. See `LocationSampler`.
        seed: Int, for the locations and labels that the model draws. Initial
            weights follow `keras.utils.set_random_seed`.
        stop_confidence: `None`, or the probability of a guess from which on the
            model is sure at inference, and takes no more glimpses of that image.
        class_names: `None`, or a sequence of `num_classes` different strings, which
            pictures, `classify` and artifacts show. Without them `fit` takes those
            of the data, if they have an attribute of this name.
        **kwargs: `name`, `dtype`.

    Call arguments:
        images: Tensor of shape `(batch, height, width, channels)`: floats in
            [0, 1], or integers in [0, 255], which the model scales. Images of
            different sizes are a list of arrays `(height, width, channels)`, or a
            dict of padded images and their sizes, as `pad_images` makes it. The
            same goes for `fit`, `evaluate`, `predict`, and all that looks at images.
        training: Bool. If true, locations are sampled; if false, they are the
            means of the policy, and nothing is random.
        return_rollout: Bool. Return all that `rollout` returns, of all glimpses:
            nothing is stopped.

    Returns:
        Logits of the last guess, float32, of shape `(batch, num_classes)`.

    Raises:
        ValueError: If an argument is out of its range, or images do not fit.

    Example:

    >>> model = keras_ram.RAM(num_classes=10, num_glimpses=3, seed=1)
    >>> tuple(model(np.zeros((2, 28, 28, 1))).shape)
    (2, 10)
    >>> tuple(model.rollout(np.zeros((1, 60, 40, 1)))["locations"].shape)
    (1, 3, 2)

    Reference:

    - [Mnih et al., 2014](https://arxiv.org/abs/1406.6247)
    """

    presets = PRESETS

    def __init__(
        self,
        num_classes,
        num_glimpses=6,
        patch_size=8,
        scales=(1,),
        core="rnn",
        core_units=256,
        glimpse_units=256,
        what_units=128,
        where_units=128,
        filters=None,
        location_units=None,
        location_stddev=0.15,
        initial_location="random",
        location_step=None,
        seed=None,
        stop_confidence=None,
        class_names=None,
        backbone=None,
        shares=(),
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = check_integer("num_classes", num_classes, least=2)
        self.num_glimpses = num_glimpses
        self.stop_confidence = stop_confidence
        self.class_names = class_names
        check_positive("location_stddev", location_stddev)
        policy = self.dtype_policy
        self.glimpse_sensor = GlimpseSensor(patch_size, scales, shares, dtype=policy)
        self.glimpse_net = GlimpseNet(
            glimpse_units, what_units, where_units, filters, backbone, dtype=policy
        )
        self.glimpse_net.feature_size(patch_size)  # or the filters do not fit
        self.core = make_core(core, core_units, policy)
        self.location_sampler = LocationSampler(
            location_stddev, location_units, initial_location, location_step, seed
        )
        # Probabilities and rewards need float32 under half precision as well.
        self.classifier = keras.layers.Dense(
            self.num_classes, dtype="float32", name="classifier"
        )
        self.baseline = keras.layers.Dense(1, dtype="float32", name="baseline")
        # By this name Keras finds them in a dict of images and sizes.
        self.input_spec = keras.layers.InputSpec(ndim=4, name="images")

    @property
    def num_glimpses(self):
        """Int, the most glimpses of an image. May be changed after training."""
        return self._num_glimpses

    @num_glimpses.setter
    def num_glimpses(self, value):
        self._num_glimpses = check_integer("num_glimpses", value)
        self.compile_anew()

    @property
    def stop_confidence(self):
        """`None`, or a probability. May be changed after training."""
        return self._stop_confidence

    @stop_confidence.setter
    def stop_confidence(self, value):
        if value is not None:
            check_share("stop_confidence", value)
        self._stop_confidence = value
        self.compile_anew()

    def build(self, input_shape):
        input_shape, _ = images_and_sizes(input_shape)
        if input_shape[-1] is None:
            raise ValueError(
                "The number of channels must be known. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(
            ndim=4, axes={-1: input_shape[-1]}, name="images"
        )
        warn_of_blindness(self.num_glimpses, self.glimpse_sensor, *input_shape[1:3])
        cell = self.glimpse_cell()
        cell.build(input_shape)
        for head in (self.classifier, self.baseline):
            head.build((None, cell.output_size))
        self.freeze_as_saved()

    def glimpse_cell(self):
        """One step of attention: a `GlimpseCell` of the parts of this model."""
        return GlimpseCell(
            self.glimpse_sensor,
            self.glimpse_net,
            self.core,
            self.location_sampler,
            dtype=self.dtype_policy,
        )

    def __call__(self, images, *args, **kwargs):
        return super().__call__(self._read(images), *args, **kwargs)

    def _read(self, images):
        images = read(images)
        nothing = getattr(images, "shape", ())[:1] == (0,)
        if not (nothing or is_symbolic(images)):
            check_images(images, self.input_spec.axes[-1] if self.built else None)
        return images

    def call(self, images, training=False, return_rollout=False):
        if return_rollout:
            return self._rollout(images, training)
        if training:
            warnings.warn(
                "RAM was called for training, but not by its own `fit`. Nothing that "
                "follows trains its location network, which learns from rewards. Put "
                "what comes before it, such as scaling and augmentation, into a "
                "`tf.data` pipeline, and compile and fit the RAM itself.",
                stacklevel=2,
            )
        if training or self.stop_confidence is None:
            hidden_states = self._look(images, training)["hidden_state"]
            return self.classifier(hidden_states[:, -1])  # (B, K)
        return self._decide(images)["logits"][:, -1]

    def _look(self, images, training):
        """All glimpses: what the cell found, each value `(batch, T, ...)`."""
        cell = self.glimpse_cell()
        images = cell.prepare(*images_and_sizes(images))
        batch_size = ops.shape(images["images"])[0]
        states = cell.get_initial_state(batch_size, training)
        noise = None
        if training:
            noise = self.location_sampler.noise((self.num_glimpses, batch_size))
            draw_dropout_masks(
                self.core, ops.zeros((batch_size, self.glimpse_net.units)), states[1]
            )
        # In hybrid learning the reward trains the location network alone.
        options = {"training": training, "detach": self.rule.learning == "hybrid"}
        seen = scan(
            lambda states, noise: cell(images, states, noise=noise, **options),
            states,
            noise,
            self.num_glimpses,
            # Some layers change their own state at each glimpse: batch
            # normalization, or dropout. JAX lets none change within a loop.
            loop=not (training and self.glimpse_net.backbone),
        )
        reset_dropout_masks(self.core)
        return seen

    def _rollout(self, images, training):
        seen = self._look(images, training)
        hidden_states = seen["hidden_state"]  # (B, T, h)
        return {
            "locations": seen["location"],
            # Nobody looks where the last one points.
            "location_means": seen["mean"][:, :-1],
            "location_log_probs": seen["log_prob"][:, :-1],
            "logits": self.classifier(hidden_states),
            # The error of the baseline is not the hidden state's to reduce.
            "baselines": self.baseline(ops.stop_gradient(hidden_states))[..., 0],
        }

    def decide(self, images):
        """Looks at images until a guess is sure, and no longer.

        The same as `rollout` tells, but for the work.

        Args:
            images: As for calling the model.

        Returns:
            A dict of `"logits"`, `"locations"` and `"num_glimpses"`, as in
            `rollout`.
        """
        images = self._read(images)
        return self._decide(keras.tree.map_structure(ops.convert_to_tensor, images))

    def _decide(self, images):
        cell = self.glimpse_cell()
        images = cell.prepare(*images_and_sizes(images))
        return look_until_sure(
            lambda states, rows: cell(images, states, rows=rows),
            self.classifier,
            cell.get_initial_state(ops.shape(images["images"])[0]),
            self.stop_confidence,
            self.num_glimpses,
            shrink=keras.backend.backend() != "jax" and not self.jit_compile,
        )

    def rollout(self, images, training=False):
        """Looks at images, and tells everything about it.

        Args:
            images: As for calling the model.
            training: Bool. If true, locations are sampled.

        Returns:
            A dict of float32 tensors, where T is `num_glimpses`:

            - `"locations"`: `(batch, T, 2)`, `(x, y)` in [-1, 1].
            - `"location_means"`: `(batch, T - 1, 2)`, of the policy, for the
              locations that it chose: all but the first.
            - `"location_log_probs"`: `(batch, T - 1)`, of the same.
            - `"logits"`: `(batch, T, num_classes)`, the guess after each
              glimpse.
            - `"baselines"`: `(batch, T)`, the return expected after each
              glimpse, if `compile` chose `baseline="learned"`.
            - `"num_glimpses"`: int32, `(batch,)`. All of them, or with
              `stop_confidence` those up to the first sure guess; locations and
              logits then repeat the last of them.
        """
        seen = self(images, training=training, return_rollout=True)
        return stop_when_sure(seen, None if training else self.stop_confidence)

    def compute_output_shape(self, input_shape):
        input_shape, _ = images_and_sizes(input_shape)
        return (input_shape[0], self.num_classes)

    def compute_output_spec(self, images, training=False, return_rollout=False):
        if return_rollout:
            return keras.Operation.compute_output_spec(
                self, images, training=training, return_rollout=True
            )
        images, _ = images_and_sizes(images)
        shape = self.compute_output_shape(images.shape)
        return keras.KerasTensor(shape, dtype="float32")

    def get_config(self):
        sensor, net = self.glimpse_sensor, self.glimpse_net
        sampler = self.location_sampler
        config = {
            "num_classes": self.num_classes,
            "num_glimpses": self.num_glimpses,
            "patch_size": sensor.patch_size,
            "scales": sensor.scales,
            "shares": sensor.shares,
            "core": keras.saving.serialize_keras_object(self.core),
            "glimpse_units": net.units,
            "what_units": net.what_units,
            "where_units": net.where_units,
            "filters": net.filters,
            "backbone": net.get_config()["backbone"],
            "location_units": sampler.hidden_units,
            "location_stddev": sampler.stddev,
            "initial_location": sampler.initial_location,
            "location_step": sampler.step,
            "seed": sampler.seed,
            "stop_confidence": self.stop_confidence,
            "class_names": self.class_names,
        }
        return {**super().get_config(), **config}
