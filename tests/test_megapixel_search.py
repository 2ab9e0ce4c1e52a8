"""Where to look next on megapixel canvases, and what is right so far."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from misses import beside

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import megapixel
import megapixel_models
import megapixel_search
import megapixel_way


@pytest.fixture
def make_search():
    """What teaches a model of a task on canvases of 1500x1500 pixels."""

    def make(task):
        options = megapixel.parse_arguments(["--task", task, "--glimpses", "5"])
        model = megapixel_models.make(options)
        return megapixel_search.Search(model, options)

    return make


def test_what_follows_by_hand():
    """On 1500x1500 pixels: digits nearby, or the middle of the next square."""
    centres = np.array([[200, 800], [230, 780], [900, 300], [800, 900], [1490, 10]])
    cases = {  # where one is: the digits that are left, and what may be next
        (1204, 203): ([0, 1, 2, 3, 4], (1312.5, 562.5)),
        (210, 795): ([1, 2, 3, 4], [1]),
        (209, 800): ([0, 1, 2, 3, 4], [0, 1]),
        (205, 790): ([2, 3, 4], (187.5, 562.5)),
        (755, 1080): ([0, 1, 2, 3], [3]),
        (755, 1100): ([0, 1, 2, 3], (1312.5, 937.5)),
        (750, 750): ([0, 1, 2, 4], (1312.5, 937.5)),  # the middle
        (1485, 15): ([0, 1, 2, 3], (1312.5, 562.5)),
        (1500, 1500): ([], (937.5, 1312.5)),
        (0, 0): ([], (562.5, 187.5)),
        (600, 400): ([], (562.5, 937.5)),
    }
    left = np.array([[np.isin(range(5), digits) for digits, _ in cases.values()]])
    places, here = (
        (np.array([values]) / 750 - 1).astype("float32")
        for values in (centres, list(cases))
    )
    found = megapixel_search.what_follows(places, left, here, size=1500)
    found = (keras.ops.convert_to_numpy(found)[0] + 1) * 750
    for seen, (_, expected) in zip(found, cases.values(), strict=True):
        if isinstance(expected, tuple):
            np.testing.assert_allclose(seen, [expected] * 5, rtol=0, atol=1e-3)
        else:
            (digits,) = np.nonzero(np.isfinite(seen).all(axis=1))
            assert digits.tolist() == expected
            np.testing.assert_allclose(seen[digits], centres[digits], atol=1e-3)


@pytest.mark.parametrize("size, squares", [(600, 2), (1500, 4), (3000, 8)])
def test_who_goes_round_sees_all(size, squares):
    """From each square to the one beside it, and through all of them."""
    start = 1 / squares - 1
    here, seen = np.full((1, 1, 2), start, "float32"), []
    places, left = np.full((1, 5, 2), 9, "float32"), np.zeros((1, 1, 5), bool)
    for _ in range(squares**2):
        there = megapixel_search.what_follows(places, left, here, size)
        there = keras.ops.convert_to_numpy(there)[:, :, 0]
        assert np.abs(there - here).sum() == pytest.approx(2 / squares)
        seen.append(tuple(there[0, 0].tolist()))
        here = there
    assert len(set(seen)) == squares**2 and seen[-1] == (start, start)


def test_ways_count_by_the_noise_that_is_nearby():
    units = [megapixel_search.unit_of_way(*case) for case in ((950, 40), (950, 0))]
    assert units == [pytest.approx(1280 / (40 * 0.4**2)), 400]


def test_the_way_is_that_of_a_rollout_of_nothing(make_search):
    model = make_search("majority").model
    look = model.rollout(np.zeros((1, 1500, 1500, 1), "uint8"))
    way = megapixel_way.Way(model, 1500)
    here = np.zeros((1, 2), "float32")
    found = keras.ops.convert_to_numpy(way(keras.ops.convert_to_tensor(here)))
    means = keras.ops.convert_to_numpy(look["location_means"])[:, 0]
    np.testing.assert_allclose(found, means, rtol=1e-4, atol=1e-5)
    off = way.off(*(keras.ops.convert_to_tensor(v) for v in (here, found)))
    # From the centre the way goes on to the middle of the next square.
    (ways,) = 750 * found - [1312.5 - 750, 937.5 - 750]
    assert float(off) == pytest.approx(np.sqrt(1 + (ways**2).sum()), rel=1e-4)


def test_a_way_is_learned(make_search):
    model = make_search("majority").model
    way = megapixel_way.Way(model, 600)
    here = np.random.default_rng(1).uniform(-1, 1, (500, 2)).astype("float32")
    here = keras.ops.convert_to_tensor(here)
    before = float(keras.ops.convert_to_numpy(way.off(here, way(here))))
    megapixel_way.learn_the_way(model, 600, steps=12, seed=0)
    after = float(keras.ops.convert_to_numpy(way.off(here, way(here))))
    assert after < 0.7 * before


def test_a_search_by_hand(make_search):
    """A digit nearby, missed by 100 pixels, visited, and then the way round."""
    search = make_search("max")
    places = np.array([[[850, 800], [850, 805], [10, 10], [10, 10], [1400, 100]]])
    locations = np.array([[[750, 750], [900, 900], [850, 803], [1250, 1250], [9, 9]]])
    means = np.array([[[840, 900], [860, 801], [850, 900], [1250, 250]]])
    values = [(v / 750 - 1).astype("float32") for v in (places, locations, means)]
    values = [keras.ops.convert_to_tensor(v) for v in values]
    chosen, known = search._next(*values)
    expected = [[[850, 805], [850, 800], [1312.5, 937.5], [937.5, 1312.5]]]
    found = (keras.ops.convert_to_numpy(chosen) + 1) * 750
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    assert keras.ops.convert_to_numpy(known).all()
    (ways,) = np.linalg.norm(means - found, axis=2)
    unit = 1280 / (50 * (380 / 1500) ** 2)
    errors = [[*beside(ways[:2]), *np.sqrt(1 + ways[2:] ** 2) / unit]]
    found = search._errors(values[2], chosen)
    found = keras.ops.convert_to_numpy(found)
    np.testing.assert_allclose(found, errors, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("task", "label", "expected"),
    [
        ("majority", 4, [4, 4, 4, 4]),
        ("max", 9, [9, 4, 7, 9]),  # what is asked for, where none was visited
        ("top", 1, [1, 4, 7, 7]),
        ("multi", [1, 4, 7, 9], [[1, 4, 7, 9], [4], [4, 7], [4, 7, 9]]),
    ],
)
def test_what_is_right_so_far_by_hand(task, label, expected, make_search):
    search = make_search(task)
    places = np.array([[[20, 900], [90, 500], [750, 30], [600, 95], [700, 700]]])
    locations = np.array([[[750, 750], [90, 506], [604, 95], [700, 695]]])
    places, locations = ((v / 750 - 1).astype("float32") for v in (places, locations))
    classes = {"digits": np.array([[4, 4, 1, 7, 9]]), "classes": np.array([label])}
    if task == "multi":
        classes["classes"], expected = (
            np.array([[int(c in s) for c in range(10)] for s in sets])
            for sets in ([label], expected)
        )
    locations = keras.ops.convert_to_tensor(locations)
    found = search._classes({"places": places, **classes}, locations)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), [expected])
