"""Images, labels and weights, whichever way they come in, and checks on images."""

import inspect

import keras
import numpy as np

from keras_ram.sizes import REMEDY, check_sizes, images_and_sizes, pad_images

# Pixels are in [0, 1]. Some networks see them shifted and scaled to unit variance,
# which stays far below this; floats up to 255 do not.
LARGEST_FLOAT = 16


def first_batch(data):
    """What a pipeline gives first, to be looked at before anything is computed.

    Args:
        data: A `tf.data.Dataset`, `PyDataset`, `DataLoader` or generator.

    Returns:
        Tuple of images, labels and weights, of which the last may be `None`, and of
        the data to read: those that were passed, or a generator that begins with
        what was taken out of the one that was passed. Of data that are spread over
        several devices all three are `None`.

    Raises:
        ValueError: If there is no batch.
    """
    if type(data).__name__.startswith("Distributed"):  # of TensorFlow's strategies
        return None, None, None, data
    if isinstance(data, keras.utils.PyDataset):
        batch = data[0]
    else:
        batches = iter(data)
        batch = next(batches, None)
        if batch is None:
            raise ValueError(
                "There is no batch in these data. Received an empty "
                f"{type(data).__name__}."
            )
        if inspect.isgenerator(data):
            data = _again(batch, batches)
    values = keras.utils.unpack_x_y_sample_weight(batch)
    return *map(native, values), data


def _again(first, others):
    yield first
    yield from others


def is_array(data):
    """Whether these are values, and not a pipeline that brings some."""
    return isinstance(data, np.ndarray) or keras.ops.is_tensor(data)


def is_symbolic(data):
    """Whether this stands for values that are not there yet, while tracing."""
    if isinstance(data, dict):
        return any(map(is_symbolic, data.values()))
    if keras.backend.backend() == "jax":
        import jax

        return isinstance(data, (keras.KerasTensor, jax.core.Tracer))
    traced = keras.ops.is_tensor(data) and not hasattr(data, "numpy")
    return isinstance(data, keras.KerasTensor) or traced


def is_pipeline(data):
    """Whether this brings batches, as `fit` takes them beside arrays."""
    values = is_array(data) or hasattr(data, "__array__")
    if values or isinstance(data, (list, tuple, dict, str)):
        return False
    return isinstance(data, keras.utils.PyDataset) or hasattr(data, "__iter__")


def native(array):
    """An array that the backend reads: of none but its own library or NumPy, and in
    the byte order of the machine."""
    if isinstance(array, dict):
        return {name: native(part) for name, part in array.items()}
    others = hasattr(array, "__array__") and not is_array(array)
    if others and not isinstance(array, keras.KerasTensor):
        array = np.asarray(array)
    if isinstance(array, np.ndarray):
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    return array


def read(images):
    """Images as the model reads them: a list of them is padded, bytes are in order."""
    return native(pad_images(images) if isinstance(images, list) else images)


def check_images(images, channels=None):
    """Raises `ValueError` if images cannot be looked at.

    Args:
        images: As for `check_shape`, or a dict of images and sizes.
        channels: As for `check_shape`.
    """
    images, sizes = images_and_sizes(images)
    check_shape(images, channels)
    if sizes is not None:
        check_sizes(sizes, images.shape)
    _check_pixels(images)


def check_shape(images, channels=None):
    """Raises `ValueError` if these are no images, or of other channels.

    Args:
        images: What was passed as images, or taken from a pipeline.
        channels: Int, what the model was built for, or `None`.
    """
    if not is_array(images) or hasattr(images, "row_lengths"):  # of ragged tensors
        raise ValueError(
            "Images must be one array of shape (batch, height, width, channels), or "
            f"a pipeline of batches. Received: {type(images).__name__}. {REMEDY} In a "
            "`tf.data` pipeline do not make ragged batches: `data.map(lambda x, y: "
            '({"images": x, "sizes": tf.shape(x)[:2]}, y)).padded_batch(32)`.'
        )
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise ValueError(
            "Images must have shape (batch, height, width, channels). Received: "
            f"shape={shape}. Add a channel axis to grey images with "
            "`images[..., None]`, and a batch axis to one image with `image[None]`, to "
            "those of a pipeline with `.batch(32)`."
        )
    if 0 in shape:
        raise ValueError(f"There are no images to look at. Received: shape={shape}")
    if channels is None and shape[1] in (1, 3) and shape[3] > 4:
        raise ValueError(
            f"Channels come last, and these images have {shape[3]} of {shape[1:3]} "
            f"pixels. Received: shape={shape}. If they come first, move them with "
            "`np.moveaxis(images, 1, -1)`."
        )
    if channels not in (None, shape[3]):
        raise ValueError(
            f"The model looks at images of {channels} channels. Received: "
            f"shape={shape}, of {shape[3]}. `keras.ops.image.rgb_to_grayscale` makes "
            "grey images of coloured ones."
        )


def _check_pixels(images):
    dtype = str(getattr(images.dtype, "name", images.dtype)).removeprefix("torch.")
    if not dtype.startswith(("bool", "int", "uint", "float", "bfloat")):
        raise ValueError(
            "Images must hold floats, integers or booleans. Received: "
            f"dtype={images.dtype}"
        )
    if dtype in ("uint8", "bool"):
        return
    # The extremes are not finite where any value is not; no copy is made.
    low, high = (float(extreme) for extreme in _extremes(images))
    if keras.backend.is_int_dtype(dtype):
        if low < 0 or high > 255:
            raise ValueError(
                "Integers must be in [0, 255], as bytes are. Received: "
                f"dtype={dtype}, from {low:.0f} to {high:.0f}. Scale other images to "
                "floats in [0, 1]: 16-bit ones with `images / 65535`."
            )
    elif not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            f"Images must be finite. Received NaN or infinity, dtype={dtype}."
        )
    elif max(-low, high) > LARGEST_FLOAT:
        raise ValueError(
            f"Floats must be in [0, 1]. Received: dtype={dtype}, from {low:g} to "
            f"{high:g}. Divide floats up to 255 by 255 (in a pipeline "
            "`data.map(lambda x, y: (x / 255, y))`), or pass bytes."
        )


def _extremes(values):
    if isinstance(values, np.ndarray):
        return values.min(), values.max()
    return [
        keras.ops.convert_to_numpy(extreme(values))
        for extreme in (keras.ops.min, keras.ops.max)
    ]
