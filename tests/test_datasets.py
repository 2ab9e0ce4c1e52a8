import gzip
import hashlib
import struct
import urllib.error

import numpy as np
import pytest

from keras_ram import datasets
from keras_ram.datasets import IDX_FILES, Canvases, clutter, load_mnist, translate


def test_digits_are_split_without_overlap(digits):
    images = np.concatenate([images for images, _ in digits])
    labels = np.concatenate([labels for _, labels in digits])
    assert images.shape == (1797, 8, 8, 1) and images.dtype == "float32"
    assert images.min() == 0 and images.max() == 1
    assert np.bincount(labels).min() > 170
    import sklearn.datasets

    original = sklearn.datasets.load_digits()
    rows = np.column_stack([images.reshape(1797, 64) * 16, labels])
    expected = np.column_stack([original.data, original.target])
    assert sorted(rows.tolist()) == sorted(expected.tolist())


def test_translate_moves_and_changes_nothing_else(rng):
    images = rng.uniform(0.1, 1, size=(300, 3, 2, 2)).astype("float32")
    canvases = translate(images, 5, seed=1)
    assert canvases.shape == (300, 5, 5, 2) and canvases.dtype == "float32"
    corners = set()
    for image, canvas in zip(images, canvases, strict=True):
        rows, columns = np.nonzero(canvas[..., 0])
        top, left = rows.min(), columns.min()
        np.testing.assert_array_equal(canvas[top : top + 3, left : left + 2], image)
        assert np.count_nonzero(canvas) == image.size
        corners.add((top, left))
    np.testing.assert_array_equal(translate(200 * images, 5, seed=1), 200 * canvases)
    # Every place at which the image fits occurs.
    assert corners == {(top, left) for top in range(3) for left in range(4)}
    np.testing.assert_array_equal(canvases, translate(images, 5, seed=1))
    assert (canvases != translate(images, 5, seed=2)).any()


def test_a_canvas_of_any_height_and_width(rng):
    images = rng.integers(1, 256, (200, 3, 2, 1), "uint8")
    assert translate(images, (4, 9), seed=0).shape == (200, 4, 9, 1)
    # Where there is one place, the image is there, and a piece over the rest.
    canvases = clutter(images, (3, 5), pieces=1, piece_size=2, seed=0)
    assert canvases[:, :, 0].any() and canvases[:, :, 4].any()
    both = Canvases(images, np.arange(200), (3, 5), batch_size=200)[0][0]
    assert both.shape == (200, 3, 5, 1)


@pytest.mark.parametrize("canvas_size", [7, (8, 7), (7, 8)])
def test_translate_refuses_a_small_canvas(canvas_size):
    with pytest.raises(ValueError, match="`canvas_size` must be at least 8x8"):
        translate(np.zeros((2, 8, 8, 1)), canvas_size)


def test_translated_images_show_each_image_once_an_epoch(rng):
    images = rng.uniform(0.1, 1, size=(10, 2, 2, 1))
    labels = np.arange(10)
    batches = Canvases(images, labels, 6, batch_size=4, seed=3)
    epochs = []
    for _ in range(2):
        epoch = [batches[i] for i in range(len(batches))]
        batches.on_epoch_end()
        for canvases, chosen in epoch:
            sums = canvases.sum(axis=(1, 2, 3))
            np.testing.assert_allclose(sums, images[chosen].sum(axis=(1, 2, 3)))
        order = np.concatenate([chosen for _, chosen in epoch])
        assert sorted(order) == list(range(10))
        epochs.append((order, np.concatenate([canvases for canvases, _ in epoch])))
    assert (epochs[0][0] != epochs[1][0]).any()
    again = Canvases(images, labels, 6, batch_size=4, seed=3)
    np.testing.assert_array_equal(again[1][0], epochs[0][1][4:8])


