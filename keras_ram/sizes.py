"""Images of different sizes in one batch: padded, with the size of each beside them."""

import keras
import numpy as np

NAMES = {"images", "sizes"}
REMEDY = (
    "Images of different sizes come as a list of arrays of shape (height, width, "
    'channels), or padded: `{"images": (batch, height, width, channels), "sizes": '
    "(batch, 2)}`, as `keras_ram.pad_images` makes it of a list."
)


def pad_images(images):
    """Puts images of different sizes into one array.

    Args:
        images: List of arrays of shape `(height, width, channels)`, of one dtype and
            number of channels.

    Returns:
        A dict, which `keras_ram.RAM` takes in place of images:

        - `"images"`: array of shape `(batch, height, width, channels)`, as large as
          the largest of them, and zero below and right of each.
        - `"sizes"`: int32 array of shape `(batch, 2)`: the height and the width of
          each, in pixels.

    Raises:
        ValueError: If these are no images, or do not go together.

    Example:

    >>> photos = [np.ones((40, 30, 3)), np.ones((20, 50, 3))]
    >>> padded = keras_ram.pad_images(photos)
    >>> padded["images"].shape, padded["sizes"].tolist()
    ((2, 40, 50, 3), [[40, 30], [20, 50]])
    >>> keras_ram.RAM(num_classes=5).predict(padded, verbose=0).shape
    (2, 5)
    """
    _check_list(images)
    images = [keras.ops.convert_to_numpy(image) for image in images]
    sizes = np.array([image.shape[:2] for image in images], "int32")
    padded = np.zeros(
        (len(images), *sizes.max(axis=0), images[0].shape[2]), images[0].dtype
    )
    for place, image in zip(padded, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return {"images": padded, "sizes": sizes}


def _check_list(images):
    shapes = [getattr(image, "shape", ()) for image in images]
    if not shapes or any(len(shape) != 3 or 0 in shape for shape in shapes):
        raise ValueError(
            "A list of images must hold arrays of shape (height, width, channels). "
            f"Received: {type(images).__name__} of {len(shapes)}, with "
            f"shapes={sorted(set(map(tuple, shapes)))}. Add a channel axis to grey "
            "images with `image[..., None]`."
        )
    kinds = {
        (keras.backend.standardize_dtype(image.dtype), image.shape[2])
        for image in images
    }
    if len(kinds) > 1:
        raise ValueError(
            "Images of one list must have one dtype and number of channels. "
            f"Received: {sorted(kinds)}"
        )


def images_and_sizes(images):
    """The images, and the sizes of each, or `None` where the array is their size.

    Args:
        images: Whatever stands for images, or a dict as `pad_images` makes it.
    """
    if not isinstance(images, dict):
        return images, None
    if set(images) != NAMES:
        raise ValueError(
            "A dict of images must have the keys 'images' and 'sizes'. Received: "
            f"{sorted(images)}. Images of one size are one array. {REMEDY}"
        )
    return images["images"], images["sizes"]


def range_of_sizes(images, others=None):
    """The least and the largest height and width of images.

    Args:
        images: Array, or a dict as `pad_images` makes it.
        others: `None`, or what this gave for other images, which are counted in.

    Returns:
        A pair of `(height, width)`, of ints. No image need be of such a size: the
        least width may be that of another than the least height.
    """
    images, sizes = images_and_sizes(images)
    if sizes is None:
        sizes = [images.shape[1:3]]
    sizes = np.array([*keras.ops.convert_to_numpy(sizes), *(others or ())])
    return tuple(tuple(edge(axis=0).tolist()) for edge in (sizes.min, sizes.max))


def check_sizes(sizes, images_shape):
    """Raises `ValueError` if images of these sizes are not in the padded ones.

    Args:
        sizes: What was passed as `sizes`.
        images_shape: `(batch, height, width, channels)`.
    """
    shape, padded = tuple(np.shape(sizes)), tuple(images_shape[1:3])
    if shape != (images_shape[0], 2):
        raise ValueError(
            "`sizes` must hold the height and the width of each image, and have shape "
            f"({images_shape[0]}, 2). Received: sizes of shape {shape}"
        )
    dtype = getattr(sizes, "dtype", None)
    if dtype is None or "int" not in keras.backend.standardize_dtype(dtype):
        raise ValueError(
            "`sizes` must be an array of integers, in pixels. Received: "
            f"{type(sizes).__name__}, dtype={dtype}"
        )
    sizes = keras.ops.convert_to_numpy(sizes)
    if (sizes < 1).any() or (sizes > padded).any():
        raise ValueError(
            "`sizes` must be (height, width), from 1 to those of the padded images, "
            f"{padded}. Received: sizes from {tuple(sizes.min(axis=0).tolist())} to "
            f"{tuple(sizes.max(axis=0).tolist())}"
        )


def rows_of(images, rows):
    """Some of the images, and the sizes of these.

    Args:
        images: Array, or a dict as `pad_images` makes it.
        rows: Slice.
    """
    return keras.tree.map_structure(lambda values: values[rows], images)


def number_of(images):
    """Int, how many images these are."""
    return len(images_and_sizes(images)[0])
