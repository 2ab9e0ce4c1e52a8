"""The example that trains on photos into which signs are drawn."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_ram

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import drawn_signs
import road_signs

NAMES = sorted(drawn_signs.DRAWN)
VIOLET = (255, 0, 255)  # as nothing is drawn


@pytest.fixture
def options():
    flags = "--data none --batch-size 12 --steps 2 --epochs 2 --verbose 0"
    return road_signs.parse_arguments(flags.split())


def batches(options):
    """Grey photos. Those of one class, which there is most of, are violet."""
    labels = np.array([0, 1, 1, 1, 2, 3])
    images = np.full((6, 120, 90, 3), 128, "uint8")
    images[labels == 1] = VIOLET
    return road_signs.Signs(images, labels, NAMES, options, 0)


def test_half_of_a_batch_is_drawn_and_its_places_are_told(options):
    images, targets = batches(options)[0]
    assert images.shape == (12, 120, 90, 3) and targets["places"].shape == (12, 1, 2)
    assert np.isnan(targets["places"][:6]).all()
    assert set(targets["classes"]) <= set(range(4))
    for image, [place] in zip(images[6:], targets["places"][6:], strict=True):
        changed = np.abs(image.astype(int) - VIOLET).max(axis=-1) > 40
        assert 0.005 < changed.mean() < 1
        x, y = np.clip((place + 1) / 2 * [90, 120], 0, [89, 119]).astype(int)
        around = changed[max(0, y - 12) : y + 12, max(0, x - 12) : x + 12]
        assert around.mean() > 0.25


def test_patches_show_a_sign_or_none():
    photos = np.full((3, 120, 90, 3), VIOLET, "uint8")
    rng = np.random.default_rng(0)
    images, labels = road_signs.patches(photos, NAMES, 100, rng)
    assert images.shape == (100, 48, 48, 3) and images.max() <= 1
    shown = np.abs(images - np.array(VIOLET) / 255).max(axis=-1) > 0.2
    shares = shown.mean(axis=(1, 2))
    assert (shares[labels == 4] == 0).all() and (shares[labels < 4] > 0.02).all()
    assert set(labels) == set(range(5))


def test_epochs_differ_and_follow_the_seed(options):
    first, again = batches(options), batches(options)
    np.testing.assert_array_equal(first[1][0], again[1][0])
    assert (first[0][0] != first[1][0]).any()
    first.on_epoch_end()
    assert (first[1][0] != again[1][0]).any()


@pytest.mark.slow
def test_a_run_ends_with_a_model_and_its_figures(tmp_path, rng):
    for name in NAMES:
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for index in range(10 if name == "speedlimit" else 5):
            photo = rng.integers(0, 256, (40, 30, 3), "uint8")
            Image.fromarray(photo).save(folder / f"{index}.jpg")
    (tmp_path / "photos/boxes.csv").write_text(
        "file,left,top,right,bottom\nstop/0.jpg,10,10,20,20\n"
    )
    flags = "--batch-size 4 --steps 1 --epochs 2 --sign-steps 2 --verbose 0".split()
    paths = ["--data", str(tmp_path / "photos"), "--output", str(tmp_path / "runs")]
    road_signs.train(road_signs.parse_arguments([*flags, *paths]))
    result = json.loads((tmp_path / "runs/s0/result.json").read_text())
    assert len(result["curves"]["val_balanced_accuracy"]) == 2
    assert np.sum(result["test"]["confusion"]) == 5
    model = keras_ram.RAM.from_preset(tmp_path / "runs/s0/model.keras")
    assert model.class_names == NAMES and model.name == "ram_road_signs"
    assert tuple(model(np.zeros((1, 60, 80, 3), "uint8")).shape) == (1, 4)
