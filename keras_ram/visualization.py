"""Pictures of where the model looked."""

import math

import numpy as np

from keras_ram.diagnosis import look_at_all
from keras_ram.drawing import (
    SHADES,
    draw_path,
    import_pyplot,
    look,
    side_by_side,
)
from keras_ram.inputs import check_images, read
from keras_ram.sizes import images_and_sizes, number_of
from keras_ram.validation import check_integer, check_positive

WIDEST = 16  # inches of a picture, before its glimpses go on in the next line
PATCH, LINE = 1.02, 1.5  # inches: a patch, and a line of them with their titles


def plot_glimpses(model, images, labels=None, class_names=None):
    """Draws where the model looked, what it saw there, and what it guessed.

    On the left each image, with the path of the glimpses from the first (1)
    to the last, and a box for the finest patch of each. Where a box is too
    small to be seen there is a ring around it. Then, for each glimpse, what
    the retina saw, one patch for each scale, and the guess after it. Many
    glimpses go on in further lines.

    Args:
        model: A `keras_ram.RAM`.
        images: Array of shape `(n, height, width, channels)`, with 1 or 3
            channels, or images of different sizes, as for calling the model.
        labels: `None`, or ints of shape `(n,)`, or `(n, num_classes)` with
            `multi_label`. Right guesses are then green and wrong ones red.
        class_names: `None`, or a sequence of strings in place of the model's own.

    Returns:
        A `matplotlib.figure.Figure`, which pyplot knows: `plt.show()` shows
        it, `figure.savefig("glimpses.png")` writes it to a file, and
        `plt.close(figure)` frees its memory.

    Raises:
        ImportError: If Matplotlib is not installed.
        ValueError: If images, labels or names do not fit the model.

    Example:

    >>> model = keras_ram.RAM(num_classes=10, num_glimpses=3, scales=(1, 2))
    >>> images = np.random.default_rng(0).uniform(size=(4, 28, 28, 1))
    >>> figure = keras_ram.plot_glimpses(model, images)
    >>> len(figure.axes)
    16
    """
    pyplot = import_pyplot()
    seen = look(model, images, labels, class_names)
    number, steps, scales = seen.patches.shape[:3]
    width = 0.18 + PATCH * scales
    lines = math.ceil(steps / max(1, int(WIDEST / width)))
    columns = math.ceil(steps / lines)
    side = 1.56 * lines  # of an image, in inches
    figure = pyplot.figure(
        figsize=(side + width * columns, LINE * lines * number),
        dpi=150,
        layout="constrained",
    )
    grid = figure.add_gridspec(
        number * lines, 1 + columns, width_ratios=[side] + [width] * columns
    )
    for i in range(number):
        top = i * lines
        axis = figure.add_subplot(grid[top : top + lines, 0])
        axis.imshow(seen.images[i], **SHADES)
        draw_path(axis, seen, i, seen.taken[i], side)
        if seen.labels is not None:
            axis.set_title(f"image of {seen.name(seen.labels[i])}", fontsize=8)
        for step in range(seen.taken[i]):
            line, column = divmod(step, columns)
            axis = figure.add_subplot(grid[top + line, 1 + column])
            axis.imshow(side_by_side(seen, i, step), **SHADES)
            text, colour = seen.guess(i, step)
            axis.set_title(text, fontsize=8, color=colour)
    for axis in figure.axes:
        axis.set_axis_off()
    return figure


