"""The example that trains a model on megapixel canvases."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import megapixel
import megapixel_glances
import megapixel_models
from megapixel_data import SIDE, TASKS, Megapixels

FLAGS = (
    "--size 150 --noise 1 --glimpses 3 --digit-steps 2 --epochs 1 --steps 2 "
    "--batch-size 4 --images 4 --verbose 0"
)


@pytest.fixture
def glyphs(rng):
    return rng.integers(1, 256, (40, SIDE, SIDE, 1), "uint8"), np.arange(40) % 10


@pytest.fixture
def options(monkeypatch, tmp_path):
    monkeypatch.setattr(megapixel, "STEPS", 2)
    lessons = (megapixel.Lesson(140, 0, 1, 1), megapixel.Lesson(150, 1, 3, 2))
    monkeypatch.setattr(megapixel, "LESSONS", lessons)
    return megapixel.parse_arguments([*FLAGS.split(), "--output", str(tmp_path / "m")])


@pytest.mark.parametrize("task", TASKS)
def test_places_are_those_of_the_digits(task, options, glyphs):
    options.task = task
    for lesson in megapixel.LESSONS:
        visits = megapixel.Visits(*glyphs, lesson, options, seed=5)
        for _ in range(2):
            images, targets = visits[1]
            assert targets["places"].shape == (4, 5, 2)
            for image, places in zip(images[..., 0], targets["places"], strict=True):
                for x, y in np.round((places + 1) / 2 * lesson.size).astype(int):
                    box = image[y - 14 : y + 14, x - 14 : x + 14]
                    assert (box == glyphs[0][..., 0]).all(axis=(1, 2)).any()
            visits.on_epoch_end()


def test_what_follows_by_hand():
    centres = np.array([[[100, 300], [130, 80], [300, 200], [310, 60], [400, 400]]])
    cases = {  # where one is: what is next, and what is in sight
        (103, 296): (1, 0),  # on the first
        (400, 400): (5, 4),  # on the last
        (112, 300): (0, 0),  # beside the first, and sees it
        (150, 260): (2, -1),  # the first lies 50 higher
        (135, 280): (0, -1),  # and here 35
        (500, 0): (3, -1),  # all lie above: the nearest of all
        (250, 250): (0, -1),  # the middle
    }
    starts = np.array([list(cases)], float)
    found = megapixel_glances.what_follows(centres, starts, size=500)
    np.testing.assert_array_equal(np.stack(found, axis=2)[0], list(cases.values()))


def test_starts_agree_with_what_is_there(glyphs):
    starts = megapixel_glances.Starts(*glyphs, 300, 1, 4, 200, 2, seed=5)
    inputs, targets = starts[1]
    images, locations = inputs["images"], inputs["locations"]
    assert np.abs(locations).max() <= 1 and (locations == 0).all(axis=2).any()
    known = np.isfinite(targets["places"]).all(axis=2)
    assert 0.5 < known.mean() < 1
    ways = np.linalg.norm(targets["places"] - locations, axis=2) * 150
    assert (ways[known & (targets["classes"] < 0)] >= 14).all()
    row, number = np.argwhere(known & (ways < 14) & (ways >= 10))[0]
    x, y = np.round((targets["places"][row, number] + 1) * 150).astype(int)
    box = images[row, y - 14 : y + 14, x - 14 : x + 14, 0]
    (glyph,) = np.flatnonzero((box == glyphs[0][..., 0]).all(axis=(1, 2)))
    assert targets["classes"][row, number] == glyphs[1][glyph]


def test_the_loss_of_single_glimpses_by_hand(options, glyphs):
    model = megapixel_models.make(options)
    model.location_sampler.stddev = 0.5
    glances = megapixel_glances.Glances(model)
    glances.compile()
    inputs, targets = megapixel_glances.Starts(*glyphs, 150, 0, 2, 8, 1, seed=5)[0]
    targets["places"][0, 0] = np.nan
    targets["classes"][0, :2] = [-1, 3]
    found = glances.predict_on_batch(inputs)
    ways = np.linalg.norm(found["means"] - targets["places"], axis=2)
    pull = np.nan_to_num(np.sqrt(1 + (ways / 0.5) ** 2) - 1)
    logits, classes = found["logits"].reshape(16, 10), targets["classes"].reshape(16)
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    seen = np.flatnonzero(classes >= 0)
    expected = pull.mean() - log_probs[seen, classes[seen]].mean()
    logs = glances.test_on_batch(inputs, targets, return_dict=True)
    right = (logits.argmax(axis=1) == classes)[seen].mean()
    expected = {"loss": expected, "distance": np.nanmean(ways), "accuracy": right}
    assert logs == pytest.approx(expected, rel=1e-4)


def test_a_glimpse_is_that_of_a_rollout(options, glyphs):
    """The first, from the middle."""
    model = megapixel_models.make(options)
    images = Megapixels(*glyphs, count=3, size=150)[0][0]
    look = model.rollout(images)
    inputs = {"images": images, "locations": np.zeros((3, 1, 2), "float32")}
    found = megapixel_glances.Glances(model)(inputs)
    for name, same in (("location_means", "means"), ("logits", "logits")):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(look[name])[:, :1],
            keras.ops.convert_to_numpy(found[same]),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("size", [300, 1500])
def test_it_goes_on_with_the_model_of_an_earlier_run(size, options):
    options.begin = str(Path(megapixel.__file__).with_name("megapixel.keras"))
    model = megapixel_models.make(options)
    image = np.zeros((1, size, size, 1), "uint8")
    y, x = size // 2 + 30, size // 2 + 80
    image[:, y : y + 22, x : x + 4] = 255  # a one, 92 pixels from the middle
    locations = keras.ops.convert_to_numpy(model.rollout(image)["locations"])[0]
    pixels = (locations[1] + 1) / 2 * size
    np.testing.assert_allclose(pixels, [x + 2, y + 11], rtol=0, atol=10)


def test_what_is_judged(options, glyphs, monkeypatch):
    """A model that looks at the first digit, at nothing, and guesses 3."""
    canvases = Megapixels(*glyphs, count=6, size=150, patches=0, batch_size=4)
    model = megapixel_models.make(options)
    first = canvases.layout["places"][:, :1, ::-1] + SIDE / 2

    def rollout(images):
        rows = slice(0, 4) if len(images) == 4 else slice(4, 6)
        there = first[rows] / 75 - 1
        logits = np.tile(keras.ops.one_hot([3, 4], 10), (len(there), 1, 1))
        return {"locations": np.concatenate([there, there + 9], 1), "logits": logits}

    monkeypatch.setattr(model, "rollout", rollout)
    found = megapixel_models.judge(model, canvases)
    right = [float(np.mean(canvases.targets == label)) for label in (3, 4)]
    assert found["accuracy_after"] == pytest.approx(right)
    assert found["digits_found"] == pytest.approx(1 / 5)
    assert found["all_found"] == 0
    monkeypatch.setattr(model, "predict_on_batch", lambda x: np.eye(10)[[4] * len(x)])
    few = float(np.mean(canvases.targets[:4] == 4))
    assert megapixel_models.accuracy(model, canvases, 4) == few
    assert megapixel_models.looked_at(model, 320) == 6 * 0.01  # six glimpses of 32x32


@pytest.mark.slow
# The log of what was stopped is left open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_goes_on_and_ends(options, glyphs, monkeypatch):
    task = "multi"
    monkeypatch.setattr(megapixel.datasets, "load_mnist", lambda *a, **k: (glyphs,) * 3)
    few = {"count": 8, "size": 150, "patches": 1, "batch_size": 4, "task": task}
    canvases = Megapixels(*glyphs, **few)
    monkeypatch.setattr(megapixel, "load_own", lambda *a, **k: (canvases, canvases))
    monkeypatch.setattr(megapixel, "load_published", lambda *a, **k: (None, canvases))
    arguments = [*FLAGS.split(), "--task", task, "--output", str(options.output)]
    score = megapixel.accuracy
    calls = []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 3:  # in the second epoch of the second lesson
            raise KeyboardInterrupt
        return score(*arguments)

    monkeypatch.setattr(megapixel, "accuracy", stopped)
    with pytest.raises(KeyboardInterrupt):
        megapixel.main(arguments)
    megapixel.main(arguments)
    assert len(calls) == 5  # the lesson's second epoch again, and that of rewards
    result = json.loads((options.output / "result.json").read_text())
    model = keras.saving.load_model(options.output / "model.keras")
    assert megapixel_models.judge(model, canvases) == result["test"]
    assert len(result["curves"]["loss"]) == 1
    with pytest.raises(SystemExit, match="holds a finished run"):
        megapixel.main(arguments)