def test_a_piece_comes_from_another_image_and_is_added(rng):
    # Every image is flat, and so is every piece: their sums tell the rest.
    images = np.arange(1, 6, dtype="uint8")[:, None, None, None]
    images = np.repeat(np.broadcast_to(images, (5, 9, 10, 1)), 200, axis=0)
    canvases = clutter(images, 30, pieces=1, seed=0)
    assert canvases.shape == (1000, 30, 30, 1) and canvases.dtype == "uint8"
    sums = canvases.sum(axis=(1, 2, 3), dtype="int64")
    pieces, rest = np.divmod(sums - 90 * images[:, 0, 0, 0].astype("int64"), 64)
    assert (rest == 0).all()
    assert set(pieces) == {1, 2, 3, 4, 5}
    # Places reach every edge, and no further.
    covered = (canvases > 0).any(axis=0)
    assert covered.all()


def test_places_are_the_centres_of_the_images():
    images = np.full((50, 3, 6, 2), 200, "uint8")
    images[::2] = 20
    canvases, places = clutter(
        images, (30, 50), pieces=4, piece_size=2, seed=0, return_places=True
    )
    assert places.shape == (50, 2) and places.dtype == "float32"
    np.testing.assert_array_equal(canvases, clutter(images, (30, 50), 4, 2, seed=0))
    empty, there = clutter(images, (30, 50), 0, seed=0, return_places=True)
    for canvas, (x, y) in zip(empty[..., 1], there, strict=True):
        rows, columns = np.nonzero(canvas)
        np.testing.assert_allclose((x + 1) / 2 * 50, columns.mean() + 0.5, atol=1e-5)
        np.testing.assert_allclose((y + 1) / 2 * 30, rows.mean() + 0.5, atol=1e-5)
    for canvas, image, (x, y) in zip(canvases, images, places, strict=True):
        left, top = round((x + 1) / 2 * 50 - 3), round((y + 1) / 2 * 30 - 1.5)
        seen = canvas[top : top + 3, left : left + 6]
        assert seen.shape == image.shape and (seen >= image).all()


def test_pieces_of_the_same_image_are_not_used():
    images = np.zeros((2, 8, 8, 1), "float32")
    images[1] = 0.25
    canvases = clutter(images, 8, pieces=1, seed=0)
    # Nowhere to go: the piece of each lies exactly under the other.
    np.testing.assert_array_equal(canvases, np.full((2, 8, 8, 1), 0.25))


@pytest.mark.parametrize("dtype,white", [("uint8", 255), ("float32", 1.0)])
def test_sums_are_clipped_to_white(dtype, white):
    images = np.full((3, 8, 8, 1), 0.8 * white).astype(dtype)
    canvases = clutter(images, 8, pieces=3, seed=0)
    np.testing.assert_array_equal(canvases, np.full((3, 8, 8, 1), white, dtype))


@pytest.mark.parametrize(
    "options,message",
    [
        ({"pieces": -1}, "`pieces` must be an integer of at least 0"),
        ({"pieces": 1, "piece_size": 9}, "Pieces are cut from other images"),
        ({"pieces": 1, "canvas_size": 7}, "`canvas_size` must be at least 8"),
        ({"pieces": 1, "canvas_size": 12.5}, "`canvas_size` must be an integer"),
    ],
)
def test_bad_clutter(options, message):
    options = {"canvas_size": 20, **options}
    with pytest.raises(ValueError, match=message):
        clutter(np.zeros((2, 8, 8, 1)), **options)
    if "piece_size" not in options:
        with pytest.raises(ValueError, match=message):
            datasets.Canvases(np.zeros((2, 8, 8, 1)), np.zeros(2), **options)


@pytest.mark.parametrize("images", [[[0]], np.zeros((2, 8, 8, 1), bool)])
def test_canvases_are_of_floats_or_integers(images):
    with pytest.raises(ValueError, match="array of NumPy, of floats or integers"):
        translate(images, 20)


def test_canvases_are_not_clipped_to_a_white_that_is_not_theirs():
    for images in (np.full((2, 8, 8, 1), 200.0), np.full((2, 8, 8, 1), 300)):
        with pytest.raises(ValueError, match="must be in"):
            clutter(images, 20, pieces=2)


