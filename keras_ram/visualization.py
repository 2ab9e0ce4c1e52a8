"""Pictures of where the model looked."""

import keras
import numpy as np

from keras_ram.extras import extra
from keras_ram.inputs import check_images, check_labels


def plot_glimpses(model, images, labels=None, class_names=None):
    """Draws where the model looked, what it saw there, and what it guessed.

    One row for each image. On the left the image, with the path of the
    glimpses from the first (1) to the last, and a box for the finest patch of
    each. Then, for each glimpse, what the retina saw, one patch for each
    scale, and the guess after it.

    Args:
        model: A `keras_ram.RAM`.
        images: Array of shape `(n, height, width, channels)`, with 1 or 3
            channels, as for calling the model.
        labels: `None`, or ints of shape `(n,)`. Right guesses are then green
            and wrong ones red.
        class_names: `None`, or a sequence of strings.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig("glimpses.png")` writes
        it to a file.

    Raises:
        ValueError: If images, labels or names do not fit the model.

    Example:

    >>> model = keras_ram.RAM(num_classes=10, num_glimpses=3, scales=(1, 2))
    >>> images = np.random.default_rng(0).uniform(size=(4, 28, 28, 1))
    >>> figure = keras_ram.plot_glimpses(model, images)
    >>> len(figure.axes)
    16
    """
    with extra("plot"):
        from matplotlib.figure import Figure

    check_images(images)
    images = keras.ops.convert_to_numpy(images)
    if images.shape[-1] not in (1, 3):
        raise ValueError(
            f"Images must have 1 or 3 channels. Received: shape={images.shape}"
        )
    if labels is not None:
        labels = np.asarray(labels)
        check_labels(labels, len(images), model.num_classes)
        if labels.shape != images.shape[:1]:
            raise ValueError(
                "There must be one integer for each image. Received: labels.shape="
                f"{labels.shape} and {len(images)} images"
            )
        labels = labels.astype(int)
    names = range(model.num_classes) if class_names is None else class_names
    if len(names) != model.num_classes:
        raise ValueError(
            f"There must be {model.num_classes} names, one for each class. "
            f"Received: class_names={class_names}"
        )
    rollout = model.rollout(images)
    locations = keras.ops.convert_to_numpy(rollout["locations"])  # (N, T, 2)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(rollout["logits"]))
    patches = [
        keras.ops.convert_to_numpy(model.glimpse_sensor(images, locations[:, step]))
        for step in range(model.num_glimpses)
    ]
    shades = {"cmap": "gray", "vmin": 0, "vmax": 1}
    if np.issubdtype(images.dtype, np.integer):
        images, patches = images / 255, [step / 255 for step in patches]

    num_scales = len(model.glimpse_sensor.scales)
    widths = [1.3] + [0.15 + 0.85 * num_scales] * model.num_glimpses
    figure = Figure((1.2 * sum(widths), 1.5 * len(images)), 150, layout="constrained")
    axes = figure.subplots(len(images), len(widths), squeeze=False, width_ratios=widths)
    for axis in axes.flat:
        axis.set_axis_off()
    for i, row in enumerate(axes):
        row[0].imshow(images[i], **shades)
        _draw_path(row[0], locations[i], images[i].shape, model.glimpse_sensor)
        if labels is not None:
            row[0].set_title(f"image of {names[labels[i]]}", fontsize=8)
        for step, axis in enumerate(row[1:]):
            # Patches side by side, with a white line between them.
            frames = np.pad(
                np.clip(patches[step][i], 0, 1),  # the rounding of a mean
                ((0, 0), (0, 0), (0, 1), (0, 0)),
                constant_values=1,
            )
            axis.imshow(np.concatenate(frames, axis=1)[:, :-1], **shades)
            guess = probabilities[i, step].argmax()
            colour = "black"
            if labels is not None:
                colour = "green" if guess == labels[i] else "red"
            axis.set_title(
                f"{step + 1}: {names[guess]} ({probabilities[i, step, guess]:.0%})",
                fontsize=8,
                color=colour,
            )
    return figure


def _draw_path(axis, locations, image_shape, sensor):
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    height, width, _ = image_shape
    # `imshow` draws pixel p around p; to the sensor it covers [p, p + 1].
    centres = (locations + 1) / 2 * (width, height) - 0.5
    side = min(sensor.scales) * sensor.patch_size
    axis.plot(*centres.T, color="white", linewidth=1, alpha=0.8)
    colours = colormaps["autumn"](np.linspace(0, 1, len(centres)))
    for step, ((x, y), colour) in enumerate(zip(centres, colours, strict=True), 1):
        axis.add_patch(
            Rectangle((x - side / 2, y - side / 2), side, side, fill=False, ec=colour)
        )
        axis.text(x, y, step, color=colour, fontsize=7, ha="center", va="center")
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)
