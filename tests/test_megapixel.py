"""The canvases of `examples/megapixel_data.py`."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

import keras_ram

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import megapixel_data
from megapixel_data import SIDE, TASKS, Megapixels


@pytest.fixture
def glyphs():
    """Digits that tell what they are: 40 full squares, of a shade for each class."""
    labels = np.arange(40) % 10
    shades = (20 * labels + 11).astype("uint8")
    return np.ones((40, SIDE, SIDE, 1), "uint8") * shades[:, None, None, None], labels


def digits_on(canvas):
    """Class, row and column of the digits of `glyphs`, from the pixels alone."""
    found, canvas = [], canvas[..., 0].copy()
    for label in range(10):
        shade = 20 * label + 11  # noise is brighter than all of them
        while (canvas == shade).any():
            y, x = np.argwhere(canvas == shade)[0]
            box = canvas[y : y + SIDE, x : x + SIDE]
            assert box.shape == (SIDE, SIDE) and (box == shade).all()
            found.append((label, y, x))
            box[:] = 0
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_canvases_show_what_their_labels_say(seed, glyphs):
    options = {"count": 12, "size": 150, "patches": 20, "seed": seed}
    sets = {task: Megapixels(*glyphs, task, **options) for task in TASKS}
    canvases = sets["majority"].canvases(range(12))
    assert canvases.shape == (12, 150, 150, 1) and canvases.dtype == "uint8"
    for i, canvas in enumerate(canvases):
        found = digits_on(canvas)
        classes = [label for label, *_ in found]
        (majority,) = {c for c in classes if classes.count(c) >= 3}
        assert len(found) == 5 and classes.count(majority) == 3
        for a in range(5):
            for b in range(a):  # boxes do not overlap
                apart = np.abs(np.subtract(found[a][1:], found[b][1:]))
                assert apart.max() >= SIDE
        top = min(found, key=lambda digit: digit[1])[0]
        expected = {"majority": majority, "max": max(classes), "top": top}
        for task, label in expected.items():
            assert sets[task].targets[i] == label, task
        there = np.flatnonzero(sets["multi"].targets[i])
        assert set(there) == set(classes)


def test_noise_lies_within_under_the_digits(glyphs):
    blank = np.zeros_like(glyphs[0]), glyphs[1]
    data = Megapixels(*blank, count=30, size=150, patches=40)
    canvases = data.canvases(range(30))[..., 0]
    seen = np.argwhere(canvases > 0)[:, 1:]
    assert seen.min() >= 28 and seen.max() > 100
    assert data.layout["patch_places"].max() < 150 - 28
    for canvas, places in zip(canvases, data.layout["places"], strict=True):
        for y, x in places:  # black digits
            assert not canvas[y : y + SIDE, x : x + SIDE].any()


@pytest.mark.parametrize("thickness", [1, 3])
def test_a_patch_is_two_strokes(thickness):
    rng = np.random.RandomState(0)
    bank = megapixel_data.draw_strokes(200, thickness, rng)
    assert bank.shape == (200, SIDE, SIDE) and bank.dtype == "uint8"
    light = bank[bank > 0]
    assert 204 <= light.min() < 210 and 250 < light.max() <= 255
    # Each is at most 28 rows or columns of one or two pixels.
    there = (bank > 0).sum(axis=(1, 2))
    assert SIDE <= there.min() and there.max() <= 4 * SIDE * thickness
    thin = megapixel_data.draw_strokes(200, 1, np.random.RandomState(0))
    assert (bank[thin > 0] > 0).all()
    assert (there.sum() > 2 * (thin > 0).sum()) == (thickness == 3)


def test_a_thick_pixel_is_a_square():
    strokes = np.zeros((1, 5, 5), bool)
    strokes[0, 1, 3] = True
    (thick,) = megapixel_data.thickened(strokes, 3)
    assert thick[:3, 2:].all() and thick.sum() == 9
    (thin,) = megapixel_data.thickened(strokes, 1)
    np.testing.assert_array_equal(thin, strokes[0])


def test_equal_seeds_draw_equal_canvases(glyphs):
    def draw(**options):
        data = Megapixels(*glyphs, count=10, size=150, batch_size=4, **options)
        first = [data[i] for i in range(len(data))]
        data.on_epoch_end()
        return [
            [np.concatenate(parts) for parts in zip(*epoch, strict=True)]
            for epoch in (first, [data[i] for i in range(len(data))])
        ]

    def same(a, b):
        return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))

    kept, again = draw(seed=1)
    assert kept[0].shape == (10, 150, 150, 1) and same(kept, again)
    assert not same(kept, draw(seed=2)[0])
    _, shuffled = draw(seed=1, each_epoch="shuffled")
    order = [
        int((kept[0] == canvas).all(axis=(1, 2, 3)).argmax()) for canvas in shuffled[0]
    ]
    assert sorted(order) == list(range(10)) != order
    assert same([part[order] for part in kept], shuffled)
    first, fresh = draw(seed=1, each_epoch="fresh")
    assert same(first, kept)
    assert not any((canvas == kept[0]).all(axis=(1, 2, 3)).any() for canvas in fresh[0])
    assert same(fresh, draw(seed=1, each_epoch="fresh")[1])


def test_options_that_are_none(glyphs):
    with pytest.raises(ValueError, match="`task` must be one of"):
        Megapixels(*glyphs, task="minority")
    with pytest.raises(ValueError, match="`each_epoch` must be one of"):
        Megapixels(*glyphs, each_epoch="new")
    with pytest.raises(ValueError, match="`size` must be an integer of at least 140"):
        Megapixels(*glyphs, size=139)


def test_noise_changes_nothing_else(glyphs):
    empty, noisy, thick = (
        Megapixels(*glyphs, count=5, size=150, **options)
        for options in ({"patches": 0}, {}, {"thickness": 3})
    )
    for name in ("digits", "places"):
        np.testing.assert_array_equal(empty.layout[name], noisy.layout[name])
    for name in noisy.layout:
        np.testing.assert_array_equal(noisy.layout[name], thick.layout[name])
    canvas = empty.canvases([0])[0]
    assert len(digits_on(canvas)) == 5 and (canvas > 0).sum() == 5 * SIDE**2


def test_a_model_takes_them(glyphs):
    model = keras_ram.RAM(10, num_glimpses=2, shares=(1,), multi_label=True)
    model.compile(run_eagerly=True)
    data = Megapixels(*glyphs, "multi", count=8, size=140, patches=2, batch_size=4)
    logs = model.fit(data, validation_data=data, verbose=0).history
    assert np.isfinite(logs["val_loss"]).all()


# sha256 of the first three canvases, as `data/megapixel_mnist/make_mnist.py` of
# benbergner/ips (4c17c1d) makes them with its default seed from the idx files.
PUBLISHED = {
    "train": "afab8c9cd58af3a1",
    "test": "c5cefa9a6f950846",
}


def test_published_canvases(mnist, monkeypatch):
    monkeypatch.setattr(megapixel_data.datasets, "load_mnist", lambda *_, **__: mnist)
    sets = megapixel_data.load_published(None)
    assert [data.count for data in sets] == [5000, 1000]
    for data, expected in zip(sets, PUBLISHED.values(), strict=True):
        drawn = hashlib.sha256(data.canvases(range(3)).tobytes()).hexdigest()
        assert drawn.startswith(expected)


def test_own_canvases_share_no_digits(mnist, monkeypatch):
    monkeypatch.setattr(megapixel_data.datasets, "load_mnist", lambda *_, **__: mnist)
    train, validation = megapixel_data.load_own(None, count=20, size=200)
    assert (len(train.digits), len(validation.digits)) == (50000, 10000)
    assert (train.each_epoch, validation.each_epoch) == ("fresh", "same")
    assert validation.count == 1000
