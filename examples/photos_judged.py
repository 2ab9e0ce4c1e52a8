"""How good the models of `photos.py` are, what they cost, and where they looked."""

import math
import time

import numpy as np
from keras import layers
from photos_models import OnePlace
from sklearn import metrics

import keras_ram
from keras_ram.watching import watch_all


def judge(model, images, labels, masks):
    """How often answers are right, where it looked for them, and how fast."""
    logits, locations = answers(model, images)
    start = time.time()
    answers(model, images)  # compiled by now
    guesses = logits.argmax(axis=1)
    classes = np.arange(logits.shape[1])
    result = {
        "balanced_accuracy": balanced_accuracy(guesses, labels),
        "confusion": metrics.confusion_matrix(labels, guesses, labels=classes).tolist(),
        "milliseconds": 1000 * (time.time() - start) / len(images),
    }
    told = masks.any(axis=(1, 2))
    if locations is not None and told.any():
        sensor = model.glimpse_sensor
        side = sensor.patch_size * min(sensor.scales)
        found = touched(masks, locations, side)
        at_centre = touched(masks, 0 * locations[:, :1], side)
        right = told & (guesses == labels)
        result["touched"] = float(found[told].mean())
        result["touched_when_right"] = float(found[right].mean())
        result["at_the_centre"] = float(at_centre[told].mean())  # by no merit
    return result


def multiply_adds(model, shape):
    """Those of convolutions, and of products with matrices, for one image.

    What the retina averages is not counted.
    """
    if isinstance(model, keras_ram.RAM):
        sensor, net = model.glimpse_sensor, model.glimpse_net
        patch = (sensor.patch_size, sensor.patch_size, shape[-1])
        others = sum(_matrices(part) for part in (net.what, net.where, net.merge))
        others += _matrices(model.core) + _matrices(model.location_sampler)
        look = (
            len(sensor.scales + sensor.shares) * multiply_adds(net.backbone, patch)
            + others
        )
        return model.num_glimpses * look + _matrices(model.classifier)
    total, shape = 0, (None, *shape)
    for layer in model.layers:
        pooling = layer.pooling if isinstance(layer, OnePlace) else layer
        convolutions = [layer]
        if isinstance(pooling, keras_ram.AttentionPooling2D):
            convolutions = [pooling.values, pooling.attention]
        for part in convolutions:
            if isinstance(part, (layers.Conv2D, layers.DepthwiseConv2D)):
                cells = math.prod(part.compute_output_shape(shape)[1:3])
                total += cells * math.prod(part.kernel.shape)
        total += _matrices(layer)
        shape = layer.compute_output_shape(shape)
    return total


def _matrices(part):
    return sum(math.prod(w.shape) for w in part.weights if len(w.shape) == 2)


def answers(model, images, batch_size=32):
    """Logits, and where a RAM looked, `(n, T, 2)`, or `None`."""
    if not isinstance(model, keras_ram.RAM):
        return model.predict(images, batch_size, verbose=0), None
    seen = watch_all(model.rollout, images, batch_size)
    return seen["logits"][:, -1], seen["locations"]


def balanced_accuracy(guesses, labels):
    """The mean over the classes of how often photos of a class are right."""
    there = np.unique(labels)
    return float(metrics.recall_score(labels, guesses, labels=there, average="macro"))


def touched(masks, locations, side):
    """Whether a finest patch touched what decides: `(n,)`.

    Args:
        masks: Bools, `(n, height, width)`.
        locations: `(n, T, 2)`.
        side: Of a finest patch, in pixels.
    """
    size = np.array(masks.shape[:0:-1])  # width and height
    starts = (locations + 1) / 2 * size - side / 2
    starts, stops = np.clip([starts, starts + side], 0, size)
    found = []
    for mask, low, high in zip(masks, np.floor(starts), np.ceil(stops), strict=True):
        boxes = zip(low.astype(int), high.astype(int), strict=True)
        found.append(any(mask[y:v, x:u].any() for (x, y), (u, v) in boxes))
    return np.array(found)


def draw(model, images, labels, folder):
    """Draws some right answers and some wrong ones."""
    guesses = answers(model, images)[0].argmax(axis=1)
    for name, chosen in (("right", guesses == labels), ("wrong", guesses != labels)):
        rows = np.flatnonzero(chosen)
        if len(rows):
            rows = np.random.default_rng(0).permutation(rows)[:6]
            figure = keras_ram.plot_glimpses(model, images[rows], labels[rows])
            figure.savefig(folder / f"{name}.png", dpi=60)
