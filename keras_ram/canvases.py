"""Images at random places on a canvas, alone or among pieces of others."""

import keras
import numpy as np

from keras_ram.inputs import check_images, check_shape
from keras_ram.validation import check_integer

PIECE_SIZE = 8  # as in the paper


def translate(images, canvas_size, seed=None):
    """Puts each image at a uniformly random place on an empty canvas.

    No image lies partly outside.

    Args:
        images: Array of shape `(n, height, width, channels)`.
        canvas_size: Int, side of the canvas, or a pair, its height and width, in
            pixels.
        seed: Int, sequence of ints, or `np.random.Generator`.

    Returns:
        Array of shape `(n, *canvas, channels)`, of the same dtype.

    Raises:
        ValueError: If the canvas is smaller than the images.

    Example:

    >>> canvases = translate(np.ones((5, 8, 8, 1)), 24, seed=0)
    >>> canvases.shape, canvases.sum(axis=(1, 2, 3)).tolist()
    ((5, 24, 24, 1), [64.0, 64.0, 64.0, 64.0, 64.0])

    Reference:

    - [Mnih et al., 2014](https://arxiv.org/abs/1406.6247), section 4.1,
      "Translated MNIST"
    """
    return clutter(images, canvas_size, pieces=0, seed=seed)


def clutter(
    images, canvas_size, pieces, piece_size=PIECE_SIZE, seed=None, return_places=False
):
    """Puts each image at a random place on a canvas, among pieces of others.

    The pieces are cut at uniformly random places from other images of the same
    array, which should therefore be one split. They are added to the canvas at
    uniformly random places, and so is the image; sums are clipped to white.

    Args:
        images: Array of shape `(n, height, width, channels)`, floats in [0, 1]
            or uint8.
        canvas_size: Int, side of the canvas, or a pair, its height and width, in
            pixels.
        pieces: Int, the number of pieces on each canvas.
        piece_size: Int, side of a piece, in pixels.
        seed: Int, sequence of ints, or `np.random.Generator`.
        return_places: Bool. Whether to tell where the images are, as `Pointing`
            takes it.

    Returns:
        Array of shape `(n, *canvas, channels)`, of the same dtype. With
        `return_places` the centres of the images as well, `(x, y)` in [-1, 1],
        float32 of shape `(n, 2)`.

    Raises:
        ValueError: If these are no images, if the canvas is smaller than they are
            or a piece larger, or if there is no other image to cut from.

    Example:

    >>> digits = np.ones((5, 28, 28, 1))
    >>> canvases = clutter(digits, 60, pieces=4, seed=0)
    >>> canvases.shape, float(canvases.max())
    ((5, 60, 60, 1), 1.0)

    Reference:

    - [Mnih et al., 2014](https://arxiv.org/abs/1406.6247), section 4.1,
      "Cluttered Translated MNIST"
    """
    _check_canvases(images, canvas_size, pieces, piece_size)
    rows, rng = np.arange(len(images)), np.random.default_rng(seed)
    canvases, places = _draw(images, rows, canvas_size, pieces, piece_size, rng)
    return (canvases, places) if return_places else canvases


def _check_canvases(images, canvas_size, pieces, piece_size):
    if not (isinstance(images, np.ndarray) and images.dtype.kind in "fiu"):
        raise ValueError(
            "Images must be an array of NumPy, of floats or integers. Received: "
            f"{type(images).__name__}, dtype={getattr(images, 'dtype', None)}"
        )
    check_shape(images)
    if not np.isfinite(images.max() - images.min()):
        raise ValueError("Images must be finite. Received NaN or infinity.")
    if pieces:  # sums are clipped to white
        check_images(images)
    canvas = _pair(canvas_size)
    check_integer("pieces", pieces, least=0)
    check_integer("piece_size", piece_size)
    total, height, width, _ = images.shape
    if canvas[0] < height or canvas[1] < width:
        raise ValueError(
            f"`canvas_size` must be at least {height}x{width}, the size of the "
            f"images. Received: canvas_size={canvas_size}"
        )
    if pieces and (total < 2 or piece_size > min(height, width)):
        raise ValueError(
            "Pieces are cut from other images, and fit into them. Received: "
            f"piece_size={piece_size}, images.shape={images.shape}"
        )


