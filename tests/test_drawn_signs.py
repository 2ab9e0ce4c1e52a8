"""The example that draws road signs into photos."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import drawn_signs


@pytest.mark.parametrize("name", drawn_signs.DRAWN)
def test_a_sign_covers_its_shape_alone(name):
    rng = np.random.default_rng(0)
    shares = []
    for side in np.repeat([24, 60, 200], 15).tolist():
        picture = np.asarray(drawn_signs.sign(name, side, rng))
        assert picture.shape == (side, side, 4)
        shares.append((picture[..., 3] > 127).mean())
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
        picture = np.asarray(drawn_signs.sign(name, 80, rng), "float")
        means.append(picture[picture[..., 3] > 200][:, :3].mean(axis=0))
    others = np.delete(np.mean(means, axis=0), channel)
    assert np.mean(means, axis=0)[channel] > 1.1 * others.max()


def test_a_sign_is_put_where_it_is_told():
    rng = np.random.default_rng(0)
    for _ in range(20):
        photo = Image.new("RGB", (300, 400), (255, 0, 255))  # as nothing is drawn
        drawn, (x, y) = drawn_signs.put(photo, "stop", rng)
        assert drawn.size == photo.size
        changed = np.abs(np.asarray(drawn, int) - np.asarray(photo)).max(axis=-1) > 40
        columns = np.flatnonzero(changed.any(axis=0))
        rows = np.flatnonzero(changed.any(axis=1))
        if 120 < x < 180:  # it lies within the photo, and so does its middle
            assert abs(columns.mean() - x) < 0.15 * drawn_signs.SIZES[1]
        assert -1 < y - rows.min() < 0.65 * drawn_signs.SIZES[1]
