"""How much of an image a retina sees: chosen for the size, told where it is little."""

import math
import warnings

from keras_ram.validation import check_integer

STEP = 2.5  # at most, from a scale to the next
LITTLE = 0.02  # of the image, seen by all glimpses together


def retina(height, width, patch_size=None):
    """Chooses patches for images of a size.

    The finest patch sees single pixels and the coarsest the whole image, from the
    centre. Each scale is at most 2.5 times the one before, so that what is found in
    one patch is still seen in the next finer one.

    Args:
        height, width: Ints, the size of the images in pixels; of images of several
            sizes, a large one.
        patch_size: `None`, or an int. Cells along a side of a patch. By default a
            quarter of the longer side, rounded up to a multiple of 8, and at most
            32.

    Returns:
        A dict of `"patch_size"`, an int, and `"scales"`, a tuple of floats.

    Raises:
        ValueError: If an argument is no positive integer.

    Example:

    >>> keras_ram.retina(28, 28)
    {'patch_size': 8, 'scales': (1.0, 1.87, 3.5)}
    >>> keras_ram.retina(400, 300)
    {'patch_size': 32, 'scales': (1.0, 2.32, 5.39, 12.5)}
    >>> model = keras_ram.RAM(num_classes=4, **keras_ram.retina(400, 300))
    """
    longer = max(check_integer("height", height), check_integer("width", width))
    if patch_size is None:
        patch_size = min(32, 8 * math.ceil(longer / 32))
    patch_size = check_integer("patch_size", patch_size)
    coarsest = max(1.0, longer / patch_size)
    steps = math.ceil(math.log(coarsest, STEP))
    between = (coarsest ** (step / steps) for step in range(1, steps))
    # The last is not rounded, or it might not cover the image.
    scales = (1.0, *(round(s, 2) for s in between), coarsest)
    return {"patch_size": patch_size, "scales": tuple(dict.fromkeys(scales))}


def warn_of_blindness(num_glimpses, sensor, height, width):
    """Warns if glimpses see next to nothing of images of a size.

    Args:
        num_glimpses, sensor: Of the model.
        height, width: Ints, or `None`, where the size is not known.
    """
    if not isinstance(height, int) or not isinstance(width, int):
        return
    sides = sensor.sides(height, width)
    seen = num_glimpses * max(min(y, height) * min(x, width) for y, x in sides)
    seen /= height * width
    if seen < LITTLE:
        wide = max(x for _, x in sides)
        warnings.warn(
            f"{num_glimpses} glimpses, {wide:g} pixels wide at the most, see no more "
            f"than {seen:.1%} of an image of {height}x{width} pixels. Who sees nothing "
            "does not learn where to look. Choose wider ones: "
            f"`RAM(..., **keras_ram.retina({height}, {width}))`.",
            stacklevel=2,
        )
