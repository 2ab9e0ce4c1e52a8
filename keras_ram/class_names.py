"""What the classes are called: given, or taken from the data."""

import functools
import warnings

from keras_ram.trainers import Trainer
from keras_ram.validation import check_names


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