def animate_glimpses(
    model, images, labels=None, class_names=None, seconds=0.7, columns=4
):
    """Draws the model looking, in motion.

    For each image: the boxes of the glimpses taken so far and their path,
    below it what the retina sees now, one patch for each scale, and above it
    the guess. The last glimpse stays three times as long.

    Args:
        model, images, labels, class_names: As for `plot_glimpses`.
        seconds: Float, how long a glimpse is shown.
        columns: Int, the number of images side by side.

    Returns:
        A `matplotlib.animation.Animation`. `save("look.gif",
        writer="pillow")` writes a GIF, `save("look.mp4")` a film if `ffmpeg`
        is installed. A notebook shows it, and so does `plt.show()`.

    Raises:
        ImportError: If Matplotlib is not installed.
        ValueError: If an argument is out of its range, or if images, labels or
            names do not fit the model.

    Example:

    >>> import os, tempfile
    >>> model = keras_ram.RAM(num_classes=10, num_glimpses=3, scales=(1, 2))
    >>> images = np.random.default_rng(0).uniform(size=(2, 28, 28, 1))
    >>> animation = keras_ram.animate_glimpses(model, images)
    >>> animation.save(os.path.join(tempfile.mkdtemp(), "look.gif"), writer="pillow")
    """
    pyplot = import_pyplot()
    from keras_ram.animation import Animation

    check_positive("seconds", seconds)
    check_integer("columns", columns)
    seen = look(model, images, labels, class_names)
    columns = min(columns, len(seen.images))
    rows = math.ceil(len(seen.images) / columns)
    figure = pyplot.figure(figsize=(2 * columns, 2.7 * rows), layout="constrained")
    return Animation(figure, seen, rows, columns, seconds)


def plot_location_map(model, images, batch_size=256, cells=32):
    """Draws where the model looks over a whole data set.

    A heat map for each glimpse: the share of the images of which the glimpse
    was taken in each cell. A policy that looks at the same places in every
    image shows as a few bright cells, one that is stuck as bright cells on the
    border.

    Args:
        model: A `keras_ram.RAM`.
        images: Array of shape `(n, height, width, channels)`, or images of different
            sizes, as for calling the model.
        batch_size: Int, the number of images looked at together.
        cells: Int, the number of cells along each side of a map.

    Returns:
        A `matplotlib.figure.Figure`, as from `plot_glimpses`.

    Raises:
        ImportError: If Matplotlib is not installed.
        ValueError: If an argument is out of its range, or images do not fit.

    Example:

    >>> model = keras_ram.RAM(num_classes=10, num_glimpses=3)
    >>> images = np.random.default_rng(0).uniform(size=(100, 28, 28, 1))
    >>> figure = keras_ram.plot_location_map(model, images)
    """
    pyplot = import_pyplot()
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm

    images = read(images)
    check_images(images)
    check_integer("cells", cells)
    check_integer("batch_size", batch_size)
    shares, taken = _location_shares(model, images, batch_size, cells)
    columns = min(len(shares), 8)
    rows = math.ceil(len(shares) / columns)
    figure, axes = pyplot.subplots(
        rows,
        columns,
        squeeze=False,
        figsize=(1.6 * columns + 0.8, 1.8 * rows),
        dpi=150,
        layout="constrained",
    )
    height, width = _mean_size(images)
    for axis in axes.flat:
        axis.set_axis_off()
    # A single image has to be seen on black.
    colours = ListedColormap(colormaps["inferno"](np.linspace(0.35, 1, 256)))
    heat = {
        "cmap": colours.with_extremes(bad="black"),
        "norm": LogNorm(1 / number_of(images), 1),  # from one image to all
        "extent": (0, width, height, 0),
    }
    for step, axis in enumerate(axes.flat[: len(shares)]):
        shown = axis.imshow(np.ma.masked_equal(shares[step], 0), **heat)
        share = "" if taken[step] == 1 else f" of {taken[step]:.0%}"
        axis.set_title(f"glimpse {step + 1}{share}", fontsize=8)
    bar = figure.colorbar(shown, ax=axes, format="{x:.1%}")
    bar.ax.tick_params(labelsize=7)
    return figure


def _mean_size(images):
    images, sizes = images_and_sizes(images)
    return images.shape[1:3] if sizes is None else np.mean(sizes, axis=0)


def _location_shares(model, images, batch_size, cells):
    """Shares of the images by cell, `(T, cells, cells)`, and that took a glimpse."""
    locations, taken = look_at_all(model, images, batch_size)
    shares = np.zeros((locations.shape[1], cells, cells))
    places = np.clip(((locations + 1) / 2 * cells).astype(int), 0, cells - 1)
    for step, share in enumerate(shares):
        x, y = places[taken > step, step].T
        np.add.at(share, (y, x), 1)
    steps = np.arange(locations.shape[1])
    return shares / number_of(images), np.mean(taken[:, None] > steps, axis=0)
