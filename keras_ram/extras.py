"""Optional dependencies, which the extras of `setup.cfg` bring."""

import contextlib


@contextlib.contextmanager
def extra(name):
    """Around imports: what is missing is told with the extra that brings it.

    Args:
        name: String, an extra of `setup.cfg`.

    Raises:
        ModuleNotFoundError: If a module that is imported inside is missing.

    Example:

    >>> with extra("plot"):  # doctest: +NORMALIZE_WHITESPACE
    ...     import matplotlib_of_tomorrow
    Traceback (most recent call last):
    ModuleNotFoundError: No module named 'matplotlib_of_tomorrow'. Install it
    with `pip install 'keras_ram[plot]'`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error}. Install it with `pip install 'keras_ram[{name}]'`.",
            name=error.name,
        ) from error
