"""The example that classifies CIFAR-10 through four glimpses."""

import itertools
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import cifar10


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (20, 32, 32, 3), "uint8"), np.arange(20) % 10


def varied(images, **kwargs):
    options = {"batch_size": 6, "seed": 0, "epoch": 0, **kwargs}
    return cifar10.Varied(*images, **options)


def test_an_image_is_moved_by_up_to_four_pixels_or_mirrored(images):
    wide = np.pad(images[0], ((0, 0), (4, 4), (4, 4), (0, 0)), "reflect")
    ways = set()
    for index in range(3):
        shown, targets = varied(images)[index]
        for image, label in zip(shown, targets["classes"], strict=True):
            found = [
                (y - 4, x - 4, turn)
                for row in np.flatnonzero(images[1] == label)
                for y in range(9)
                for x in range(9)
                for turn in (1, -1)
                if (wide[row, y : y + 32, x : x + 32][:, ::turn] == image).all()
            ]
            assert len(found) == 1
            ways.update(found)
    assert {turn for *_, turn in ways} == {1, -1}
    assert len(ways) > 10


def test_each_image_comes_once_in_an_epoch(images):
    labels = np.arange(20)
    batches = varied((images[0], labels))
    seen = np.concatenate([targets["classes"] for _, targets in batches])
    assert len(seen) == len(set(seen)) == 18


def test_epochs_differ_and_follow_the_seed(images):
    batches = varied(images)
    first, _ = batches[1]
    np.testing.assert_array_equal(first, batches[1][0])
    batches.on_epoch_end()
    later, _ = batches[1]
    assert (first != later).any()
    np.testing.assert_array_equal(later, varied(images, epoch=1)[1][0])


def test_quarters_fill_the_image(images):
    _, targets = varied(images)[0]
    assert targets["places"].shape == (6, 4, 2)
    half = cifar10.PATCH * cifar10.SCALES[1] / cifar10.SIZE  # where the image is 2 wide
    for spot in itertools.product((-0.94, 0, 0.94), repeat=2):
        ways = np.abs(targets["places"][0] - spot).max(axis=1)
        assert ways.min() < half


@pytest.mark.parametrize("filters", [(2, 3, 4, 5), (5, 5, 5, 5)])
def test_a_patch_is_halved_once(filters):
    assert cifar10.make_backbone(filters).output_shape == (None, 4 * 4 * 5)


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_run_ends_with_a_model_and_its_errors(
    rng, monkeypatch, tmp_path, policy, precision
):
    for split, number in (("train", 4), ("test", 2)):
        for name in cifar10.CLASS_NAMES:
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for index in range(number):
                image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), "uint8"))
                image.save(folder / f"{index}.jpg")
    monkeypatch.setattr(cifar10, "VALIDATION", 10)
    flags = "--epochs 2 --batch-size 10 --filters 2 2 --verbose 0 --precision"
    paths = ["--data-dir", str(tmp_path / "images"), "--output", str(tmp_path / "runs")]
    cifar10.train(cifar10.parse_arguments([*flags.split(), precision, *paths]))
    folder = tmp_path / "runs" / "s0"
    result = json.loads((folder / "result.json").read_text())
    assert len(result["curves"]["val_accuracy"]) == 2
    model = keras.saving.load_model(folder / "model.keras")
    _, test = cifar10.load(tmp_path / "images")
    wrong = model.predict(test[0], verbose=0).argmax(axis=1) != test[1]
    assert result["errors"]["test"] == pytest.approx(wrong.mean())
    assert model.class_names == cifar10.CLASS_NAMES
    assert model.dtype_policy.name == model.core.dtype_policy.name == precision
