"""Checks on what users pass, before anything is computed."""

import difflib
import inspect
import math
import numbers
from pathlib import Path

import keras
import numpy as np


def check_integer(name, value, least=1):
    """Raises `ValueError` unless `value` is an integer of at least `least`.

    Returns:
        The value as an int of Python, which every file format can hold.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(
            f"`{name}` must be an integer of at least {least}. Received: {name}={value}"
        )
    return int(value)


def check_positive(name, value):
    """Raises `ValueError` unless `value` is a positive, finite number.

    Returns:
        The value as a number of Python, which every file format can hold.
    """
    if not isinstance(value, numbers.Real) or not 0 < value < math.inf:
        raise ValueError(f"`{name}` must be positive. Received: {name}={value}")
    return value.item() if isinstance(value, np.generic) else value


def check_share(name, value):
    """Raises `ValueError` unless `value` is a number in [0, 1]."""
    if not isinstance(value, numbers.Real) or not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be in [0, 1]. Received: {name}={value}")


def check_names(names, num_classes=None):
    """Raises `ValueError` unless these are names of classes.

    Args:
        names: What was passed as `class_names`.
        num_classes: Int, how many there must be, or `None`.

    Returns:
        A list of Python's strings, which every file format can hold.
    """
    sequence = hasattr(names, "__getitem__") and not isinstance(names, (str, dict))
    given = list(names) if sequence else []
    # The artifacts hold one name a line.
    proper = given and all(isinstance(n, str) and n.splitlines() == [n] for n in given)
    if not proper or len(set(given)) < len(given):
        raise ValueError(
            "`class_names` must be a sequence of different strings, none of them empty "
            f"or of several lines. Received: class_names={names!r}"
        )
    if num_classes not in (None, len(given)):
        raise ValueError(
            f"`class_names` must hold {num_classes} names, one for each class. "
            f"Received: {len(given)}, class_names={names!r}"
        )
    return [str(name) for name in given]


def check_choice(name, value, choices):
    """Raises `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}. "
            f"Received: {name}={value!r}"
        )


def check_known(method, options, *functions):
    """Raises `TypeError` for an option that none of the functions takes.

    Args:
        method: String, the name that the user called.
        options: Dict of what was passed beside named arguments.
        functions: Functions whose named arguments are known.
    """
    known = {n for f in functions for n in inspect.signature(f).parameters}
    known -= {"self", "kwargs"}
    for name in options.keys() - known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        if name in inspect.signature(keras.optimizers.Adam).parameters:
            hint = " It belongs to the optimizer: `keras.optimizers.Adam(...)`."
        raise TypeError(
            f"`{method}` takes no argument `{name}`.{hint} "
            f"It takes {', '.join(sorted(known))}."
        )


def fixed(*names):
    """A class decorator: these attributes are set once, by the constructor.

    Weights were made for them, and functions compiled. A change would be ignored by
    what is compiled, and not by the rest.
    """

    def decorate(cls):
        set_attribute = cls.__setattr__

        def __setattr__(self, name, value):
            if name in names and name in vars(self):
                raise AttributeError(
                    f"`{name}` cannot be changed after {cls.__name__} was made. Make "
                    f"another one: `{cls.__name__}.from_config("
                    f"{{**this.get_config(), {name!r}: ...}})`. "
                    f"Received: {name}={value}"
                )
            set_attribute(self, name, value)

        cls.__setattr__ = __setattr__
        return cls

    return decorate


def check_file(name, path):
    """Raises `IsADirectoryError` if `path` is a folder."""
    if Path(path).is_dir():
        raise IsADirectoryError(f"`{name}` must be a file. Received: {name}={path}")


def check_shapes(**tensors):
    """Raises where broadcasting would quietly mix up the episodes.

    Each comes with its rank, as `name=(tensor, rank)`. Two tensors must agree on all
    the axes that both have. An axis unknown while tracing agrees with every size.
    """
    shapes = {name: tuple(tensor.shape) for name, (tensor, _) in tensors.items()}
    ranks = {name: rank for name, (_, rank) in tensors.items()}
    right_ranks = all(len(shapes[name]) == ranks[name] for name in shapes)
    if not right_ranks or any(
        len(set(sizes) - {None}) > 1
        for sizes in zip(*(shapes[name] for name in shapes), strict=False)
    ):
        expected = ", ".join(f"{name} of rank {rank}" for name, rank in ranks.items())
        received = ", ".join(f"{name}.shape={shape}" for name, shape in shapes.items())
        raise ValueError(
            f"Expected {expected}, with the same number of episodes (and of "
            f"decisions). Received: {received}"
        )
