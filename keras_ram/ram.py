"""The Recurrent Attention Model: its parts, and its settings."""

import keras

from keras_ram.core import make_core
from keras_ram.field_of_view import warn_of_blindness
from keras_ram.glimpse_net import GlimpseNet
from keras_ram.glimpse_sensor import GlimpseSensor
from keras_ram.inhibition import check_coarser
from keras_ram.location_sampler import LocationSampler
from keras_ram.looking import Looking
from keras_ram.presets import PRESETS
from keras_ram.sizes import images_and_sizes
from keras_ram.validation import (
    check_choice,
    check_integer,
    check_positive,
    check_share,
    fixed,
)


@fixed("num_classes", "multi_label", "inhibition_of_return")
@keras.saving.register_keras_serializable("keras_ram")
class RAM(Looking):
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
        relative_locations: Bool. Whether the location network says where to look next
            from where it looks now, as far as its widest patch sees, instead of where
            in the image. What is learned on small images then holds on larger ones.
            Rounding grows from step to step then: see `location_step`.
        inhibition_of_return: Bool. Whether what the finest patches of earlier glimpses
            have seen is erased from coarser ones, so that these show what is left to
            be looked at. See `GlimpseCell`.
        stop_confidence: `None`, or the probability of a guess (of a set as a whole)
            from which on the model is sure at inference, and takes no more glimpses
            of that image. At 1 it never is.
        class_names: `None`, or a sequence of `num_classes` different strings, which
            pictures, `classify` and artifacts show. Without them `fit` takes those
            of the data, if they have an attribute of this name.
        multi_label: Bool. Whether an image may be of several classes at once, or of
            none. Labels are then sets, of shape `(batch, num_classes)`, 1 for each
            class that is there and 0 for the others. Each class has a probability of
            its own, and a guess is the set of those above one half; it is right as a
            whole or wrong.
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
        episodes: Int. With `return_rollout`, see `rollout`.

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
        multi_label=False,
        relative_locations=False,
        inhibition_of_return=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = check_integer("num_classes", num_classes, least=2)
        check_choice("multi_label", multi_label, (False, True))
        self.multi_label = bool(multi_label)
        self.num_glimpses = num_glimpses
        self.stop_confidence = stop_confidence
        self.class_names = class_names
        check_positive("location_stddev", location_stddev)
        policy = self.dtype_policy
        self.glimpse_sensor = GlimpseSensor(patch_size, scales, shares, dtype=policy)
        check_choice("inhibition_of_return", inhibition_of_return, (False, True))
        self.inhibition_of_return = bool(inhibition_of_return)
        if inhibition_of_return:
            check_coarser(self.glimpse_sensor)
        self.glimpse_net = GlimpseNet(
            glimpse_units, what_units, where_units, filters, backbone, dtype=policy
        )
        self.glimpse_net.check_patch_size(patch_size)
        self.core = make_core(core, core_units, policy)
        self.location_sampler = LocationSampler(
            location_stddev,
            location_units,
            initial_location,
            location_step,
            seed,
            relative_locations,
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

    def compute_output_shape(self, input_shape):
        input_shape, _ = images_and_sizes(input_shape)
        return (input_shape[0], self.num_classes)

    def compute_output_spec(
        self, images, training=False, return_rollout=False, episodes=1
    ):
        if return_rollout:
            options = {"training": training, "episodes": episodes}
            return keras.Operation.compute_output_spec(
                self, images, return_rollout=True, **options
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
            "multi_label": self.multi_label,
            "relative_locations": sampler.relative,
            "inhibition_of_return": self.inhibition_of_return,
        }
        return {**super().get_config(), **config}
