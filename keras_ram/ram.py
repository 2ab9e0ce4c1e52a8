"""The Recurrent Attention Model: the parts, and how they see an image together."""

import keras
from keras import ops

from keras_ram.core import make_core, reset_dropout_masks
from keras_ram.glimpse_net import GlimpseNet
from keras_ram.glimpse_sensor import GlimpseSensor
from keras_ram.location_sampler import LocationSampler
from keras_ram.presets import PRESETS, load
from keras_ram.serving import Server
from keras_ram.trainers import Trainer
from keras_ram.validation import check_integer, check_positive

# That can be frozen. The config of the core has its own word for it.
PARTS = ("glimpse_net", "location_sampler", "classifier", "baseline")


@keras.saving.register_keras_serializable("keras_ram")
class RAM(Trainer):
    """The Recurrent Attention Model, a classifier that looks through glimpses.

    At each of `num_glimpses` steps the model sees only patches of the image
    around a location. A recurrent core remembers what was seen, and decides
    where to look next. After the last glimpse it guesses the class. Neither
    the number of weights nor the number of glimpses depends on the size of the
    image, and one model takes images of any size.

    The constructor holds the architecture, `compile` the learning rule.

    Args:
        num_classes: Int, at least 2.
        num_glimpses: Int, at least 1. The first is taken at the initial
            location; the model decides on the others.
        patch_size: Int. Cells along a side of a patch. See `GlimpseSensor`.
        scales: Positive numbers, the resolutions. See `GlimpseSensor`.
        core: `"rnn"` (rectified units, as in the paper), `"lstm"`, `"gru"`, or
            any Keras RNN cell.
        core_units: Int, size of the hidden state of a core given by name.
        glimpse_units, what_units, where_units, filters: See `GlimpseNet`;
            `filters` adds convolutions.
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
        **kwargs: `name`, `dtype`.

    Call arguments:
        images: Tensor of shape `(batch, height, width, channels)`: floats in
            [0, 1], or integers in [0, 255], which the model scales.
        training: Bool. If true, locations are sampled; if false, they are the
            means of the policy, and nothing is random.
        return_rollout: Bool. Return all that `rollout` returns.

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
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = check_integer("num_classes", num_classes, least=2)
        self.num_glimpses = check_integer("num_glimpses", num_glimpses)
        check_positive("location_stddev", location_stddev)
        policy = self.dtype_policy
        self.glimpse_sensor = GlimpseSensor(patch_size, scales, dtype=policy)
        self.glimpse_net = GlimpseNet(
            glimpse_units, what_units, where_units, filters, dtype=policy
        )
        self.core = make_core(core, core_units, policy)
        self.location_sampler = LocationSampler(
            location_stddev, location_units, initial_location, location_step, seed
        )
        # Probabilities and rewards need float32 under half precision as well.
        self.classifier = keras.layers.Dense(
            self.num_classes, dtype="float32", name="classifier"
        )
        self.baseline = keras.layers.Dense(1, dtype="float32", name="baseline")
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        if input_shape[-1] is None:
            raise ValueError(
                "The number of channels must be known. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: input_shape[-1]})
        locations_shape = (None, 2)
        self.glimpse_sensor.build(input_shape, locations_shape)
        self.glimpse_net.build(
            self.glimpse_sensor.compute_output_shape(input_shape, locations_shape),
            locations_shape,
        )
        if not self.core.built:  # a cell from a config comes with its weights
            self.core.build((None, self.glimpse_net.units))
        output_size = getattr(self.core, "output_size", None)
        hidden_shape = (
            None,
            output_size or keras.tree.flatten(self.core.state_size)[0],
        )
        for head in (self.location_sampler, self.classifier, self.baseline):
            head.build(hidden_shape)

    def call(self, images, training=False, return_rollout=False):
        dtype = keras.backend.standardize_dtype(images.dtype)
        unit = 255 if keras.backend.is_int_dtype(dtype) else 1
        batch_size = ops.shape(images)[0]
        location = self.location_sampler.first(batch_size, training)  # (B, 2)
        states = keras.layers.RNN(self.core).get_initial_state(batch_size)
        locations, means, log_probs, hidden_states = [], [], [], []
        for step in range(self.num_glimpses):
            patches = self.glimpse_sensor(images, location) / unit  # (B, k, w, w, C)
            glimpse = self.glimpse_net(patches, location)  # (B, G)
            hidden_state, states = self.core(glimpse, states)  # (B, h)
            if not keras.tree.is_nested(states):  # which Keras allows to a cell
                states = [states]
            locations.append(location)
            hidden_states.append(hidden_state)
            if step < self.num_glimpses - 1:
                if self.rule.learning == "hybrid":
                    # The reward trains the location network alone.
                    hidden_state = ops.stop_gradient(hidden_state)
                look = self.location_sampler(hidden_state, training=training)
                location = look["location"]
                means.append(look["mean"])
                log_probs.append(look["log_prob"])
        reset_dropout_masks(self.core)
        if not return_rollout:
            return self.classifier(hidden_state)  # (B, K)
        hidden_states = ops.stack(hidden_states, axis=1)  # (B, T, h)
        return {
            "locations": ops.stack(locations, axis=1),
            "location_means": (
                ops.stack(means, axis=1)
                if means
                else ops.zeros((batch_size, 0, 2), dtype="float32")
            ),
            "location_log_probs": (
                ops.stack(log_probs, axis=1)
                if log_probs
                else ops.zeros((batch_size, 0), dtype="float32")
            ),
            "logits": self.classifier(hidden_states),
            # The error of the baseline is not the hidden state's to reduce.
            "baselines": self.baseline(ops.stop_gradient(hidden_states))[..., 0],
        }

    def rollout(self, images, training=False):
        """Looks at images, and tells everything about it.

        Args:
            images: As for calling the model, `(batch, height, width,
                channels)`.
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
        """
        return self(images, training=training, return_rollout=True)

    @classmethod
    def from_preset(cls, preset):
        """Loads a pretrained classifier.

        Args:
            preset: A name from `RAM.presets`, or the path of a `.keras` file.

        Returns:
            A `RAM`. Presets are not compiled: `compile` before `evaluate` and
            `fit`; `predict` and `rollout` work at once.

        Raises:
            ValueError: If there is no such preset or file, if it is damaged,
                or if it holds another model.
        """
        model = load(preset)
        if not isinstance(model, cls):
            raise ValueError(
                f"{preset} holds no {cls.__name__}. Received: {type(model).__name__}"
            )
        return model

    def export(
        self,
        filepath,
        format="tf_saved_model",
        verbose=None,
        input_signature=None,
        **kwargs,
    ):
        """Keras's own export, with the outputs of `keras_ram.export`.

        The artifact takes `images`, float32, of any batch size, height and
        width, and gives `logits`, `probabilities` and `locations`: on
        TensorFlow in every format, on JAX in `"tf_saved_model"`.

        Args:
            filepath, format, verbose, input_signature, **kwargs: As in Keras.
        """
        server = Server(self)
        signature = input_signature or server.signature()
        server.export(str(filepath), format, verbose, signature, **kwargs)

    def quantize(self, *args, **kwargs):
        # A file of it could not be loaded: the config does not know of it.
        raise NotImplementedError(
            "RAM is not quantized in place. Export it, and quantize the ONNX file."
        )

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_classes)

    def compute_output_spec(self, images, training=False, return_rollout=False):
        if return_rollout:
            return keras.Operation.compute_output_spec(
                self, images, training=training, return_rollout=True
            )
        shape = self.compute_output_shape(images.shape)
        return keras.KerasTensor(shape, dtype="float32")

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        frozen = config.pop("frozen", ())  # older files do not have it
        model = super().from_config(config)
        for part in frozen:
            getattr(model, part).trainable = False
        return model

    def get_config(self):
        sensor, net = self.glimpse_sensor, self.glimpse_net
        sampler = self.location_sampler
        config = {
            "num_classes": self.num_classes,
            "num_glimpses": self.num_glimpses,
            "patch_size": sensor.patch_size,
            "scales": sensor.scales,
            "core": keras.saving.serialize_keras_object(self.core),
            "glimpse_units": net.units,
            "what_units": net.what_units,
            "where_units": net.where_units,
            "filters": net.filters,
            "location_units": sampler.hidden_units,
            "location_stddev": sampler.stddev,
            "initial_location": sampler.initial_location,
            "location_step": sampler.step,
            "seed": sampler.seed,
            "frozen": [part for part in PARTS if not getattr(self, part).trainable],
        }
        return {**super().get_config(), **config}
