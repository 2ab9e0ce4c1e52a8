"""How a model is kept: presets, files, artifacts, and what is frozen in it."""

import warnings
from pathlib import Path

import keras

from keras_ram.class_names import Named
from keras_ram.presets import load
from keras_ram.server import Server, write_assets
from keras_ram.validation import check_names

# That can be frozen. The config of the core has its own word for it.
PARTS = ("glimpse_net", "location_sampler", "classifier", "baseline")
NOT_QUANTIZED = (
    "RAM is not quantized in place: a file of it could not be loaded. Export it, and "
    "quantize the ONNX file; examples/serving.md says how."
)


class Persistent(Named):
    """A trained model that comes from files and goes into them."""

    _frozen_weights = (), None

    @classmethod
    def from_preset(cls, preset, num_classes=None, class_names=None, multi_label=None):
        """Loads a pretrained classifier.

        Args:
            preset: A name from `RAM.presets`, or the path of a `.keras` file.
            num_classes: `None`, or an int. With another number than the preset's it
                comes with a new classifier on all the rest, which is to be trained,
                and looks at all glimpses.
            class_names: `None`, or a sequence of strings, the names of the classes.
                They tell `num_classes` as well.
            multi_label: `None`, or a bool. With another than the preset's there is
                a new classifier as well.

        Returns:
            A `RAM`. Presets are not compiled: `compile` before `evaluate` and
            `fit`; `predict` and `rollout` work at once.

        Raises:
            ValueError: If there is no such preset or file, if it is damaged,
                if it holds another model, or if names and number do not agree.

        Example:

        >>> model = keras_ram.RAM.from_preset("ram_mnist", class_names=["odd", "even"])
        >>> tuple(model(np.zeros((1, 28, 28, 1))).shape)
        (1, 2)
        """
        if class_names is not None:
            class_names = check_names(class_names, num_classes)
            num_classes = len(class_names)
        model = load(preset)
        if not isinstance(model, cls):
            raise ValueError(
                f"{preset} holds no {cls.__name__}. Received: {type(model).__name__}"
            )
        asked = {"num_classes": num_classes, "multi_label": multi_label}
        asked = {name: value for name, value in asked.items() if value is not None}
        if any(value != getattr(model, name) for name, value in asked.items()):
            model = _with_new_classifier(model, asked)
        if class_names is not None:
            model.class_names = class_names
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
        width, and gives what the artifacts of `keras_ram.export` give: on
        TensorFlow in every format, on JAX in `"tf_saved_model"`. A SavedModel
        holds the names of the classes in `assets/labels.txt`, and what else there is
        to know, as the metadata of an ONNX file tell it, in `assets/model.json`.

        Args:
            filepath, format, verbose, input_signature, **kwargs: As in Keras.
        """
        server = Server(self)
        signature = input_signature or server.signature()
        if keras.backend.backend() == "jax" and format == "tf_saved_model":
            # JAX has no gradient of a loop that may end at any step.
            kwargs = {"jax2tf_kwargs": {"with_gradient": False}, **kwargs}
        server.export(str(filepath), format, verbose, signature, **kwargs)
        if format == "tf_saved_model":
            write_assets(self, Path(filepath, "assets"))

    def quantize(self, *args, **kwargs):
        # A file of it could not be loaded: the config does not know of it.
        raise NotImplementedError(NOT_QUANTIZED)

    def save(self, filepath, *args, **kwargs):
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                "RAM is saved as a `.keras` file; Keras's older format cannot hold a "
                f"subclassed model. Received: filepath={filepath}"
            )
        if self.built and self.compiled and not self.optimizer.built:
            self.build_optimizer()  # as a loaded model does
        return super().save(filepath, *args, **kwargs)

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        parts = config.pop("frozen", ())  # older files do not have these
        image_sizes = config.pop("image_sizes", None)
        weights = config.pop("frozen_weights", ())
        number = config.pop("number_of_weights", None)
        model = super().from_config(config)
        for part in parts:
            getattr(model, part).trainable = False
        model._frozen_weights = weights, number  # which are made by `build`
        model.image_sizes = image_sizes and tuple(map(tuple, image_sizes))
        return model

    def freeze_as_saved(self):
        """Freezes the weights, just made, that were frozen in the file."""
        frozen, number = self._frozen_weights
        self._frozen_weights = (), None
        if number in (None, len(self.weights)):
            learned = [layer for layer in _layers(self)[1:] if layer.trainable_weights]
            for index in frozen:
                self.weights[index].trainable = False
            for layer in learned:  # a batch normalization asks for its own flag
                if not layer.trainable_weights:
                    layer.trainable = False
        elif len(frozen) > sum(not weight.trainable for weight in self.weights):
            warnings.warn(
                "This config comes from a model of other weights, some of which were "
                "frozen. Only whole parts are frozen here: "
                f"{[part for part in PARTS if not getattr(self, part).trainable]}.",
                stacklevel=2,
            )

    def get_config(self):
        for layer in _layers(self):
            if getattr(layer, "quantization_mode", None):
                raise ValueError(f"{NOT_QUANTIZED} Received: a quantized {layer.name}.")
        # A file holds the adapters of LoRA merged, and before `build` some are missing.
        weights = [w for w in self.weights if not w.name.startswith("lora_")]
        weights = weights if self.built else []
        config = {
            "frozen": [part for part in PARTS if not getattr(self, part).trainable],
            "frozen_weights": [
                index for index, weight in enumerate(weights) if not weight.trainable
            ],
            "number_of_weights": len(weights),
            "image_sizes": self.image_sizes,
        }
        return {**super().get_config(), **config}


def _layers(layer):
    """A layer and all in it, at any depth. Keras has no public way (3.15)."""
    return layer._flatten_layers()


def _with_new_classifier(model, asked):
    if not model.built:
        raise ValueError(
            "The model has no weights yet, and so none that a new classifier could "
            "stand on. Call it on a batch of images, or `fit` it, and save it then."
        )
    of_the_old = dict.fromkeys(("stop_confidence", "class_names", "image_sizes"))
    # It has everything to learn, even in a model that was frozen as a whole.
    learns = {**of_the_old, "trainable": True}
    fresh = type(model).from_config({**model.get_config(), **learns, **asked})
    fresh.build((None, None, None, model.input_spec.axes[-1]))
    fresh.classifier.trainable = True
    for part in ("glimpse_net", "core", "location_sampler", "baseline"):
        old_and_new = (_layers(getattr(each, part)) for each in (model, fresh))
        for old, new in zip(*old_and_new, strict=True):
            kept = {}  # as in a file: `Normalization` makes more of its weights
            old.save_own_variables(kept)
            new.load_own_variables(kept)
    return fresh
