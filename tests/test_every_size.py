"""The example that trains one model for canvases and digits of every size."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_ram import datasets

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import every_size
import every_size_data


@pytest.fixture
def options(monkeypatch, tmp_path):
    flags = (
        "--epochs 2 --steps 3 --batch-size 4 --images 20 --glimpses 4 "
        "--find-steps 2 --verbose 0"
    ).split()
    folder = str(tmp_path / "run")
    monkeypatch.setattr(sys, "argv", ["every_size.py", *flags, "--output", folder])
    return every_size.parse_arguments()


@pytest.fixture
def digits(rng):
    return rng.integers(1, 256, (20, 28, 28, 1), "uint8"), np.arange(20) % 10


def test_sizes_change_from_batch_to_batch_and_pieces_come(options, digits):
    options.steps = 240
    options.epochs = 30

    def seen(epoch):
        batches = every_size_data.EverySize(*digits, options, epoch)
        images = [batches[i][0] for i in range(240)]
        # In rectangles digits have 28x28 pixels and pieces 8x8, none of them black.
        lit = [
            (np.mean((x > 0).sum(axis=(1, 2, 3))) - 28**2) / 8**2 / some
            for x in images
            if x.shape[1] != x.shape[2]
            and (some := every_size_data.pieces(*x.shape[1:3])[0])
        ]
        return [image.shape[1:3] for image in images], np.mean(lit)

    early, few = seen(0)
    late, many = seen(29)
    assert len(set(early + late)) > 60
    assert {height == width for height, width in late} == {False, True}
    for sizes in early, late:
        assert 40 <= np.min(sizes) < 60 and 400 < np.max(sizes) <= 500
    assert few < 0.9 * many


def test_places_are_those_of_the_digits(options, digits):
    options.steps = 40
    white = np.full_like(digits[0], 255)
    # Undistorted.
    batches = every_size_data.EverySize(white, digits[1], options, epoch=2)
    kinds = set()
    for index in range(40):
        images, targets = batches[index]
        assert targets["places"].shape == (4, 1, 2)
        size = np.array(images.shape[2:0:-1])  # width and height
        corners = (targets["places"][:, 0] + 1) / 2 * size
        for image, (x, y) in zip(images[..., 0], corners, strict=True):
            # White at least 6 pixels around, as the smallest digits are.
            assert (
                image[round(y) - 6 : round(y) + 6, round(x) - 6 : round(x) + 6]
            ).all()
        kinds.add((size[0] == size[1], bool(targets["places"].std() > 0)))
    assert kinds == {(True, True), (False, True)}


def test_pieces_follow_the_size_of_the_digits(digits):
    white = np.full_like(digits[0], 255)
    seen = dict(every_size_data.canvases(white, 20))
    # All is white: a digit and so many pieces, of which some lie on others.
    for digit, piece, number in ((14, 4, 44), (20, 6, 22), (40, 11, 5), (56, 16, 3)):
        assert every_size_data.pieces(100, 100, digit) == (number, piece)
        lit = (seen[f"digit_{digit}"] > 0).sum(axis=(1, 2, 3))
        assert digit**2 <= lit.min() and lit.max() <= digit**2 + number * piece**2
        assert lit.max() > digit**2 + number / 2 * piece**2


def test_windows_tell_what_is_to_be_found(digits):
    white = np.full_like(digits[0], 255)
    windows = every_size_data.Windows(white, digits[1], 24, 40, 64, seed=0)
    shares = []
    for index in range(40):
        patches, targets, weights = windows[index]
        assert patches.shape == (64, 24, 24, 1) and 0.99 < patches.max() <= 1.0001
        cells = (targets["place"] + 1) / 2 * 24
        there = weights["place"] == 1
        np.testing.assert_array_equal(targets["there"], there)
        for patch, (x, y) in zip(patches[there, ..., 0], cells[there], strict=True):
            # The largest cell has 17 pixels, of which 14 and more are the digit's.
            assert patch[int(y), int(x)] > 0.8
        assert not weights["class"][~there].any()
        assert (np.abs(targets["place"][weights["class"] > 0]) < 0.8).all()
        shares.append(there.mean())
    assert 0.4 < np.mean(shares) < 0.9


def test_late_steps_of_a_search_count_more(make_model):
    search = every_size.Search(make_model(), near=0.1)
    search.size = keras.ops.array([200.0, 400.0])
    means = keras.ops.zeros((1, 3, 2))
    off = keras.ops.array([0.04, -0.03])  # 4 pixels and 6
    errors = keras.ops.convert_to_numpy(search._errors(means, means + off))
    nears = np.array([4, 16, 48, 96])
    error = np.sum(1 - np.exp(-52 / 2 / nears**2)) + 0.4 * ((1 + 52 / 16) ** 0.25 - 1)
    np.testing.assert_allclose(errors, [[error, 1.5 * error, 2 * error]], rtol=1e-4)


def test_it_goes_on_with_the_model_of_an_earlier_run(options, mnist):
    options.begin = "ram_cluttered_mnist"
    model = every_size.make(None, options)
    model.num_glimpses = 4
    # Digits that are one or two cells in what sees the whole canvas.
    digits = mnist[2][0][:50]
    images, places = datasets.clutter(digits, 400, 0, seed=0, return_places=True)
    locations = keras.ops.convert_to_numpy(model.rollout(images)["locations"])
    assert tuple(locations.shape) == (50, 4, 2)
    pixels = 200 * np.linalg.norm(locations - places[:, None], axis=-1)
    # All of a digit lies in the patch of 72 pixels.
    assert np.mean(pixels.min(axis=1) < 36 - 14) > 0.9


@pytest.mark.slow
def test_a_run_ends_with_a_model_and_its_errors(options, monkeypatch, digits):
    monkeypatch.setattr(every_size, "load", lambda _: (digits,) * 3)
    lessons = (
        every_size.Lesson(0.4, 2, "random", 1),
        every_size.Lesson(1, 3, "center", 0.5),
    )
    monkeypatch.setattr(every_size, "LESSONS", lessons)
    every_size.train(options)
    result = json.loads((options.output / "result.json").read_text())
    model = keras.saving.load_model(options.output / "model.keras")
    assert len(result["errors"]["test"]) == 12
    assert len(result["curves"]["loss"]) == 2
    assert model.num_glimpses == 4
    again = every_size.errors(model, *digits, 20)
    assert again == result["errors"]["test"]
    with pytest.raises(SystemExit, match="holds a finished run"):
        every_size.train(options)
