"""The paper's tasks: what is to be seen, with which retina, and how well it was."""

import collections
import json

import keras
import numpy as np

from keras_ram import datasets

# Canvas and pieces, the patches and scales of the retina, and the test error in % by
# row and glimpses are those of Mnih et al., 2014, tables 1 and 2. `rows` has what
# is not as in `settings`.
TASKS = {
    "mnist": {
        "size": 28,
        "pieces": 0,
        "patch_size": 8,
        "scales": (1,),
        "settings": {"glimpses": 7, "epochs": 80, "discount": 1},
        "rows": {"plain": {"episodes": 4, "distorted": "first"}},
        "preset": "ram_mnist",
        "paper": {
            "ram": {2: 3.79, 3: 1.51, 4: 1.54, 5: 1.34, 6: 1.12, 7: 1.07},
            "cnn": {7: 1.21},
            "dense": {7: 1.69},
        },
    },
    "translated-60": {
        "size": 60,
        "pieces": 0,
        "patch_size": 12,
        "scales": (1, 2, 4),
        "settings": {"glimpses": 8, "epochs": 60, "discount": 0.5},
        "rows": {
            "plain": {"epochs": 80},
            "cnn": {"epochs": 400, "learning_rate": 3e-3, "distorted": "never"},
            "dense": {"epochs": 400, "distorted": "never"},
        },
        "preset": "ram_translated_mnist_60",
        "paper": {
            "ram": {4: 1.54, 6: 1.22, 8: 1.20},
            "cnn": {8: 1.62},
            "dense": {8: 2.63},
        },
    },
    "cluttered-60": {
        "size": 60,
        "pieces": 4,
        "patch_size": 12,
        "scales": (1, 2, 4),
        "settings": {
            "glimpses": 8,
            "epochs": 60,
            "discount": 0.5,
            "distorted": "first",
        },
        "rows": {
            "plain": {"epochs": 120},
            "cnn": {"epochs": 250, "distorted": "never"},
            "dense": {"epochs": 400, "distorted": "never"},
        },
        "preset": "ram_cluttered_mnist_60",
        "paper": {
            "ram": {4: 4.96, 6: 4.08, 8: 4.04},
            "cnn": {8: 8.09},
            "dense": {8: 11.96},
            "random": {8: 14.4},
        },
    },
    "cluttered-100": {
        "size": 100,
        "pieces": 8,
        "patch_size": 12,
        "scales": (1, 2, 4, 8),
        "settings": {
            "glimpses": 8,
            "epochs": 140,
            "discount": 0.5,
            "filters": (32, 32, 32, 64),
            "distorted": "first",
        },
        "rows": {
            "plain": {"epochs": 60},
            "cnn": {"epochs": 200, "distorted": "never"},
        },
        "preset": "ram_cluttered_mnist_100",
        "paper": {
            "ram": {4: 9.41, 6: 8.31, 8: 8.11},
            "cnn": {8: 14.35},
            "random": {8: 28.4},
        },
    },
}
ROWS = {
    "ram": "the best settings found",
    "plain": "the paper's networks: rectifier core, linear location network",
    "random": "the same as ram, but looking at random places",
    "cnn": "the paper's convolutional network with two layers",
    "dense": "the paper's network of two dense layers",
}


def load(data_dir):
    """MNIST: training, validation and test."""
    return datasets.load_mnist(data_dir, download=not data_dir)


def canvases(task, splits):
    """The validation and the test set, always the same."""
    size, pieces = task["size"], task["pieces"]
    return [
        (datasets.clutter(images, size, pieces, seed=seed), labels)
        for seed, (images, labels) in enumerate(splits[1:], start=1)
    ]


