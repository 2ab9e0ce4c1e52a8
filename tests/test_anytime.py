"""The example that trains a model which may stop after any glimpse."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import anytime
import paper_tasks


def test_lessons_take_turns_and_mix():
    def digits(value):
        labels = np.full((8, 10), value, "float32")
        return np.full((8, 2, 2, 1), value, "uint8"), labels

    lessons = anytime.Lessons([digits(1), digits(2)], digits(9), 1, 4, seed=0, epoch=0)
    seen = []
    for _ in range(3):
        parts = [lessons[index] for index in range(len(lessons))]
        images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        np.testing.assert_array_equal(images[:, 0, 0, 0], labels[:, 0])
        seen.append(sorted(images[:, 0, 0, 0]))
        lessons.on_epoch_end()
    assert seen == [[1] * 8, [2] * 4 + [9] * 4, [1] * 4 + [9] * 4]


def test_labels_of_teachers():
    class Teacher:
        def __init__(self, logit):
            self.logit = logit

        def predict(self, images, *_, **__):
            return np.tile([self.logit, 0], (len(images), 1))

    images, truth = np.zeros((2, 1)), np.eye(2)
    teachers = [Teacher(1.5 * np.log(3)), Teacher(0)]  # 3/4 and 1/2
    _, labels = anytime.labelled(images, truth, teachers)
    guess = np.array([5 / 8, 3 / 8])
    np.testing.assert_allclose(labels, 0.9 * guess + 0.1 * truth, rtol=1e-6)
    assert anytime.labelled(images, truth, [])[1] is truth


@pytest.mark.slow
def test_trains_and_tells(make_model, rng, monkeypatch, tmp_path):
    part = rng.integers(0, 256, (24, 28, 28, 1), "uint8"), np.arange(24) % 10
    monkeypatch.setattr(paper_tasks, "load", lambda _: (part, part, part))
    model = make_model(num_glimpses=7)
    model.save(tmp_path / "m.keras")
    arguments = f"--begin {tmp_path}/m.keras --epochs 2 --batch-size 8 --verbose 0"
    teachers = f"--teachers {tmp_path}/m.keras --output {tmp_path}/out"
    anytime.main([*arguments.split(), *teachers.split()])
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert len(result["curves"]["val_accuracy"]) == 2
    trained = keras.saving.load_model(tmp_path / "out/model.keras")
    logits, glimpses = (trained.decide(part[0])[n] for n in ("logits", "num_glimpses"))
    right = keras.ops.convert_to_numpy(logits)[:, -1].argmax(axis=1) == part[1]
    stopped = result["test, stopped"]
    assert stopped["error"] == pytest.approx(1 - right.mean(), abs=1e-6)
    assert stopped["glimpses"] == pytest.approx(
        float(keras.ops.mean(glimpses)), abs=1e-4
    )
