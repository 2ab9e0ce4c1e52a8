"""Photos in a folder of class folders: read, split by what they show, and varied."""

import csv
import re

import keras
import numpy as np
from PIL import Image

SHARES = {"validation": 0.2, "test": 0.2}  # the rest is for training
QUARTERS = np.array([(x, y) for x in (-0.45, 0.45) for y in (-0.45, 0.45)], "float32")
NEAR = 0.25  # so near its middle one has looked at a quarter


def find(folder):
    """Finds the photos.

    Args:
        folder: Path, with a folder of JPEG files for each class.

    Returns:
        The names of the classes, the paths of the photos, and their labels.
    """
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    paths = [sorted((folder / name).glob("*.jp*g")) for name in classes]
    if len(classes) < 2 or not all(paths):
        raise SystemExit(
            f"--data must hold at least two folders of JPEG files, one a class. "
            f"Received: {dict(zip(classes, map(len, paths), strict=True))} in {folder}"
        )
    labels = np.repeat(np.arange(len(classes)), [len(some) for some in paths])
    return classes, [p for some in paths for p in some], labels.astype("int32")


def subject(path):
    """What a photo shows: of some there are several photos, and `num_` tells which."""
    number = re.search(r"num_\d+", path.name)
    return number.group() if number else str(path)


def split(paths, labels, seed):
    """Deals out subjects, so that none is on two sides; the rarest class first.

    Returns:
        Dict from `"train"`, `"validation"` and `"test"` to indices of photos.
    """
    rng = np.random.default_rng(seed)
    subjects = np.array([subject(path) for path in paths])
    side_of = {}
    for label in np.argsort(np.bincount(labels), kind="stable"):
        fresh = sorted(set(subjects[labels == label]) - side_of.keys())
        fresh = rng.permutation(fresh)
        start = 0
        for side, share in SHARES.items():
            stop = start + round(share * len(fresh))
            side_of.update(dict.fromkeys(fresh[start:stop], side))
            start = stop
        side_of.update(dict.fromkeys(fresh[start:], "train"))
    sides = np.array([side_of[name] for name in subjects])
    return {side: np.flatnonzero(sides == side) for side in ("train", *SHARES)}


def read(paths, size, colour=False):
    """Reads photos, all scaled to one size.

    Returns:
        Bytes of shape `(n, *size, channels)`, grey if all photos are and may be.
    """
    photos = [_open(path) for path in paths]
    grey = not colour and all(photo.mode == "L" for photo in photos)
    mode = "L" if grey else "RGB"
    images = [
        np.asarray(photo.convert(mode).resize(size[::-1], Image.Resampling.BOX))
        for photo in photos
    ]
    return np.stack(images).reshape((len(images), *size, len(mode)))


def _open(path):
    with Image.open(path) as photo:
        photo.load()
    return photo


def read_masks(folder, paths, size):
    """Reads what decides: a mask beside each photo, or the boxes in `boxes.csv`.

    Returns:
        Bool array of shape `(n, *size)`, nowhere true where nothing is told.
    """
    boxes = {}
    if (folder / "boxes.csv").exists():
        with open(folder / "boxes.csv", newline="") as file:
            for row in csv.DictReader(file):
                corners = [int(row[k]) for k in ("left", "top", "right", "bottom")]
                boxes.setdefault(row["file"], []).append(corners)
    masks = np.zeros((len(paths), *size), bool)
    for mask, path in zip(masks, paths, strict=True):
        beside = path.with_suffix(".png")
        if beside.exists():
            picture = _open(beside).convert("L").point(lambda v: 255 * (v > 127))
            # The mean over a cell is positive wherever a pixel of it is.
            small = picture.resize(size[::-1], Image.Resampling.BOX)
            mask[:] = np.asarray(small) > 0
        width, height = _open(path).size
        scale = np.array([size[1] / width, size[0] / height] * 2)
        for corners in boxes.get(path.relative_to(folder).as_posix(), []):
            left, top, right, bottom = np.round(corners * scale).astype(int)
            mask[top:bottom, left:right] = True
    return masks


def quarters(images):
    """The middles of the four quarters of each image: `(n, 4, 2)`, in [-1, 1]."""
    return np.broadcast_to(QUARTERS, (len(images), *QUARTERS.shape))


class Varied(keras.utils.PyDataset):
    """Training photos, each class as often, changed by a function.

    Args:
        images: Bytes, `(n, height, width, channels)`.
        labels: `(n,)`.
        batch_size: Int.
        batches: Int, of an epoch.
        seed: Int.
        change: Function of a photo and a random generator, or `None`; as `vary`.
        shrink: Sequence of ints. One batch after the other shows photos at one
            over each of these of their height and width.
    """

    def __init__(
        self, images, labels, batch_size, batches, seed, change, shrink=(1,), **kwargs
    ):
        super().__init__(**kwargs)
        self.images, self.labels, self.shrink = images, labels, shrink
        self.batch_size, self.batches, self.seed = batch_size, batches, seed
        self.change = change
        self.epoch = 0

    def __len__(self):
        return self.batches

    def on_epoch_end(self):
        self.epoch += 1

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        classes = rng.integers(self.labels.max() + 1, size=self.batch_size)
        rows = [rng.choice(np.flatnonzero(self.labels == label)) for label in classes]
        photos = self.images[rows]
        if self.change:
            photos = [self.change(photo, rng) for photo in photos]
        factor = self.shrink[index % len(self.shrink)]
        return np.stack([shrunk(photo, factor) for photo in photos]), classes


def shrunk(image, factor):
    """A photo at one over `factor` of its height and width, of any channels."""
    small = _picture(image).reduce(factor)
    return np.asarray(small).reshape((*small.size[::-1], image.shape[-1]))


def _picture(image):
    return Image.fromarray(image if image.shape[-1] > 1 else image[..., 0])


def vary(image, rng):
    """Another photo of the same: moved, turned, mirrored, nearer, brighter.

    What lies beyond its edges is mirrored: black corners look like something.
    """
    height, width, channels = image.shape
    y_beyond, x_beyond = height // 2, width // 2
    margins = ((y_beyond, y_beyond), (x_beyond, x_beyond), (0, 0))
    wide = np.pad(image, margins, mode="symmetric")
    angle = np.deg2rad(rng.uniform(-10, 10))
    zoom = np.exp(rng.uniform(-0.3, 0.3, size=2) * [1, 0.3])
    x, y = zoom[0] * np.array([zoom[1], 1 / zoom[1]])
    mirror = rng.choice([-1, 1])
    a, b = mirror * x * np.cos(angle), x * np.sin(angle)
    d, e = -mirror * y * np.sin(angle), y * np.cos(angle)
    centre = np.array([width, height]) / 2
    moved = centre * (1 + rng.uniform(-0.15, 0.15, size=2))
    c = x_beyond + moved[0] - a * centre[0] - b * centre[1]
    f = y_beyond + moved[1] - d * centre[0] - e * centre[1]
    photo = _picture(wide).transform(
        (width, height), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.BILINEAR
    )
    varied = np.asarray(photo, "float32").reshape(image.shape)
    gains = rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, size=channels)
    return np.clip(varied * gains + rng.uniform(-25, 25), 0, 255).astype("uint8")
