"""Megapixel MNIST: five digits somewhere on a large canvas, among patches of noise.

The definition is that of Iterative Patch Selection (Bergner et al., 2023), after
attention sampling (Katharopoulos and Fleuret, 2019). Canvases are drawn from one
stream of random numbers in the order of `data/megapixel_mnist/make_mnist.py` in
github.com/benbergner/ips, so equal seeds give equal canvases.
"""

import keras
import numpy as np

from keras_ram import datasets
from keras_ram.validation import check_choice, check_integer

SIDE = 28  # of a digit and of a patch of noise
# Of three of the digits; the largest; the one highest up; all that are there.
TASKS = ("majority", "max", "top", "multi")


class Megapixels(keras.utils.PyDataset):
    """Batches of canvases, of which only places are kept.

    Args:
        digits: Uint8 array of shape `(n, 28, 28, 1)`.
        labels: Ints of shape `(n,)`.
        task: One of `TASKS`.
        count: Int, the number of canvases.
        size: Int, at least 140. Side of a canvas, in pixels.
        patches: Int, patches of noise on each canvas, and in the bank that they are
            taken from.
        thickness: Int, of the strokes of noise, in pixels. It changes nothing else.
        batch_size: Int.
        seed: Int.
        each_epoch: `"same"`, `"shuffled"` or `"fresh"`: other canvases, of other
            noise, which depend on the seed and the epoch alone.
        **kwargs: `workers`, … as for `keras.utils.PyDataset`.

    Attributes:
        layout: Dict of arrays, in the order of the canvases: `"digits"`, `(count, 5)`,
            rows of `digits`, of which the first three are of one class; `"places"`,
            `(count, 5, 2)`, row and column of their upper left corners; `"patches"`,
            `(count, patches)`, rows of `bank`, and `"patch_places"`, `(count, patches,
            2)`, corners at least 28 pixels from every edge.
        bank: Uint8 of shape `(patches, 28, 28)`, noise.
        targets: The labels of the canvases: ints of shape `(count,)`, or for `multi`
            `(count, 10)`, 1 for each class that is there.
    """

    def __init__(
        self,
        digits,
        labels,
        task="majority",
        count=5000,
        size=1500,
        patches=50,
        thickness=1,
        batch_size=16,
        seed=0,
        each_epoch="same",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_choice("task", task, TASKS)
        check_choice("each_epoch", each_epoch, ("same", "shuffled", "fresh"))
        check_integer("size", size, least=5 * SIDE)  # or four leave no room
        self.digits, self.labels = digits[..., 0], np.asarray(labels)
        self.task, self.count, self.size = task, count, size
        self.patches, self.thickness = patches, thickness
        self.batch_size, self.seed, self.each_epoch = batch_size, seed, each_epoch
        self.epoch = 0
        self.order = np.arange(count)
        self._lay_out(np.random.RandomState(seed))

    def __len__(self):
        return -(-self.count // self.batch_size)

    def __getitem__(self, index):
        rows = self.rows(index)
        return self.canvases(rows), self.targets[rows]

    def rows(self, index):
        """Which canvases a batch has."""
        return self.order[index * self.batch_size :][: self.batch_size]

    def places(self, index):
        """Row and column of the corners of a batch's digits, `(batch, 5, 2)`."""
        return self.layout["places"][self.rows(index)]

    def as_locations(self, places):
        """Rows and columns, `(..., 2)`, in pixels, as `(x, y)` in [-1, 1]."""
        return (places[..., ::-1] / self.size * 2 - 1).astype("float32")

    def classes(self, index):
        """Classes of a batch's digits, `(batch, 5)`."""
        return self.labels[self.layout["digits"][self.rows(index)]]

    def on_epoch_end(self):
        self.epoch += 1
        rng = np.random.RandomState([self.seed, self.epoch])
        if self.each_epoch == "fresh":
            self._lay_out(rng)
        elif self.each_epoch == "shuffled":
            self.order = rng.permutation(self.count)

    def canvases(self, rows):
        """Some of the canvases, uint8 of shape `(n, size, size, 1)`."""
        canvases = np.zeros((len(rows), self.size, self.size, 1), "uint8")
        for images, numbers, places in (
            (self.bank, "patches", "patch_places"),
            (self.digits, "digits", "places"),  # over the noise
        ):
            numbers, places = self.layout[numbers], self.layout[places]
            for canvas, row in zip(canvases, rows, strict=True):
                for number, (y, x) in zip(numbers[row], places[row], strict=True):
                    canvas[y : y + SIDE, x : x + SIDE, 0] = images[number]
        return canvases

    def _lay_out(self, rng):
        digits = draw_digits(self.labels, self.count, rng)
        places = draw_places(self.count, self.size, rng)
        self.bank = draw_strokes(self.patches, self.thickness, rng)
        shape = (self.count, self.patches)
        room = self.size - 2 * SIDE
        self.layout = {
            "digits": digits,
            "places": places,
            "patch_places": (rng.random_sample((*shape, 2)) * room + SIDE).astype(int),
            "patches": (rng.random_sample(shape) * self.patches).astype(int),
        }
        self.targets = targets(self.task, self.labels[digits], places)


def targets(task, classes, places):
    """The labels of canvases.

    Args:
        task: One of `TASKS`.
        classes: Ints of shape `(n, 5)`, of their digits, three of one class first.
        places: `(n, 5, 2)`, row and column of the digits.
    """
    if task == "multi":
        return np.eye(10, dtype="int32")[classes].max(axis=1)
    chosen = {
        "majority": np.zeros(len(classes), int),
        "max": classes.argmax(axis=1),
        "top": places[:, :, 0].argmin(axis=1),
    }[task]
    return classes[np.arange(len(classes)), chosen]


def draw_digits(labels, count, rng):
    """Rows of five digits each, `(count, 5)`: three of one class, two of others."""
    of_class = [np.flatnonzero(labels == label) for label in range(10)]
    of_others = [np.flatnonzero(labels != label) for label in range(10)]
    rows = []
    for _ in range(count):
        label = int(rng.random_sample() * 10)
        drawn = [rng.choice(of_class[label], 3), rng.choice(of_others[label], 2)]
        rows.append(np.concatenate(drawn))
    return np.array(rows)


def draw_places(count, size, rng):
    """Corners of five boxes each that do not overlap, `(count, 5, 2)`."""
    places = np.empty((count, 5, 2), int)
    for corners in places:
        for number in range(5):
            free = False
            while not free:
                corner = np.round(rng.random_sample(2) * (size - SIDE)).astype(int)
                apart = np.abs(corners[:number] - corner).max(axis=1) >= SIDE
                free = apart.all()
            corners[number] = corner
    return places


def draw_strokes(count, thickness, rng):
    """Patches of two straight strokes each, uint8 of shape `(count, 28, 28)`."""
    last = SIDE - 0.51  # which is rounded to the last pixel
    slopes = np.tan(rng.random_sample(count) * np.pi / 2.5)
    first = np.zeros((count, SIDE, SIDE), bool)
    for patch, slope in zip(first, slopes, strict=True):
        along = np.linspace(0, min(last, last / slope), 2 * SIDE)
        patch[np.round(along).astype(int), np.round(slope * along).astype(int)] = True
    second = rng.permutation(first)
    for _ in range(2):  # both turn left and right around
        turned = rng.random_sample(count) < 0.33
        second[turned] = second[turned, :, ::-1]
    strokes = thickened(first | second, thickness)
    light = 0.8 + 0.2 * rng.random_sample(strokes.shape)
    return (255 * (strokes * light).astype("float32")).astype("uint8")


def thickened(strokes, thickness):
    """Each pixel of a stroke as a square of this side."""
    before = (thickness - 1) // 2
    margin = (before, thickness - 1 - before)
    padded = np.pad(strokes, ((0, 0), margin, margin))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (thickness,) * 2, (1, 2))
    return windows.any(axis=(3, 4))


def load_published(data_dir, count=5000, **options):
    """The canvases that others report on.

    Args:
        data_dir: Folder of MNIST's idx files, or `None`, as for `load_mnist`.
        count: Int, canvases for training.
        **options: As for `Megapixels`.

    Returns:
        `Megapixels` for training, shuffled in each epoch, and 1,000 for test.
    """
    train, validation, test = datasets.load_mnist(data_dir, download=not data_dir)
    train = [np.concatenate(parts) for parts in zip(train, validation, strict=True)]
    return (
        Megapixels(
            *_as_in_the_file("train", *train),
            count=count,
            seed=1,
            each_epoch="shuffled",
            **options,
        ),
        Megapixels(*_as_in_the_file("test", *test), count=1000, seed=0, **options),
    )


def load_own(data_dir, count=5000, **options):
    """Canvases to learn from and to choose by.

    Args:
        data_dir, count, **options: As for `load_published`.

    Returns:
        `Megapixels` for training, made afresh in each epoch from the 50,000 training
        digits of `load_mnist`, and 1,000 for validation from the 10,000 others, which
        the presets have not seen either.
    """
    train, validation, _ = datasets.load_mnist(data_dir, download=not data_dir)
    return (
        Megapixels(*train, count=count, seed=2, each_epoch="fresh", **options),
        Megapixels(*validation, count=1000, seed=3, **options),
    )


def _as_in_the_file(split, images, labels):
    places = np.argsort(datasets.order_of(split, len(images)))
    return images[places], labels[places]
