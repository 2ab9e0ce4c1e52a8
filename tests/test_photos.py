"""The example that learns from a folder of photos."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_ram

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import photos
import photos_data
import photos_models
from runs import read_curves

pytestmark = pytest.mark.slow

LIGHT, DARK = (250, 240, 230), (20, 30, 40)


@pytest.fixture
def folder(tmp_path, rng):
    """Grey photos of two classes, some of one subject, of all sizes, with masks."""
    for index in range(40):
        name, colour = (("dark", DARK), ("light", LIGHT))[index % 2]
        path = tmp_path / "photos" / name / f"exp{index}_num_{index % 26}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = rng.integers(30, 50, size=2)
        photo = Image.new("RGB", (int(width), int(height)), (128, 128, 128))
        mask = Image.new("L", photo.size)
        photo.paste(colour, (10, 5, 20, 15))
        mask.paste(255, (10, 5, 20, 15))
        photo.save(path)
        mask.save(path.with_suffix(".png"))
    return tmp_path / "photos"


def test_a_subject_is_never_on_two_sides(folder):
    names, paths, labels = photos_data.find(folder)
    assert names == ["dark", "light"]
    sides = photos_data.split(paths, labels, seed=3)
    assert sorted(np.concatenate(list(sides.values()))) == list(range(40))
    subjects = {
        side: {photos_data.subject(paths[row]) for row in rows}
        for side, rows in sides.items()
    }
    assert not subjects["train"] & subjects["test"]
    assert not subjects["train"] & subjects["validation"]
    assert not subjects["validation"] & subjects["test"]
    assert all(set(labels[rows]) == {0, 1} for rows in sides.values())


def test_masks_and_boxes_are_scaled_with_the_photos(folder):
    path = folder / "dark" / "exp0_num_0.jpg"
    with Image.open(path) as photo:
        width, height = photo.size
    size = (2 * height, 2 * width)
    (mask,) = photos_data.read_masks(folder, [path], size)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), columns.min()) == (10, 20)
    assert (rows.max(), columns.max()) == (29, 39)
    path.with_suffix(".png").unlink()
    table = f"file,left,top,right,bottom\ndark/{path.name},10,5,20,15\n"
    (folder / "boxes.csv").write_text(table)
    np.testing.assert_array_equal(photos_data.read_masks(folder, [path], size)[0], mask)


def test_a_patch_touches_what_it_overlaps():
    masks = np.zeros((1, 20, 40), bool)
    masks[0, 4, 30] = True  # its corners are at x = 0.5 to 0.55, y = -0.6 to -0.5
    for x, found in ((0.2, False), (0.26, True), (0.79, True), (0.81, False)):
        looked = np.array([[[0.0, 0.5], [x, -0.5]]])
        assert photos_models.touched(masks, looked, 10).tolist() == [found]


def test_evidence_is_where_the_class_has_its_largest_feature():
    block = keras.layers.Conv2D(2, 1, use_bias=False)
    cnn = photos_models.make_cnn([block], (4, 8, 2), 2)
    block.kernel.assign(np.eye(2)[None, None])
    cnn.layers[-1].kernel.assign(np.eye(2))
    images = np.zeros((2, 4, 8, 2), "uint8")
    images[:, 1, 6, 0] = images[:, 3, 0, 1] = 200
    places = photos_models.evidence_of(cnn)(images, np.array([0, 1]))
    np.testing.assert_allclose(places, [[0.625, -0.25], [-0.875, 0.75]])


def test_multiply_adds():
    shape = (8, 8, 3)
    cnn = photos_models.make_cnn(photos_models.make_blocks([5]), shape, 2)
    assert photos_models.multiply_adds(cnn, shape) == 16 * 27 * 5 + 5 * 2


def test_trains_and_tells(folder, tmp_path):
    arguments = ["--data", str(folder), "--output", str(tmp_path / "out")]
    arguments += "--size 32 32 --epochs 3 --first-epochs 1 --glimpses 2".split()
    arguments += "--pointing-epochs 2 --filters 4 4 --cnn-filters 4 4 8".split()
    arguments += "--batch-size 8 --verbose 0".split()
    photos.main(arguments)
    run = tmp_path / "out/photos-photos-ram-s0"
    result = json.loads((run / "result.json").read_text())
    assert result["class_names"] == ["dark", "light"]
    assert len(result["curves"]["seconds"]) == 3
    assert len(read_curves(run / "pointing.csv")["distance"]) == 2
    assert 0 <= result["test"]["touched_when_right"] <= 1
    model = keras_ram.RAM.from_preset(str(run / "model.keras"))
    assert model.class_names == ["dark", "light"]
    with pytest.raises(SystemExit, match="finished run"):
        photos.main(arguments)
    photos.main([*arguments, "--row", "cnn", "--against", "dark"])
    cnn = keras.saving.load_model(
        tmp_path / "out/photos-photos-cnn-against-dark-s0/model.keras"
    )
    assert cnn.output_shape == (None, 2)