def test_batches_of_canvases_take_labels_in_a_list():
    with pytest.raises(ValueError, match="`batch_size` must be an integer"):
        Canvases(np.zeros((3, 8, 8, 1)), [0, 1, 2], 20, batch_size=0)
    _, labels = Canvases(np.zeros((3, 8, 8, 1)), [0, 1, 2], 20)[0]
    assert sorted(labels.tolist()) == [0, 1, 2]
    with pytest.raises(ValueError, match="3 images and 2 labels"):
        datasets.Canvases(np.zeros((3, 8, 8, 1)), np.zeros(2), 20)


def test_mnist_is_the_real_one(mnist):
    (x, y), (x_val, y_val), (x_test, y_test) = mnist
    for images, labels, count in ((x, y, 50000), (x_val, y_val, 10000)):
        assert images.shape == (count, 28, 28, 1) and images.dtype == "uint8"
        assert labels.shape == (count,) and labels.dtype == "int32"
    # Counts of the classes in the published files.
    assert np.bincount(np.concatenate([y, y_val])).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert np.bincount(y_test).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert round(np.concatenate([x, x_val]).mean(), 2) == 33.32
    assert len(x_test) == 10000


def test_mnist_without_folder_or_leave_to_download(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="Pass `download=True`"):
        load_mnist()


def test_mnist_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))

    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(datasets.urllib.request, "urlopen", offline)
    with pytest.raises(ConnectionError, match="Are you offline"):
        load_mnist(download=True)


def test_mnist_folder_without_the_files(tmp_path):
    (tmp_path / IDX_FILES[0]).touch()
    with pytest.raises(FileNotFoundError, match="lacks train-labels-idx1-ubyte.gz"):
        load_mnist(tmp_path)


@pytest.fixture
def idx_folder(tmp_path):
    """Images and labels of zeros, in the four idx files."""
    for name, count in zip(IDX_FILES, (60000, 60000, 10000, 10000), strict=True):
        shape = (count, 28, 28) if "images" in name else (count,)
        write_idx(tmp_path / name, shape, bytes(np.prod(shape)))
    return tmp_path


def write_idx(path, shape, data, kind=8):
    head = struct.pack(f">{len(shape) + 1}I", 256 * kind + len(shape), *shape)
    path.write_bytes(gzip.compress(head + data, 1))


DAMAGES = {
    "no gzip": lambda path, _: path.write_bytes(b"<html>"),
    "cut": lambda path, _: path.write_bytes(path.read_bytes()[:-9]),
    "flipped": lambda path, _: path.write_bytes(path.read_bytes()[:-8] + bytes(8)),
    "empty": lambda path, _: path.write_bytes(gzip.compress(b"")),
    "short": lambda path, shape: write_idx(path, shape, b"too short"),
    "long": lambda path, shape: write_idx(path, shape, bytes(np.prod(shape) + 1)),
    "int8": lambda path, shape: write_idx(path, shape, bytes(np.prod(shape)), kind=9),
    "fewer": lambda path, shape: write_idx(
        path, (9, *shape[1:]), bytes(9 * np.prod(shape[1:], dtype=int))
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name,shape", [(IDX_FILES[1], (60000,)), (IDX_FILES[2], (10000, 28, 28))]
)
def test_damaged_mnist(damage, name, shape, idx_folder):
    DAMAGES[damage](idx_folder / name, shape)
    with pytest.raises(ValueError, match=f"{name}.* Is a file damaged"):
        load_mnist(idx_folder)


def test_mnist_with_a_label_beyond_nine(idx_folder):
    write_idx(idx_folder / IDX_FILES[3], (10000,), bytes(9999) + b"\n")
    with pytest.raises(ValueError, match="Received: 10 in the test labels"):
        load_mnist(idx_folder)


def test_mnist_of_a_folder_is_that_of_tensorflow_datasets(mnist):
    """Its arrays had these digests (TFDS 4.9.10, sha256), in the same order."""
    arrays = [array for split in mnist for array in split]
    assert [array.dtype.name for array in arrays] == ["uint8", "int32"] * 3
    assert [hashlib.sha256(array.tobytes()).hexdigest()[:16] for array in arrays] == [
        "0c90cd1e4b6b8b24",
        "ca259d94e51c8371",
        "060be6832b50a22a",
        "f00c18a8b856b41e",
        "a85d8dffc6063fb8",
        "58b236bac2b9f39e",
    ]