def _pair(canvas_size):
    """Height and width."""
    if not isinstance(canvas_size, (tuple, list)):
        return (check_integer("canvas_size", canvas_size),) * 2
    height, width = (check_integer("canvas_size", side) for side in canvas_size)
    return height, width


def _draw(images, rows, canvas_size, pieces, piece_size, rng):
    """Canvases for some of the images, with pieces cut from all of them, and places."""
    canvas = _pair(canvas_size)
    piece = (piece_size, piece_size)
    image = images.shape[1:3]
    canvases = np.zeros((len(rows), *canvas, images.shape[3]), images.dtype)
    white = 255 if np.issubdtype(images.dtype, np.integer) else 1
    each = np.arange(len(rows))
    for _ in range(pieces):
        others = (rows + rng.integers(1, len(images), len(rows))) % len(images)
        cut = images[_windows(rng, others, image, piece)]
        place = _windows(rng, each, canvas, piece)
        canvases[place] += np.minimum(cut, white - canvases[place])
    place = _windows(rng, each, canvas, image)
    whole = images[rows]
    if pieces:
        whole = canvases[place] + np.minimum(whole, white - canvases[place])
    canvases[place] = whole
    centres = [index.mean(axis=(1, 2)) + 0.5 for index in place[:0:-1]]  # x, then y
    places = 2 * np.stack(centres, axis=1) / canvas[::-1] - 1
    return canvases, places.astype("float32")


def _windows(rng, rows, size, window):
    """Indices of a window at a random place in each of some images."""
    tops, lefts = (
        rng.integers(0, whole - part + 1, len(rows))[:, None, None]
        for whole, part in zip(size, window, strict=True)
    )
    return (
        rows[:, None, None],
        tops + np.arange(window[0])[:, None],
        lefts + np.arange(window[1]),
    )


class Canvases(keras.utils.PyDataset):
    """Batches of images on canvases, made afresh each epoch.

    Args:
        images: Array of shape `(n, height, width, channels)`, one split.
        labels: Array of shape `(n,)`.
        canvas_size: Int or a pair. See `translate`.
        pieces: Int. See `clutter`.
        batch_size: Int.
        seed: Int. The batches of an epoch depend on it and on the epoch alone.
        **kwargs: `workers`, … as for `keras.utils.PyDataset`.

    Example:

    >>> batches = Canvases(np.ones((10, 8, 8, 1)), np.arange(10), 24, batch_size=4)
    >>> [images.shape for images, labels in (batches[i] for i in range(3))]
    [(4, 24, 24, 1), (4, 24, 24, 1), (2, 24, 24, 1)]
    """

    def __init__(
        self, images, labels, canvas_size, pieces=0, batch_size=128, seed=0, **kwargs
    ):
        super().__init__(**kwargs)
        _check_canvases(images, canvas_size, pieces, PIECE_SIZE)
        check_integer("batch_size", batch_size)
        check_integer("seed", seed, least=0)
        if len(labels) != len(images):
            raise ValueError(
                "There must be one label for each image. Received: "
                f"{len(images)} images and {len(labels)} labels"
            )
        self.images = images
        self.labels = np.asarray(labels)
        self.canvas_size = canvas_size
        self.pieces = pieces
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = -1
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index):
        rows = self.order[index * self.batch_size :][: self.batch_size]
        # Not 0, with which the order of the images is drawn.
        rng = np.random.default_rng((self.seed, self.epoch, index + 1))
        canvases, _ = _draw(
            self.images, rows, self.canvas_size, self.pieces, PIECE_SIZE, rng
        )
        return canvases, self.labels[rows]

    def on_epoch_end(self):
        self.epoch += 1
        rng = np.random.default_rng((self.seed, self.epoch))
        self.order = rng.permutation(len(self.images))
