"""Images to look at: digits, MNIST, and digits at random places on a canvas."""

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import keras
import numpy as np

from keras_ram.validation import check_images, check_integer

IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
PIECE_SIZE = 8  # as in the paper


def load_digits(seed=0):
    """Loads the 1,797 handwritten 8x8 digits that scikit-learn carries.

    Needs no download. The digits are shuffled, then split 60:20:20.

    Args:
        seed: Int, of the shuffle.

    Returns:
        Three pairs `(images, labels)`: training, validation, test. Images are
        float32 of shape `(n, 8, 8, 1)` in [0, 1], labels int32 of shape
        `(n,)` in [0, 9].

    Example:

    >>> (x_train, y_train), (x_val, y_val), (x_test, y_test) = load_digits()
    >>> x_train.shape, x_val.shape, x_test.shape
    ((1078, 8, 8, 1), (359, 8, 8, 1), (360, 8, 8, 1))

    Reference:

    - [E. Alpaydin and C. Kaynak, 1998](https://doi.org/10.24432/C50P49)
    """
    import sklearn.datasets

    digits = sklearn.datasets.load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    images = (digits.images[order, :, :, None] / 16).astype("float32")
    labels = digits.target[order].astype("int32")
    bounds = [len(labels) * 6 // 10, len(labels) * 8 // 10]
    return tuple(zip(np.split(images, bounds), np.split(labels, bounds), strict=True))


def load_mnist(data_dir=None, download=False):
    """Loads MNIST with TensorFlow Datasets.

    Args:
        data_dir: `None`, or a folder with the four idx files, such as
            `train-images-idx3-ubyte.gz`. They are prepared once, and kept
            with the other data sets of TensorFlow Datasets.
        download: Bool. If true, and MNIST was not prepared before, fetch it
            from the internet.

    Returns:
        Three pairs `(images, labels)`: 50,000 for training, the last 10,000
        training digits for validation, 10,000 for test. Images are uint8 of
        shape `(n, 28, 28, 1)` in [0, 255], labels int32 of shape `(n,)` in
        [0, 9].

    Raises:
        FileNotFoundError: If `data_dir` lacks a file, or if there is neither a
            folder, nor a prepared MNIST, nor leave to download.
        ConnectionError: If there is nothing to download from.
        ValueError: If the files in `data_dir` are damaged.

    Reference:

    - [LeCun et al., 1998](http://yann.lecun.com/exdb/mnist/)
    """
    import tensorflow_datasets as tfds

    home = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    if data_dir is not None:
        data_dir = Path(data_dir)
        home = home / "keras_ram" / _fingerprint(data_dir)
    builder = tfds.builder("mnist", data_dir=home)
    if not builder.is_prepared():
        if data_dir is None:
            _check_download(builder.URL, download)
        _prepare(builder.data_path, data_dir)
        builder = tfds.builder("mnist", data_dir=home)
    splits = ["train[:50000]", "train[50000:]", "test"]
    return tuple(
        (images, labels.astype("int32"))
        for images, labels in tfds.as_numpy(
            builder.as_dataset(splits, batch_size=-1, as_supervised=True)
        )
    )


def translate(images, canvas_size, seed=None):
    """Puts each image at a uniformly random place on an empty square canvas.

    No image lies partly outside.

    Args:
        images: Array of shape `(n, height, width, channels)`.
        canvas_size: Int, side of the canvas, in pixels.
        seed: Int, sequence of ints, or `np.random.Generator`.

    Returns:
        Array of shape `(n, canvas_size, canvas_size, channels)`, of the same
        dtype.

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


def clutter(images, canvas_size, pieces, piece_size=PIECE_SIZE, seed=None):
    """Puts each image at a random place on a canvas, among pieces of others.

    The pieces are cut at uniformly random places from other images of the same
    array, which should therefore be one split. They are added to the canvas at
    uniformly random places, and so is the image; sums are clipped to white.

    Args:
        images: Array of shape `(n, height, width, channels)`, floats in [0, 1]
            or uint8.
        canvas_size: Int, side of the canvas, in pixels.
        pieces: Int, the number of pieces on each canvas.
        piece_size: Int, side of a piece, in pixels.
        seed: Int, sequence of ints, or `np.random.Generator`.

    Returns:
        Array of shape `(n, canvas_size, canvas_size, channels)`, of the same
        dtype.

    Raises:
        ValueError: If the canvas is smaller than the images, a piece larger,
            or if there is no other image to cut from.

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
    return _draw(images, rows, canvas_size, pieces, piece_size, rng)


def _check_canvases(images, canvas_size, pieces, piece_size):
    check_images(images)
    check_integer("pieces", pieces, least=0)
    check_integer("piece_size", piece_size)
    total, height, width, _ = images.shape
    if canvas_size < max(height, width):
        raise ValueError(
            f"`canvas_size` must be at least {max(height, width)}, the size of the "
            f"images. Received: canvas_size={canvas_size}"
        )
    if pieces and (total < 2 or piece_size > min(height, width)):
        raise ValueError(
            "Pieces are cut from other images, and fit into them. Received: "
            f"piece_size={piece_size}, images.shape={images.shape}"
        )


def _draw(images, rows, canvas_size, pieces, piece_size, rng):
    """Canvases for some of the images, with pieces cut from all of them."""
    canvas = (canvas_size, canvas_size)
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
    canvases[place] += np.minimum(images[rows], white - canvases[place])
    return canvases


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
        canvas_size: Int. See `translate`.
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
        self.images = images
        self.labels = labels
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
        rng = np.random.default_rng((self.seed, self.epoch, index))
        canvases = _draw(
            self.images, rows, self.canvas_size, self.pieces, PIECE_SIZE, rng
        )
        return canvases, self.labels[rows]

    def on_epoch_end(self):
        self.epoch += 1
        rng = np.random.default_rng((self.seed, self.epoch))
        self.order = rng.permutation(len(self.images))


def _fingerprint(data_dir):
    """A name for what the idx files hold, so that other files get another."""
    missing = [name for name in IDX_FILES if not (data_dir / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"`data_dir` must hold the four idx files of MNIST. Received: "
            f"data_dir={data_dir}, which lacks {', '.join(missing)}"
        )
    contents = b"".join((data_dir / name).read_bytes() for name in IDX_FILES)
    return hashlib.sha256(contents).hexdigest()[:16]


def _prepare(place, data_dir):
    """Prepares MNIST in a folder of its own, and then moves it to `place`.

    Of several processes that come here at once, the first to end puts it there.
    """
    import tensorflow_datasets as tfds

    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        builder = tfds.builder("mnist", data_dir=scratch)
        if data_dir is not None:
            builder.URL = data_dir.absolute().as_uri() + "/"
        try:
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
        except Exception as error:
            raise ValueError(
                f"MNIST could not be read. Received: data_dir={data_dir}. "
                f"Is a file damaged? ({error})"
            ) from error
        try:
            builder.data_path.rename(place)
        except OSError:
            if not place.is_dir():  # put there by another
                raise


def _check_download(url, download):
    if not download:
        raise FileNotFoundError(
            "MNIST is not on this machine. Pass `download=True` to fetch it, or "
            "`data_dir=` a folder with its four idx files."
        )
    try:
        # TensorFlow Datasets would retry for minutes before it gave up.
        urllib.request.urlopen(url + IDX_FILES[1], timeout=10).close()
    except (urllib.error.URLError, TimeoutError) as error:
        raise ConnectionError(
            f"MNIST cannot be fetched from {url} ({error}). Are you offline? Pass "
            "`data_dir=` a folder with its four idx files."
        ) from error
