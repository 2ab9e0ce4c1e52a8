"""Learns to classify photos by looking at parts of them, and tells how well.

    python examples/photos.py --data FOLDER                # train; stopped, it goes on
    python examples/photos.py --data FOLDER --against free # this class or any other
    python examples/photos.py --data FOLDER --pretrained --texture    # of materials

FOLDER holds a folder of JPEG files for each class. A fifth of the photos is kept for
validation, on which the epoch is chosen, and a fifth for a test at the end. Photos of
one subject, the same `num_...` in their names, stay together. Where a file `boxes.csv`,
or a PNG mask beside each photo, tells what decides, the result tells how often a
finest patch touched it; nothing is learned from that.

All photos are scaled to one size. First the backbone learns on whole photos, large and
small, what the classes look like and where that is told. From then on it is frozen.
Where it is sure, the RAM is taught to look; then it learns from rewards, and so that
the classifier sees what inference sees, it explores less in the last third. A run
writes `result.json`, `model.keras`, and pictures of right and wrong answers.

With `--texture` the class is not told at one place: a patch is told by the means of its
features, the RAM is taught to look at the quarters of a photo one after the other, and
photos are not varied.
"""

import argparse
import json
import math
from pathlib import Path

import keras
import numpy as np
import photos_data
import photos_judged
import photos_models
from runs import (
    Score,
    begin_run,
    end_run,
    falling_adam,
    keep,
    read_curves,
    save_bare,
)

import keras_ram

NOT_SETTINGS = ("data", "output", "verbose")
LOOKS = 4  # at the same photos, while the RAM is taught where to look


def main(arguments=None):
    """Trains a model, chooses the epoch on validation, and tests it once."""
    options = parse_arguments(arguments)
    folder = options.output / options.name
    settings = begin_run(folder, options, NOT_SETTINGS)
    keras.utils.set_random_seed(options.seed)
    names, paths, labels = photos_data.find(options.data)
    if options.against:
        labels = (labels != names.index(options.against)).astype("int32")
        names = [options.against, f"not {options.against}"]
    sides = photos_data.split(paths, labels, options.seed)
    images = photos_data.read(paths, options.size, colour=options.pretrained)
    data = {side: (images[rows], labels[rows]) for side, rows in sides.items()}
    shape = images.shape[1:]
    model = photos_models.make_ram(shape, names, options)
    cnn = see(model, data, options, folder)
    point(model, cnn, data, options, folder)
    train(model, data, options, folder)
    model.load_weights(folder / "best.weights.h5")
    save_bare(model, shape, folder / "model.keras")
    result = {
        "settings": settings,
        "class_names": names,
        "photos": {side: len(rows) for side, rows in sides.items()},
        "ram": {"multiply_adds": photos_judged.multiply_adds(model, shape)},
        "cnn": {"multiply_adds": photos_judged.multiply_adds(cnn, shape)},
    }
    for side in ("validation", "test"):
        masks = photos_data.read_masks(
            options.data, [paths[row] for row in sides[side]], options.size
        )
        for name, judged in (("ram", model), ("cnn", cnn)):
            result[name][side] = photos_judged.judge(judged, *data[side], masks)
    photos_judged.draw(model, *data["test"], folder)
    result["curves"] = read_curves(folder / "curves.csv")
    taught = {"cnn": ("first.csv",), "ram": ("pointing.csv", "curves.csv")}
    for name, files in taught.items():
        seconds = [sum(read_curves(folder / file)["seconds"]) for file in files]
        result[name]["seconds"] = sum(seconds)
    end_run(folder, result)
    for name in ("ram", "cnn"):
        print(name, json.dumps(result[name]["test"]))


