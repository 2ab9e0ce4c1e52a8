"""What was seen is erased from coarser patches."""

import itertools

import keras
import numpy as np
import pytest
from backends import FEW_STEPS
from keras import ops

import keras_ram
from keras_ram import GlimpseCell, GlimpseNet, GlimpseSensor, LocationSampler, drawing
from keras_ram.inhibition import unseen

HEIGHT, WIDTH, FINE = 60, 40, 4  # pixels, and subpixels along a side of one


def oracle(patch_size, cells, finest, location, earlier):
    """Counts subpixels under the boxes, one by one."""
    size = np.array([HEIGHT, WIDTH])
    margin = 200 * FINE  # outside as well
    side = finest * patch_size

    def corner(place, sides):
        centre = (np.array(place)[::-1] + 1) / 2 * size
        begin = (centre - np.array(sides) / 2) * FINE + margin
        np.testing.assert_allclose(begin, np.round(begin), atol=1e-3)
        return np.round(begin).astype(int)

    counts = np.zeros((2 * margin + HEIGHT * FINE, 2 * margin + WIDTH * FINE))
    for place in earlier:
        y, x = corner(place, (side, side))
        counts[y : y + side * FINE, x : x + side * FINE] += 1
    left = np.ones((len(cells), patch_size, patch_size))
    for (k, (high, wide)), i, j in itertools.product(
        enumerate(cells), range(patch_size), range(patch_size)
    ):
        if (high, wide) == (finest, finest):
            continue
        y, x = corner(location, (high * patch_size, wide * patch_size))
        y, x = y + i * int(high * FINE), x + j * int(wide * FINE)
        seen = counts[y : y + int(high * FINE), x : x + int(wide * FINE)].sum()
        whole = min(high * wide, side**2) * FINE**2
        left[k, i, j] = max(0, 1 - seen / whole)
    return left


