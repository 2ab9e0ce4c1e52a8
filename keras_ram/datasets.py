"""Images to look at: digits, MNIST, and digits at random places on a canvas."""

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from keras_ram.canvases import Canvases, clutter, translate

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