class Distorted(datasets.Canvases):
    """Digits turned, slanted and stretched a little, anew in each epoch.

    Where the canvas leaves them no other place, they are also moved by up to two
    pixels. Their margin is four.
    """

    def __init__(self, digits, *args, **kwargs):
        self.digits = digits
        super().__init__(digits, *args, **kwargs)

    def on_epoch_end(self):
        super().on_epoch_end()
        # The batches of the epoch have the numbers up to `len(self)`.
        rng = np.random.default_rng((self.seed, self.epoch, len(self) + 1))
        fits = self.canvas_size == self.digits.shape[1]
        self.images = distort(self.digits, rng, move=fits)


def distort(digits, rng, move=False):
    """Digits turned, slanted and stretched a little: bytes, as they were."""
    transforms = distortions(rng, len(digits), digits.shape[1], move)
    parts = -(-len(digits) // 5000)
    return np.concatenate(
        [
            keras.ops.convert_to_numpy(
                keras.ops.image.affine_transform(
                    some.astype("float32"), transform, fill_mode="constant"
                )
            ).astype("uint8")
            for some, transform in zip(
                np.array_split(digits, parts),
                np.array_split(transforms, parts),
                strict=True,
            )
        ]
    )


def distortions(rng, count, size, move):
    """Transforms of squares about their centre, for `affine_transform`."""
    angle, slant = rng.uniform(-0.2, 0.2, (2, count))  # radians, share of the height
    stretch_x, stretch_y = rng.uniform(0.9, 1.1, (2, count))
    sine, cosine = np.sin(angle), np.cos(angle)
    matrix = np.array(
        [
            [cosine * stretch_x, slant - sine * stretch_x],
            [sine * stretch_y, cosine * stretch_y],
        ]
    )  # (2, 2, count)
    centre = (size - 1) / 2
    offset = centre - matrix.sum(axis=1) * centre  # (2, count)
    offset += rng.uniform(-2, 2, offset.shape) * move
    rows = np.concatenate([matrix, offset[:, None]], axis=1).reshape(6, count)
    return np.pad(rows, ((0, 2), (0, 0))).T.astype("float32")  # (count, 8)


def draw(data_dir, file):
    """Draws five validation images of each task, at one size on the page."""
    from matplotlib.figure import Figure

    _, (digits, _), _ = load(data_dir)
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots(len(TASKS), 5)
    for row, (name, task) in zip(axes, TASKS.items(), strict=True):
        images = datasets.clutter(digits[:100], task["size"], task["pieces"], seed=1)
        row[2].set_title(f"{name}: {task['size']}x{task['size']} pixels")
        for axis, image in zip(row, images[:5, :, :, 0], strict=True):
            axis.imshow(image, cmap="gray")
            axis.set_axis_off()
    figure.savefig(file, dpi=100)


def print_table(output):
    """The paper's test errors beside ours: mean and range over seeds, a line
    for each choice of the other settings."""
    errors = collections.defaultdict(list)
    for path in sorted(output.glob("*/result.json")):
        result = json.loads(path.read_text())
        others = {k: v for k, v in result["settings"].items() if k != "seed"}
        errors[json.dumps(others)].append(100 * result["errors"]["test"])
    ours = [(json.loads(others), found) for others, found in errors.items()]
    names = ("paper", "ours", "range", "runs", "epochs")
    print(f"{'task':15}{'row':8}{'T':>3}" + "".join(f"{name:>8}" for name in names))
    for name, task in TASKS.items():
        for row in ROWS:
            paper = task["paper"].get("ram" if row == "plain" else row, {})
            runs = [
                (settings["glimpses"], settings["epochs"], found)
                for settings, found in ours
                if (settings["task"], settings["row"]) == (name, row)
            ]
            missing = set(paper) - {glimpses for glimpses, *_ in runs}
            runs += [(glimpses, 0, []) for glimpses in missing]
            for glimpses, epochs, found in sorted(runs):
                line = f"{name:15}{row:8}{glimpses:>3}{paper.get(glimpses, ''):>8}"
                if found:
                    line += f"{np.mean(found):>8.2f}{np.ptp(found):>8.2f}"
                    line += f"{len(found):>8}{epochs:>8}"
                print(line)
