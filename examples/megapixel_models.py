"""The model of `megapixel.py`, and how well it does."""

import keras
import numpy as np
from finding import convolve, look_near, places
from keras import layers
from megapixel_data import SIDE

import keras_ram
from keras_ram import drawing
from keras_ram.watching import watch

NEAR = 8  # pixels from its centre, where one is on a digit
PATCH = 32  # cells along a side
STEP = 1500 / 256  # 3 pixels
# Pixels a cell: what a digit is; where exactly; where nearby; and as far as it may go.
SCALES = (0.75, 3, 12, 32)


def make_backbone():
    """Looks at a patch of any scale: what it shows, and where.

    The larger a cell, the less of it does a digit fill. So the patch enters as it is,
    6 times and 20 times as bright. What is somewhere counts more or less with where.
    """
    patch = keras.Input((PATCH, PATCH, 1))
    bright = [
        layers.ReLU(max_value=1.5)(layers.Rescaling(gain)(patch)) for gain in (6, 20)
    ]
    seen = layers.Concatenate()([patch, *bright])

    fine = convolve(seen, 24, 4, 2)
    coarse = convolve(convolve(fine, 32, 3, 2), 32, 3, 1)
    what = layers.Flatten()(convolve(coarse, 32, 3, 2))
    where = [places(coarse, 24), places(fine, 16)]
    return keras.Model(patch, layers.Concatenate()([what, *where]))


def tell_places_apart(model, seed):
    """Lets what a new model knows of its place change all over the image.

    With biases of 0 its units bend at the centre alone, and a way that turns every
    few hundred pixels is learned slowly.
    """
    rng = np.random.default_rng(seed)
    ways = rng.uniform(0, 2 * np.pi, model.glimpse_net.where_units)
    kernel = 4 * np.stack([np.cos(ways), np.sin(ways)])
    bias = 4 * rng.uniform(-1.2, 1.2, len(ways))
    model.glimpse_net.where.set_weights([kernel, bias])


def make(options):
    """The model, new, or with the weights of an earlier run."""
    begun = keras.saving.load_model(options.begin) if options.begin else None
    model = keras_ram.RAM(
        10,
        options.glimpses,
        PATCH,
        SCALES,
        core="lstm",
        core_units=160,
        glimpse_units=160,
        where_units=128,
        location_units=128,
        initial_location="center",
        location_step=STEP / options.size,  # all runtimes look at the same places
        relative_locations=True,
        inhibition_of_return=True,
        backbone=make_backbone(),
        seed=options.seed,
        multi_label=options.task == "multi",
    )
    model.build((None, options.size, options.size, 1))
    look_near(model)
    tell_places_apart(model, options.seed)
    if begun:
        model.set_weights(begun.get_weights())
    return model


def judge(model, canvases, number=None):
    """How often it is right after each glimpse, and how many digits it came near to.

    Args:
        model: A RAM.
        canvases: `Megapixels`.
        number: `None`, or an int: of the first canvases alone.

    Returns:
        Dict of floats, and one list of them.
    """
    number = number or canvases.count
    right, found = [], []
    for index in range(-(-number // canvases.batch_size)):
        images, labels = canvases[index]
        look = watch(model.rollout, images)
        logits, locations = look["logits"], look["locations"]
        if model.multi_label:
            right.append(((logits > 0) == labels[:, None]).all(axis=-1))
        else:
            right.append(logits.argmax(axis=-1) == labels[:, None])
        corners = canvases.places(index)[:, None]  # (B, 1, 5, 2)
        pixels = (locations[:, :, None, ::-1] + 1) / 2 * canvases.size
        ways = np.linalg.norm(pixels - SIDE / 2 - corners, axis=-1)  # (B, T, 5)
        found.append((ways < NEAR).any(axis=1))
    right, found = np.concatenate(right), np.concatenate(found)
    return {
        "accuracy": float(right[:, -1].mean()),
        "accuracy_after": right.mean(axis=0).tolist(),
        "digits_found": float(found.mean()),
        "all_found": float(found.all(axis=1).mean()),
    }


def looked_at(model, size):
    """The share of pixels that lie under the finest patches, at most."""
    side = model.glimpse_sensor.patch_size * min(model.glimpse_sensor.scales)
    return model.num_glimpses * side**2 / size**2


def draw(model, canvas, label):
    """Draws a canvas with its glimpses, and what each saw in its finest patch.

    Args:
        model: A RAM.
        canvas: Uint8 array of shape `(size, size, 1)`.
        label: Int, its class.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    pyplot = drawing.import_pyplot()
    seen = drawing.look(model, canvas[None], [label])
    steps, columns = seen.taken[0], 3
    figure = pyplot.figure(figsize=(10.4, 8), layout="constrained")
    grid = figure.add_gridspec(
        -(-steps // columns), columns + 1, width_ratios=[8, 1, 1, 1]
    )
    axis = figure.add_subplot(grid[:, 0])
    axis.imshow(seen.images[0], **drawing.SHADES)
    drawing.draw_path(axis, seen, 0, steps, 7.5)
    axis.set_axis_off()
    for step in range(steps):
        axis = figure.add_subplot(grid[step // columns, 1 + step % columns])
        axis.imshow(seen.patches[0, step, 0], **drawing.SHADES)
        text, colour = seen.guess(0, step)
        axis.set_title(text, fontsize=8, color=colour)
        axis.set_axis_off()
    return figure
