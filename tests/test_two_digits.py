"""The example that reads two digits on one canvas."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import runs
import two_digits


@pytest.fixture
def digits(rng):
    return rng.integers(1, 256, (60, 28, 28, 1), "uint8"), np.arange(60) % 10


def test_digits_lie_at_their_places_and_do_not_touch(digits, rng):
    images, targets = two_digits.canvases(*digits, "sum", rng)
    np.testing.assert_array_equal((images > 0).sum(axis=(1, 2, 3)), 2 * 28**2)
    centres = np.round((targets["places"] + 1) / 2 * 100).astype(int)
    for index, (image, places) in enumerate(zip(images, centres, strict=True)):
        for which, (x, y) in enumerate(places):
            seen = image[y - 14 : y + 14, x - 14 : x + 14]
            np.testing.assert_array_equal(seen, digits[0][(index + which) % 60])
    among, _ = two_digits.canvases(*digits, "pair", rng)
    lit = (among > 0).sum(axis=(1, 2, 3))
    assert 2 * 28**2 < lit.mean() < lit.max() <= 2 * 28**2 + 8 * 8**2


def test_classes():
    pairs, _ = two_digits.TASKS["pair"]
    np.testing.assert_array_equal(pairs, pairs.T)
    assert set(pairs.flat) == set(range(55))
    assert len(set(pairs[np.triu_indices(10)])) == 55
    sums, _ = two_digits.TASKS["sum"]
    assert (sums[9, 9], sums[3, 4], sums[0, 0]) == (18, 7, 0)


def test_labels_are_those_of_both_digits(digits, rng):
    for task, (classes, _) in two_digits.TASKS.items():
        _, targets = two_digits.canvases(*digits, task, rng)
        # 0 and 1, 1 and 2, ..., and at the end 9 and 0.
        expected = [classes[first % 10, (first + 1) % 10] for first in range(60)]
        np.testing.assert_array_equal(targets["classes"], expected)


def test_epochs_differ_and_follow_the_seed(digits):
    options = two_digits.parse_arguments(["--batch-size", "4", "--steps", "2"])
    batches = two_digits.TwoDigits(*digits, options, 0)
    first, _ = batches[1]
    np.testing.assert_array_equal(first, batches[1][0])
    assert (first != batches[0][0]).any()
    batches.on_epoch_end()
    later, _ = batches[1]
    assert (first != later).any()
    np.testing.assert_array_equal(
        later, two_digits.TwoDigits(*digits, options, 1)[1][0]
    )


@pytest.mark.slow
def test_a_run_ends_with_a_model_and_its_errors(digits, monkeypatch, tmp_path):
    monkeypatch.setattr(two_digits, "load", lambda _: (digits,) * 3)
    flags = "--epochs 2 --steps 2 --batch-size 4 --digit-steps 2 --verbose 0".split()
    options = two_digits.parse_arguments([*flags, "--output", str(tmp_path)])
    two_digits.train(options)
    result = json.loads((tmp_path / "pair-s0" / "result.json").read_text())
    assert len(result["curves"]["loss"]) == 2
    model = keras.saving.load_model(tmp_path / "pair-s0" / "model.keras")
    images, targets = two_digits.canvases(*digits, "pair", np.random.default_rng(2))
    error = runs.error(model, images, targets["classes"])
    assert error == result["errors"]["test"]
    with pytest.raises(SystemExit, match="holds a finished run"):
        two_digits.train(options)