def see(model, data, options, folder):
    """Shows the backbone of a RAM on whole photos what the classes look like.

    Returns:
        The classifier of whole photos. What it says of a place, and how much it
        attends to it, the backbone says from now on, and learns no more.
    """
    images, _ = data["train"]
    *blocks, pooling, _ = model.glimpse_net.backbone.layers
    channels = images.shape[-1]
    cnn = photos_models.make_cnn(blocks, pooling, channels, model.num_classes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps = steps_of(options.first_epochs, data, options)
    cnn.compile(falling_adam(2e-3, steps, alpha=0.02), loss, metrics=["accuracy"])
    seen = folder / "first.weights.h5"
    if not seen.exists():
        (folder / "first.csv").unlink(missing_ok=True)  # of one that was stopped
        cnn.fit(
            varied(data, options, 1000 * options.seed + 999, options.shrink),
            epochs=options.first_epochs,
            verbose=options.verbose,
            callbacks=[
                Score(lambda: score(cnn, *data["validation"])),
                keras.callbacks.CSVLogger(folder / "first.csv"),
            ],
        )
        cnn.save_weights(seen)
    cnn.load_weights(seen)
    photos_models.normalize(model, images, options.seed)
    model.glimpse_net.backbone.trainable = False  # or it learns the photos by heart
    return cnn


def point(model, cnn, data, options, folder):
    """Teaches a RAM to look where a classifier of whole photos attends.

    Where texture decides, that is all over; so it looks at quarters, one by one.
    """
    taught = folder / "taught.weights.h5"
    if taught.exists():
        model.load_weights(taught)
        return
    (folder / "pointing.csv").unlink(missing_ok=True)  # of one that was stopped
    if options.texture:
        evidence, near = photos_data.quarters, photos_data.NEAR
    else:
        evidence, near = photos_models.evidence_of(cnn, options.shrink), None
    pointing = keras_ram.Pointing(model, near)
    steps = LOOKS * steps_of(options.pointing_epochs, data, options)
    pointing.compile(falling_adam(2e-3, steps, alpha=0.02))
    epoch = varied(data, options, seed=1000 * options.seed + 998)
    log = keras.callbacks.CSVLogger(folder / "pointing.csv", append=True)
    for begun in range(0, LOOKS * options.pointing_epochs, LOOKS):
        images, labels = map(np.concatenate, zip(*epoch, strict=True))
        epoch.on_epoch_end()
        targets = {"places": evidence(images), "classes": labels}
        pointing.fit(
            images,
            targets,
            batch_size=options.batch_size,
            initial_epoch=begun,
            epochs=begun + LOOKS,
            verbose=options.verbose,
            callbacks=[Score(dict), log],  # nothing but seconds
        )
    model.save_weights(taught)


def score(model, images, labels):
    """How well a model tells the classes."""
    guesses = photos_judged.answers(model, images)[0].argmax(axis=1)
    right = photos_judged.balanced_accuracy(guesses, labels)
    return {"balanced_accuracy": right}


def varied(data, options, seed, shrink=(1,)):
    """An epoch of other photos of the same classes, or where texture decides of these.

    Moved, stretched and lit otherwise it is another texture.
    """
    size = (options.batch_size, steps_of(1, data, options))
    change = None if options.texture else photos_data.vary
    return photos_data.Varied(*data["train"], *size, seed, change, shrink)


def steps_of(epochs, data, options):
    """An epoch shows as many photos as there are."""
    return epochs * math.ceil(len(data["train"][0]) / options.batch_size)


def train(model, data, options, folder):
    """Learns from rewards, in two stages."""
    steps = steps_of(options.epochs, data, options)
    optimizer = falling_adam(options.learning_rate, steps, alpha=0.02)
    stages = [(options.epochs * 2 // 3, 1), (options.epochs, 1 / 3)]
    for until, share in stages:
        model.location_sampler.stddev = share * options.stddev
        model.compile(optimizer, episodes=options.episodes, discount=options.discount)
        curves = read_curves(folder / "curves.csv")  # of the epochs so far
        scores = curves["val_balanced_accuracy"]
        model.fit(
            # No stage repeats another, and no start what was before it.
            varied(data, options, seed=1000 * options.seed + len(scores)),
            epochs=until,
            shuffle=False,
            verbose=options.verbose,
            callbacks=[
                Score(lambda: score(model, *data["validation"])),
                *keep(folder, "val_balanced_accuracy", scores),
            ],
        )


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of class folders")
    add("--against", metavar="CLASS", help="tell this class from all others")
    add("--size", type=int, nargs=2, default=(400, 300), help="height and width")
    add("--patch-size", type=int, default=60)
    add("--scales", type=float, nargs="+", default=(1.25, 3.2))
    add("--glimpses", type=int, default=3)
    add("--filters", type=int, nargs="+", default=(16, 32, 64, 128))
    add("--pretrained", action="store_true", help="begin with ImageNet; a download")
    add("--texture", action="store_true", help="it decides, all over the photo")
    add("--shrink", type=int, nargs="+", default=(1, 2, 4, 6), help="at first")
    add("--first-epochs", type=int, default=100, help="of learning on whole photos")
    add("--pointing-epochs", type=int, default=12, help="of learning where to look")
    add("--epochs", type=int, default=6, help="of learning from rewards")
    add("--learning-rate", type=float, default=3e-4, help="of these")
    add("--batch-size", type=int, default=32)
    add("--episodes", type=int, default=4, help="rollouts of a photo")
    add("--discount", type=float, default=0.5, help="see `compile`")
    add("--stddev", type=float, default=0.2, help="of the policy, at first")
    add("--seed", type=int, default=0)
    add("--output", type=Path, default=Path("results"))
    add("--verbose", type=int, default=2, help="as in `fit`")
    options = parser.parse_args(arguments)
    parts = ("photos", options.data.resolve().name)
    against = (f"against-{options.against}",) if options.against else ()
    options.name = "-".join((*parts, *against, f"s{options.seed}"))
    return options


if __name__ == "__main__":
    main()
