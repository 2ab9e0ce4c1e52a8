"""The example that draws road signs into photos."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import drawn_signs
import photos_data


@pytest.mark.parametrize("name", drawn_signs.DRAWN)
def test_a_sign_covers_its_shape_alone(name):
    rng = np.random.default_rng(0)
    shares, sides = [], []
    for _ in range(40):
        picture = np.asarray(drawn_signs.sign(name, rng))
        sides.append(len(picture))
        assert picture.shape == (sides[-1], sides[-1], 4)
        shares.append((picture[..., 3] > 127).mean())
    low, high = drawn_signs.SIZES
    assert low <= min(sides) < 2 * low and high / 2 < max(sides) <= high
    # Of the square that it is drawn in: its shape, tilted by up to a seventh.
    area = {"crosswalk": 0.77, "speedlimit": 0.72, "stop": 0.68, "trafficlight": 0.41}
    assert np.mean(shares) == pytest.approx(area[name], abs=0.1)


@pytest.mark.parametrize(
    ("name", "channel"), [("stop", 0), ("speedlimit", 0), ("crosswalk", 2)]
)
def test_signs_have_their_colour(name, channel):
    rng = np.random.default_rng(0)
    means = []
    for _ in range(40):
        picture = np.asarray(drawn_signs.sign(name, rng), "float")
        means.append(picture[picture[..., 3] > 200][:, :3].mean(axis=0))
    others = np.delete(np.mean(means, axis=0), channel)
    assert np.mean(means, axis=0)[channel] > 1.1 * others.max()


@pytest.fixture
def folder(tmp_path):
    """Photos of one colour each, most of them of speed limits."""
    level = iter(range(0, 250, 6))
    for name in drawn_signs.DRAWN:
        path = tmp_path / "signs" / name
        path.mkdir(parents=True)
        for index in range(20 if name == "speedlimit" else 5):
            photo = Image.new("RGB", (300, 400), (next(level), 128, 128))
            photo.save(path / f"{index}.jpg")
    return tmp_path / "signs"


def test_signs_are_drawn_into_training_photos_alone(folder, tmp_path):
    out = tmp_path / "drawn"
    drawn_signs.main(["--data", str(folder), "--output", str(out), "--number", "9"])
    names, paths, labels = photos_data.find(folder)
    rows = photos_data.split(paths, labels, 0)["train"]
    photos = photos_data.read([paths[row] for row in rows], (400, 300))
    levels = photos[labels[rows] == names.index("speedlimit"), 0, 0, 0].astype(int)
    assert len(levels) == 12
    classes, paths, labels = photos_data.find(out)
    assert classes == names
    np.testing.assert_array_equal(np.bincount(labels), [9] * 4)
    for photo in photos_data.read(paths, (400, 300)).astype(int):
        level = np.median(photo[..., 0])
        assert np.abs(levels - level).min() <= 1
        drawn = np.abs(photo - [level, 128, 128]).max(axis=-1) > 20
        assert 0.0005 < drawn.mean() < 0.6


def test_other_classes_are_refused(folder, tmp_path):
    (folder / "stop").rename(folder / "go")
    with pytest.raises(SystemExit, match="Received: .*go"):
        drawn_signs.main(["--data", str(folder), "--output", str(tmp_path / "drawn")])
    assert not (tmp_path / "drawn").exists()
