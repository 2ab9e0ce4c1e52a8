"""What pictures are made of: what a model saw, on the axes of Matplotlib."""

import dataclasses
import itertools
import math
import textwrap

import keras
import numpy as np

from keras_ram import guesses
from keras_ram.extras import extra
from keras_ram.inputs import check_images, read
from keras_ram.sizes import images_and_sizes
from keras_ram.targets import check_labels
from keras_ram.watching import watch

LONGEST_NAME = 16  # letters that fit above a patch
SHADES = {"cmap": "gray", "vmin": 0, "vmax": 1}
SMALLEST_BOX = 8  # points; around a smaller one there is a ring


def import_pyplot():
    """Pyplot, or an `ImportError` that names the extra."""
    with extra("plot"):
        from matplotlib import pyplot
    return pyplot


@dataclasses.dataclass
class Look:
    """What a model saw in some images.

    Attributes:
        images: A list of n arrays, floats in [0, 1], `(height, width, channels)`.
        locations: `(n, T, 2)`.
        guesses: Classes, `(n, T)`, or sets of them, `(n, T, num_classes)`.
        confidences: `(n, T)`, their probabilities.
        patches: Floats in [0, 1], `(n, T, k, w, w, channels)`.
        taken: Ints, `(n,)`, how many of the T glimpses were taken.
        labels: `None`, or such as the guesses, `(n,)` or `(n, num_classes)`.
        names: A string for each class.
        sensor: A `GlimpseSensor`.
    """

    images: list
    locations: np.ndarray
    guesses: np.ndarray
    confidences: np.ndarray
    patches: np.ndarray
    taken: np.ndarray
    labels: np.ndarray | None
    names: list
    sensor: keras.layers.Layer

    def sides(self, image):
        """Height and width of what each patch sees of an image, the finest first."""
        return sorted(self.sensor.sides(*self.images[image].shape[:2]), key=math.prod)

    def name(self, label):
        """The text of a class, or of a set of classes, which may take several lines."""
        if label.ndim == 0:
            return self.names[label]
        names = ", ".join(itertools.compress(self.names, label))
        return textwrap.fill(names or "nothing", LONGEST_NAME)

    def guess(self, image, step):
        """The text of a guess, and a colour that tells whether it is right."""
        guess = self.guesses[image, step]
        text = f"{step + 1}: {self.name(guess)} ({self.confidences[image, step]:.0%})"
        if self.labels is None:
            return text, "black"
        right = np.array_equal(guess, self.labels[image])
        return text, "green" if right else "red"


def look(model, images, labels=None, class_names=None):
    """Looks at images, and checks all that is to be drawn.

    Raises:
        ValueError: If images, labels or names do not fit the model.
    """
    given = read(images)
    check_images(given)
    images, sizes = images_and_sizes(given)
    images = keras.ops.convert_to_numpy(images)
    if images.shape[-1] not in (1, 3):
        raise ValueError(
            f"Images must have 1 or 3 channels. Received: shape={images.shape}"
        )
    labels = _check_labels(model, images, labels)
    names = _check_names(model, class_names)
    rollout = watch(model.rollout, given)
    locations, logits = rollout["locations"], rollout["logits"]

    def told(what):
        return keras.ops.convert_to_numpy(what(logits, model.multi_label))

    cell, patches = model.glimpse_cell(), []
    prepared = cell.prepare(keras.ops.convert_to_tensor(images), sizes)
    _, _, *earlier = cell.get_initial_state(len(images))
    for step in range(locations.shape[1]):
        location = keras.ops.convert_to_tensor(locations[:, step])
        seen = cell.see(prepared, location, earlier)
        patches.append(keras.ops.convert_to_numpy(seen))
        earlier = cell.remember(earlier, location)
    unit = 255 if np.issubdtype(images.dtype, np.integer) else 1
    return Look(
        images=_cropped(images / unit, sizes),
        locations=locations,
        guesses=told(guesses.best_guess),
        confidences=told(guesses.confidence),
        patches=np.clip(np.stack(patches, axis=1), 0, 1),  # a mean's rounding
        taken=rollout["num_glimpses"],
        labels=labels,
        names=names,
        sensor=model.glimpse_sensor,
    )


