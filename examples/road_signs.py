"""Trains a model to find a road sign in a photo and to name it.

    python examples/road_signs.py --data FOLDER

FOLDER holds the class folders of the Road Sign Detection dataset. Of a photo it is not
known where its sign is. So signs are drawn into photos as well, half of each batch (see
`drawn_signs`), and of these it is: there the model is taught where to look
(`keras_ram.Pointing`), and in all what it sees. The drawn ones go into training photos
of the class that there is most of.

A run writes settings, curves and balanced accuracies to OUTPUT/sSEED/result.json, the
model, and pictures of right and wrong answers. Stopped in between, it goes on from the
last epoch. A fifth of the photos is kept for validation, on which the epoch is chosen,
and a fifth for a test at the end.
"""

import argparse
import collections
from pathlib import Path

import drawn_signs
import keras
import numpy as np
import photos_data
import photos_models
from finding import make_backbone, prefer_what_is_near
from keras import layers
from photos import Balanced, judge
from PIL import Image
from runs import begin_run, end_run, falling_adam, keep, read_curves, save_bare

import keras_ram

SIZE = 400, 300  # height and width to which photos are scaled
PATCH, SCALES = 48, (1, 3, 8)  # cells, pixels a cell
NEAR = 0.15  # so near its middle one has looked at a sign
NOT_SETTINGS = ("data", "output", "verbose")


class Signs(keras.utils.PyDataset):
    """Batches of photos, half of them with a sign drawn in at a place that is told.

    Args:
        images: Bytes, `(n, height, width, 3)`, of training.
        labels: `(n,)`.
        names: Of the classes.
        options: What the command line gave.
        epoch: Int, with which it begins.
    """

    def __init__(self, images, labels, names, options, epoch, **kwargs):
        super().__init__(**kwargs)
        self.names, self.options, self.epoch = names, options, epoch
        [(most, _)] = collections.Counter(labels).most_common(1)
        self.plain = images[labels == most]
        half = options.batch_size // 2
        self.photos = photos_data.Varied(
            images, labels, half, options.steps, options.seed
        )

    def __len__(self):
        return self.options.steps

    def on_epoch_end(self):
        self.epoch += 1

    def __getitem__(self, index):
        self.photos.epoch = self.epoch
        photos, classes = self.photos[index]
        rng = np.random.default_rng((self.options.seed, self.epoch, index, 1))
        drawn = rng.integers(len(self.names), size=len(photos))
        images, places = zip(*(self._draw(label, rng) for label in drawn), strict=True)
        unknown = np.full((len(photos), 1, 2), np.nan)
        return np.concatenate([photos, images]), {
            "places": np.concatenate([unknown, places]).astype("float32"),
            "classes": np.concatenate([classes, drawn]).astype("int32"),
        }

    def _draw(self, label, rng):
        photo = self.plain[rng.integers(len(self.plain))][:, :: rng.choice([-1, 1])]
        photo = Image.fromarray(np.ascontiguousarray(photo))
        photo, middle = drawn_signs.put(photo, self.names[label], rng)
        place = np.clip(2 * np.array([middle]) / photo.size - 1, -1, 1)
        return np.asarray(photo), place


def patches(photos, names, number, rng):
    """Parts of photos with a sign that nearly fills them, or with none.

    Returns:
        Floats in [0, 1], `(number, PATCH, PATCH, 3)`, and labels, of which the one
        beyond those of the classes is that of no sign.
    """
    labels = rng.integers(len(names) + 1, size=number)
    images = []
    for label in labels:
        photo = Image.fromarray(photos[rng.integers(len(photos))])
        side = int(PATCH * np.exp(rng.uniform(0, np.log(min(photo.size) / PATCH))))
        x, y = (int(rng.integers(0, length - side + 1)) for length in photo.size)
        patch = photo.resize((PATCH, PATCH), box=(x, y, x + side, y + side))
        if label < len(names):
            side = int(PATCH * rng.uniform(0.3, 0.95))
            picture = drawn_signs.sign(names[label], side, rng)
            corner = rng.normal((PATCH - side) / 2, PATCH / 8, 2).astype(int)
            patch.paste(picture, tuple(corner.tolist()), picture)
        images.append(np.asarray(patch))
    return np.stack(images) / np.float32(255), labels


