"""Images to look at: digits, MNIST, and digits at random places on a canvas."""

import gzip
import hashlib
import os
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np

from keras_ram.canvases import Canvases, clutter, translate
from keras_ram.extras import extra

__all__ = ["Canvases", "clutter", "load_digits", "load_mnist", "translate"]

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
    with extra("datasets"):
        import sklearn.datasets

    digits = sklearn.datasets.load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    images = (digits.images[order, :, :, None] / 16).astype("float32")
    labels = digits.target[order].astype("int32")
    bounds = [len(labels) * 6 // 10, len(labels) * 8 // 10]
    return tuple(zip(np.split(images, bounds), np.split(labels, bounds), strict=True))


def load_mnist(data_dir=None, download=False):
    """Loads MNIST from its four idx files, or with TensorFlow Datasets.

    Both give the same images in the same order.

    Args:
        data_dir: `None`, or a folder with the four idx files, such as
            `train-images-idx3-ubyte.gz`.
        download: Bool. If true, and TensorFlow Datasets has not prepared MNIST
            before, fetch it from the internet.

    Returns:
        Three pairs `(images, labels)`: 50,000 for training, 10,000 of the
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
    (images, labels), test = (
        _prepared(download) if data_dir is None else _read_folder(Path(data_dir))
    )
    return (images[:50000], labels[:50000]), (images[50000:], labels[50000:]), test


def _read_folder(folder):
    missing = [name for name in IDX_FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"`data_dir` must hold the four idx files of MNIST. Received: "
            f"data_dir={folder}, which lacks {', '.join(missing)}"
        )
    paths = [folder / name for name in IDX_FILES]
    return (
        _read_split("train", 60000, *paths[:2]),
        _read_split("test", 10000, *paths[2:]),
    )


def _read_split(name, count, images, labels):
    images, labels = _read_idx(images, (count, 28, 28)), _read_idx(labels, (count,))
    if labels.max() > 9:
        raise ValueError(
            f"Labels of MNIST must be in [0, 9]. Received: {labels.max()} in the "
            f"{name} labels. Is a file damaged?"
        )
    order = order_of(name, count)
    return images[order, ..., None], labels[order].astype("int32")


def order_of(split, count):
    """Where in its idx file each digit stood that `load_mnist` gives.

    TensorFlow Datasets sorts the examples by a hash of their numbers.

    Args:
        split: `"train"` (with those for validation) or `"test"`.
        count: Int, the digits in the file.

    Returns:
        A list of ints.
    """

    def place(i):
        return hashlib.md5(f"{split}{i}".encode(), usedforsecurity=False).digest()

    return sorted(range(count), key=place)


def _read_idx(path, shape):
    """The bytes after a head: 0, 0, 8 for uint8, the number of axes, their sizes."""
    head = bytes((0, 0, 8, len(shape))) + np.array(shape, ">i4").tobytes()
    packed = path.read_bytes()
    try:
        contents = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is no gzip. Is a file damaged? ({error})") from error
    if not contents.startswith(head) or len(contents) != len(head) + np.prod(shape):
        raise ValueError(
            f"{path} must hold uint8 of shape {shape} in the idx format. Received: "
            f"{len(contents)} bytes that begin with {contents[: len(head)].hex(' ')}. "
            "Is a file damaged?"
        )
    return np.frombuffer(contents, "uint8", offset=len(head)).reshape(shape)


def _prepared(download):
    with extra("datasets"):
        import tensorflow_datasets as tfds

    # TensorFlow Datasets reads the variable once, when it is imported.
    builder = tfds.builder("mnist", data_dir=os.environ.get("TFDS_DATA_DIR"))
    if not builder.is_prepared():
        _check_download(builder.URL, download)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    return [
        (images, labels.astype("int32"))
        for images, labels in tfds.as_numpy(
            builder.as_dataset(["train", "test"], batch_size=-1, as_supervised=True)
        )
    ]


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
