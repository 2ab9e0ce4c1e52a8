"""Images to look at: digits, MNIST, and digits at random places on a canvas."""

import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path

import keras
import numpy as np

from keras_ram.validation import check_images

IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


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
    if data_dir is None:
        builder = tfds.builder("mnist", data_dir=home)
        if not builder.is_prepared():
            _check_download(builder.URL, download)
    else:
        home = home / "keras_ram" / _fingerprint(Path(data_dir))
        builder = tfds.builder("mnist", data_dir=home)
        builder.URL = Path(data_dir).absolute().as_uri() + "/"
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    except Exception as error:
        raise ValueError(
            f"MNIST could not be read. Received: data_dir={data_dir}. "
            f"Is a file damaged? ({error})"
        ) from error
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
    check_images(images)
    count, height, width, channels = images.shape
    if canvas_size < max(height, width):
        raise ValueError(
            f"`canvas_size` must be at least {max(height, width)}, the size of the "
            f"images. Received: canvas_size={canvas_size}"
        )
    rng = np.random.default_rng(seed)
    top = rng.integers(0, canvas_size - height + 1, count)[:, None, None]
    left = rng.integers(0, canvas_size - width + 1, count)[:, None, None]
    canvases = np.zeros((count, canvas_size, canvas_size, channels), images.dtype)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    canvases[np.arange(count)[:, None, None], top + rows, left + columns] = images
    return canvases


class TranslatedImages(keras.utils.PyDataset):
    """Batches of images at random places, made afresh each epoch.

    Args:
        images: Array of shape `(n, height, width, channels)`.
        labels: Array of shape `(n,)`.
        canvas_size: Int. See `translate`.
        batch_size: Int.
        seed: Int. The batches of an epoch depend on it and on the epoch alone.
        **kwargs: `workers`, … as for `keras.utils.PyDataset`.

    Example:

    >>> batches = TranslatedImages(np.ones((10, 8, 8, 1)), np.arange(10), 24, 4)
    >>> [images.shape for images, labels in (batches[i] for i in range(3))]
    [(4, 24, 24, 1), (4, 24, 24, 1), (2, 24, 24, 1)]
    """

    def __init__(self, images, labels, canvas_size, batch_size=128, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.images = images
        self.labels = labels
        self.canvas_size = canvas_size
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index):
        order = np.random.default_rng((self.seed, self.epoch)).permutation(
            len(self.images)
        )
        chosen = order[index * self.batch_size :][: self.batch_size]
        seed = (self.seed, self.epoch, index)
        images = translate(self.images[chosen], self.canvas_size, seed)
        return images, self.labels[chosen]

    def on_epoch_end(self):
        self.epoch += 1


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