def learn_signs(model, photos, names, options):
    """Shows the backbone what signs look like."""
    rng = np.random.default_rng(options.seed)
    classifier = keras.Sequential(
        [
            model.glimpse_net.backbone,
            layers.Dense(128, "relu"),
            layers.Dense(len(names) + 1),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, options.sign_steps)
    classifier.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    for step in range(options.sign_steps):
        logs = classifier.train_on_batch(
            *patches(photos, names, 64, rng), return_dict=True
        )
        if step % 100 == 99 and options.verbose:
            print(step + 1, logs, flush=True)
            classifier.reset_metrics()


def make(names, options):
    """The model, built."""
    model = keras_ram.RAM(
        len(names),
        options.glimpses,
        PATCH,
        SCALES,
        core="lstm",
        core_units=160,
        glimpse_units=160,
        what_units=160,
        where_units=32,
        location_units=128,
        location_stddev=options.stddev,
        initial_location="center",
        location_step=1 / 64,
        relative_locations=True,
        backbone=make_backbone(PATCH, 3),
        name="ram_road_signs",
        class_names=names,
        seed=options.seed,
    )
    model.build((None, *SIZE, 3))
    kernel = model.location_sampler.mean.kernel
    kernel.assign(0.1 * kernel)  # not too far at first
    return model


class Score(Balanced):
    """The same of a model that another one teaches."""

    def set_model(self, model):
        super().set_model(model.model)


def train(options):
    """Trains, chooses the epoch on validation, and tests it once."""
    folder = options.output / f"s{options.seed}"
    settings = begin_run(folder, options, NOT_SETTINGS)
    keras.utils.set_random_seed(options.seed)
    names, paths, labels = photos_data.find(options.data)
    sides = photos_data.split(paths, labels, options.seed)
    images = photos_data.read(paths, SIZE)
    data = {side: (images[rows], labels[rows]) for side, rows in sides.items()}
    metric = "val_balanced_accuracy"
    scores = read_curves(folder / "curves.csv")[metric]
    model = make(names, options)
    training = Signs(*data["train"], names, options, len(scores))
    if not scores:
        learn_signs(model, training.plain, names, options)
        prefer_what_is_near(model)
    model.compile()
    pointing = keras_ram.Pointing(model, NEAR, options.weight)
    steps = options.epochs * options.steps
    pointing.compile(falling_adam(options.learning_rate, steps, alpha=0.02))
    pointing.fit(
        training,
        epochs=options.epochs,
        shuffle=False,
        verbose=options.verbose,
        callbacks=[Score(*data["validation"]), *keep(folder, metric, scores)],
    )
    pointing.load_weights(folder / "best.weights.h5")
    save_bare(model, (*SIZE, 3), folder / "model.keras")
    result = {"settings": settings, "class_names": names}
    for side in ("validation", "test"):
        rows = [paths[row] for row in sides[side]]
        masks = photos_data.read_masks(options.data, rows, SIZE)
        result[side] = judge(model, *data[side], masks)
        print(side, result[side])
    photos_models.draw(model, *data["test"], folder)
    result["curves"] = read_curves(folder / "curves.csv")
    end_run(folder, result)


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of class folders")
    add("--glimpses", type=int, default=3)
    add("--epochs", type=int, default=12)
    add("--steps", type=int, default=100, help="of an epoch")
    add("--batch-size", type=int, default=32)
    add("--learning-rate", type=float, default=1e-3)
    add("--weight", type=float, default=1.0, help="of places, beside classes")
    add("--stddev", type=float, default=0.1, help="of the policy")
    add("--sign-steps", type=int, default=1500, help="of the backbone")
    add("--seed", type=int, default=0)
    add("--output", type=Path, default=Path("results/road-signs"))
    add("--verbose", type=int, default=2, help="as in `fit`")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    train(parse_arguments())