def _cropped(images, sizes):
    """A list of the images, each without its padding."""
    if sizes is None:
        return list(images)
    sizes = keras.ops.convert_to_numpy(sizes)
    return [
        image[:height, :width]
        for image, (height, width) in zip(images, sizes, strict=True)
    ]


def _check_labels(model, images, labels):
    if labels is None:
        return None
    labels = np.asarray(labels)
    check_labels(labels, len(images), model.num_classes, None, model.multi_label)
    if not model.multi_label and labels.shape != images.shape[:1]:
        raise ValueError(
            "There must be one integer for each image. Received: labels.shape="
            f"{labels.shape} and {len(images)} images"
        )
    return labels.astype(int)


def _check_names(model, class_names):
    names = model.class_names if class_names is None else class_names
    names = range(model.num_classes) if names is None else names
    if len(names) != model.num_classes:
        raise ValueError(
            f"There must be {model.num_classes} names, one for each class. "
            f"Received: class_names={class_names}"
        )
    names = [str(name) for name in names]
    return [
        name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        for name in names
    ]


def draw_path(axis, look, image, steps, inches, in_motion=False):
    """Draws the path of the first `steps` glimpses, and the finest patch of each.

    Args:
        axis: Of Matplotlib, which shows the image.
        look: A `Look`.
        image: Int, which of its images.
        steps: Int.
        inches: Float, the longer side of the image on paper.
        in_motion: Bool. The last of them is now: it shows all of its patches,
            and those before it fade.
    """
    from matplotlib import colormaps

    height, width, _ = look.images[image].shape
    # `imshow` draws pixel p around p; to the sensor it covers [p, p + 1].
    centres = (look.locations[image, :steps] + 1) / 2 * (width, height) - 0.5
    points = 72 * inches / max(height, width)  # for each pixel
    colours = colormaps["autumn"](np.linspace(0, 1, look.taken[image]))
    sides = look.sides(image)
    axis.plot(*centres.T, color="white", linewidth=1, alpha=0.8)
    for step, centre in enumerate(centres):
        now = in_motion and step == steps - 1
        faded = in_motion and not now
        style = {"color": colours[step], "alpha": 0.4 if faded else 1}
        _draw_boxes(axis, centre, sides if now else sides[:1], points, style)
        if not faded:
            _draw_number(axis, centre, step + 1, max(sides[0]) * points, style)
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)


def _draw_boxes(axis, centre, sides, points, style):
    from matplotlib.patches import Rectangle

    for height, width in sides:
        corner = centre - np.array([width, height]) / 2
        box = Rectangle(corner, width, height, fill=False, **style)
        box.set_path_effects(_outline(2.2))
        axis.add_patch(box)
    if max(sides[0]) * points < SMALLEST_BOX:
        axis.plot(
            *centre,
            "o",
            markersize=SMALLEST_BOX,
            markerfacecolor="none",
            path_effects=_outline(2.2),
            **style,
        )


def _draw_number(axis, centre, number, points, style):
    beside = SMALLEST_BOX if points < SMALLEST_BOX else 0  # not over what it saw
    middle = np.mean([axis.get_xlim(), axis.get_ylim()], axis=1)
    axis.annotate(
        str(number),
        centre,
        np.where(centre < middle, beside, -beside) * (1, -1),  # inwards; y is down
        textcoords="offset points",
        fontsize=7,
        ha="center",
        va="center",
        path_effects=_outline(1.4),
        **style,
    )


def _outline(width):
    """Dark around a bright line, to be seen on bright images."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground="#0009")]


def side_by_side(look, image, step):
    """The patches of a glimpse side by side, with a white line between them."""
    gap = ((0, 0), (0, 0), (0, 1), (0, 0))
    frames = np.pad(look.patches[image, step], gap, constant_values=1)
    return np.concatenate(frames, axis=1)[:, :-1]
