"""What the classes are called: given, taken from the data, and answered with."""

import functools
import itertools
import warnings

from keras import ops

from keras_ram import guesses
from keras_ram.trainers import Trainer
from keras_ram.validation import check_names
from keras_ram.watching import watch


class Named(Trainer):
    """A trained model whose classes may have names."""

    @property
    def class_names(self):
        """`None`, or a list of strings. May be set after training."""
        return self._class_names and list(self._class_names)

    @class_names.setter
    def class_names(self, names):
        if names is not None:
            names = check_names(names, self.num_classes)
        self._class_names = names

    @functools.wraps(Trainer.fit)
    def fit(self, x=None, *args, **kwargs):
        # As `keras.utils.image_dataset_from_directory` gives them.
        names = getattr(x, "class_names", None)
        if self.class_names is None:
            self.class_names = names
        elif names is not None and list(names) != self.class_names:
            warnings.warn(
                f"The classes of these data are {list(names)}, and the model calls "
                f"them {self.class_names}. Set `model.class_names` if that is wrong.",
                stacklevel=2,
            )
        return super().fit(x, *args, **kwargs)

    def classify(self, images):
        """Says what is in images, by name.

        Nothing is drawn at random, and no more is looked at than `stop_confidence`
        asks for.

        Args:
            images: As for calling the model.

        Returns:
            A list with a dict for each image:

            - `"class"`: the most probable one, by its name, or as an int if the
              model has no `class_names`. Of a model with `multi_label` it is
              `"classes"`, a list of those with a probability above one half.
            - `"probability"`: float, of this class, or of the whole set.
            - `"probabilities"`: dict from each class to its probability.
            - `"locations"`: array of shape `(glimpses, 2)`: where it looked, of
              the glimpses that it took.

        Raises:
            ValueError: If images do not fit the model.

        Example:

        >>> model = keras_ram.RAM(num_classes=2, class_names=["cat", "dog"])
        >>> (answer,) = model.classify(np.zeros((1, 28, 28, 1)))
        >>> answer["class"] in ("cat", "dog"), answer["locations"].shape
        (True, (6, 2))
        """
        seen = watch(self.decide, images)
        names = self.class_names or range(self.num_classes)
        logits = seen["logits"][:, -1]
        columns = (
            guesses.best_guess(logits, self.multi_label),
            guesses.confidence(logits, self.multi_label),
            guesses.probabilities(logits, self.multi_label),
            seen["locations"],
            seen["num_glimpses"],
        )
        answers = []
        for guess, confidence, row, locations, taken in zip(
            *map(ops.convert_to_numpy, columns), strict=True
        ):
            if self.multi_label:
                answer = {"classes": list(itertools.compress(names, guess))}
            else:
                answer = {"class": names[guess]}
            answers.append(
                {
                    **answer,
                    "probability": float(confidence),
                    "probabilities": dict(zip(names, row.tolist(), strict=True)),
                    "locations": locations[:taken],
                }
            )
        return answers
