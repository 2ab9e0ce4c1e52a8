"""The example that trains a model on megapixel canvases."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import megapixel
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
    lessons = (megapixel.Lesson(1, 140, 0, 2, 1), megapixel.Lesson(5, 150, 1, 3, 2))
    monkeypatch.setattr(megapixel, "LESSONS", lessons)
    return megapixel.parse_arguments([*FLAGS.split(), "--output", str(tmp_path / "m")])


@pytest.mark.parametrize("task", TASKS)
def test_places_lead_through_the_digits_from_the_top(task, options, glyphs):
    options.task = task
    for lesson in megapixel.LESSONS:
        visits = megapixel.Visits(*glyphs, lesson, options, seed=5)
        for _ in range(2):
            images, targets = visits[1]
            assert targets["places"].shape == (4, lesson.digits, 2)
            for image, places in zip(images[..., 0], targets["places"], strict=True):
                assert (np.diff(places[:, 1]) >= 0).all()
                for x, y in np.round((places + 1) / 2 * lesson.size).astype(int):
                    box = image[y - 14 : y + 14, x - 14 : x + 14]
                    assert (box == glyphs[0][..., 0]).all(axis=(1, 2)).any()
            visits.on_epoch_end()


def test_a_lone_digit_is_of_its_class(options, glyphs):
    options.task = "top"
    visits = megapixel.Visits(*glyphs, megapixel.LESSONS[0], options, seed=5)
    images, targets = visits[0]
    for image, (place,), label in zip(
        images[..., 0], targets["places"], targets["classes"], strict=True
    ):
        x, y = np.round((place + 1) * 70).astype(int)
        box = image[y - 14 : y + 14, x - 14 : x + 14]
        (row,) = np.flatnonzero((box == glyphs[0][..., 0]).all(axis=(1, 2)))
        assert glyphs[1][row] == label
        assert (image > 0).sum() == SIDE**2  # and nothing else


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
    assert megapixel_models.looked_at(model, 320) == 6 * 0.01  # six glimpses of 32x32


@pytest.mark.slow
# The log of what was stopped is left open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("task", ["majority", "multi"])
def test_a_run_goes_on_and_ends(task, options, glyphs, monkeypatch):
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