def test_equals_counted_subpixels(rng):
    sensor = GlimpseSensor(4, scales=(6, 2, 20, 2.5), shares=(0.5,))
    cells = [(6, 6), (2, 2), (20, 20), (2.5, 2.5), (7.5, 5)]

    def draw(*shape):  # at halves of a pixel
        steps = rng.integers(0, np.array([2 * WIDTH, 2 * HEIGHT]) + 1, (*shape, 2))
        return (steps / [WIDTH, HEIGHT] - 1).astype("float32")

    locations, earlier = draw(5), draw(5, 7)
    earlier[:, 0] = locations  # seen just before
    earlier[:, 1] = 1e4  # and nowhere
    size = ops.convert_to_tensor([HEIGHT, WIDTH], "float32")
    found = unseen(sensor, size, *map(ops.convert_to_tensor, (locations, earlier)))
    found = ops.convert_to_numpy(found)
    expected = [
        oracle(4, cells, 2, place, [e for e in before if e[0] < 1e4])
        for place, before in zip(locations.astype(float), earlier, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert (found[:, 1] == 1).all() and (found[:, 0] == 0).any()
    assert ((found > 0.01) & (found < 0.99)).mean(axis=(0, 2, 3))[[0, 2, 3, 4]].all()


class Told(GlimpseNet):
    """Keeps what it is told."""

    def call(self, patches, locations):
        self.told = ops.convert_to_numpy(patches)
        return super().call(patches, locations)


def test_the_last_glimpses_are_erased_by_hand():
    """On white images of 16x16, with patches of 4x4 cells of one and of two pixels."""
    net, sensor = Told(8, 8, 8), GlimpseSensor(4, scales=(1, 2))
    core, sampler = keras.layers.GRUCell(4), LocationSampler()
    cell = GlimpseCell(sensor, net, core, sampler, inhibition_of_return=2)
    assert cell.state_size == [2, 4, 4]
    images = np.full((1, 16, 16, 1), 255, "uint8")
    states = cell.get_initial_state(1)
    seen = []
    for place in ([0.0, 0.0], [0.25, 0.0], [0.5, 1.0], [0.0, 0.0]):
        states[0] = ops.convert_to_tensor([place], "float32")
        _, states = cell(images, states)
        assert (net.told[:, 0, :2] == 1).all()  # never erased
        seen.append(net.told[0, 1, :, :, 0])
    centre = np.ones((4, 4))
    np.testing.assert_array_equal(seen[0], centre)
    # Two pixels to the right: the columns of cells from 6 to 10 are 0 and 1.
    expected = centre.copy()
    expected[1:3, :2] = 0
    np.testing.assert_array_equal(seen[1], expected)
    # The first is forgotten, and the second saw pixels 8 to 12 of x: two cells of those
    # from 4 to 12.
    expected = centre.copy()
    expected[1:3, 2:] = 0
    np.testing.assert_array_equal(seen[3], expected)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(states[2]), [[0.5, 1.0, 0.0, 0.0]]
    )


@pytest.fixture(scope="module")
def model(make_model):
    model = make_model(
        num_glimpses=4,
        scales=(1, 2, 5),
        shares=(0.5,),
        core="lstm",
        relative_locations=True,
        inhibition_of_return=True,
    )
    model.compile(episodes=3, **FEW_STEPS)
    return model


def rollout(model, images, **options):
    look = model.rollout(images, **options)
    return {name: ops.convert_to_numpy(value) for name, value in look.items()}


def test_it_changes_what_is_seen_but_for_the_first_glimpse(model, rng):
    images = rng.integers(0, 256, (3, 50, 40, 1), "uint8")
    config = {**model.get_config(), "inhibition_of_return": False}
    plain = type(model).from_config(config)
    plain.build((None, 50, 40, 1))
    assert plain.glimpse_cell().state_size == [2, [16, 16]]
    plain.set_weights(model.get_weights())
    with_it, without = rollout(model, images), rollout(plain, images)
    ways = np.abs(with_it["logits"] - without["logits"]).max(axis=2)
    assert ways[:, 0].max() < 1e-5 and ways[:, 1].min() > 1e-3


def test_padding_episodes_and_stops(model, rng):
    """Padded is as if alone, episodes are alike, and a stop changes nothing before."""
    photos = [
        rng.integers(0, 256, (*size, 1), "uint8") for size in ((60, 30), (33, 50))
    ]
    together = rollout(model, keras_ram.pad_images(photos))
    for row, photo in enumerate(photos):
        alone = rollout(model, photo[None])
        for name in ("logits", "locations"):
            np.testing.assert_allclose(
                together[name][row], alone[name][0], rtol=0, atol=1e-4
            )
    twice = rollout(model, keras_ram.pad_images(photos), episodes=2)
    np.testing.assert_allclose(
        twice["logits"], np.repeat(together["logits"], 2, axis=0), rtol=0, atol=1e-4
    )
    whole = ops.convert_to_numpy(model.decide(keras_ram.pad_images(photos))["logits"])
    np.testing.assert_allclose(whole, together["logits"], rtol=0, atol=1e-4)
    odds = np.exp(together["logits"])
    sure = (odds / odds.sum(axis=2, keepdims=True)).max(axis=2)  # (2, T)
    model.stop_confidence = float(sure[:, 0].mean())  # one stops at once
    decided = model.decide(keras_ram.pad_images(photos))
    numbers = ops.convert_to_numpy(decided["num_glimpses"])
    assert numbers.min() == 1 < numbers.max()
    for row, number in enumerate(numbers):
        np.testing.assert_allclose(
            ops.convert_to_numpy(decided["logits"])[row, :number],
            together["logits"][row, :number],
            rtol=0,
            atol=1e-4,
        )


def test_fit_save_and_other_numbers_of_glimpses(model, rng, tmp_path):
    images = rng.integers(0, 256, (8, 30, 30, 1), "uint8")
    history = model.fit(images, np.arange(8), batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    model.save(tmp_path / "m.keras")
    restored = keras.saving.load_model(tmp_path / "m.keras")
    assert restored.get_config()["inhibition_of_return"] is True
    before = rollout(model, images)["locations"]
    np.testing.assert_array_equal(before, rollout(restored, images)["locations"])
    for number in (1, 2, 12):  # the last as a compiled loop
        restored.num_glimpses = number
        found = rollout(restored, images)["locations"]
        np.testing.assert_allclose(found[:, :4], before[:, :number], rtol=0, atol=1e-5)


def test_pictures_show_what_was_left(model):
    images = np.full((2, 40, 40, 1), 255, "uint8")
    patches = drawing.look(model, images).patches
    plain = ops.convert_to_numpy(model.glimpse_sensor(images, np.zeros((2, 2))))
    np.testing.assert_allclose(patches[:, 0], plain / 255, rtol=0, atol=1e-6)
    assert (patches[:, 1, 1:].min(axis=(2, 3, 4)) < 0.8).all()


def test_cells_come_back_from_their_config():
    parts = GlimpseSensor(4, (1, 2)), GlimpseNet(8, 8, 8), "gru", LocationSampler()
    cell = GlimpseCell(*parts, inhibition_of_return=3)
    assert GlimpseCell.from_config(cell.get_config()).inhibition_of_return == 3
    old = cell.get_config()
    del old["inhibition_of_return"]  # as in older files
    assert GlimpseCell.from_config(old).state_size[2:] == []


@pytest.mark.parametrize(
    "options, text",
    [
        ({"inhibition_of_return": 3, "scales": (1, 2)}, "must be one of False, True"),
        ({"scales": (2, 2)}, r"there are none. Received: scales=\(2, 2\)"),
        ({"scales": (), "shares": (0.5, 1)}, r"scales=\(\), shares=\(0.5, 1\)"),
    ],
)
def test_bad_arguments(options, text):
    with pytest.raises(ValueError, match=text):
        keras_ram.RAM(10, **{"inhibition_of_return": True, **options})


def test_bad_arguments_of_a_cell():
    parts = GlimpseNet(8, 8, 8), "gru", LocationSampler()
    for value in (-1, True, 1.5):
        with pytest.raises(ValueError, match="must be an integer of at least 0"):
            GlimpseCell(GlimpseSensor(4, (1, 2)), *parts, inhibition_of_return=value)
    with pytest.raises(ValueError, match="and there are none"):
        GlimpseCell(GlimpseSensor(4), *parts, inhibition_of_return=1)
