"""The example that trains a model on megapixel canvases."""

import json
import sys
from pathlib import Path

import keras
import keras_ram.export
import numpy as np
import pytest
from backends import BACKEND
from misses import beside

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import megapixel
import megapixel_glances
import megapixel_models
import megapixel_search
import megapixel_way
import megapixel_windows
from megapixel_data import SIDE, TASKS, Megapixels

FLAGS = (
    "--size 150 --noise 1 --glimpses 3 --digit-steps 2 --way-steps 2 --epochs 1 "
    "--steps 2 --batch-size 4 --images 4 --verbose 0"
)


@pytest.fixture
def glyphs(rng):
    return rng.integers(1, 256, (40, SIDE, SIDE, 1), "uint8"), np.arange(40) % 10


@pytest.fixture
def options(monkeypatch, tmp_path):
    monkeypatch.setattr(megapixel, "STEPS", 2)
    lessons = (
        megapixel.Lesson(0, "center", 1, way=True),
        megapixel.Lesson(1, "random", 2),
    )
    monkeypatch.setattr(megapixel, "LESSONS", lessons)
    return megapixel.parse_arguments([*FLAGS.split(), "--output", str(tmp_path / "m")])


@pytest.mark.parametrize("task", TASKS)
def test_places_are_those_of_the_digits(task, options, glyphs):
    canvases = {"count": 8, "size": options.size, "patches": 2, "batch_size": 4}
    visits = megapixel_search.Visits(*glyphs, task, **canvases, each_epoch="fresh")
    for _ in range(2):
        images, targets = visits[1]
        assert targets["places"].shape == (4, 5, 2)
        for image, places in zip(images[..., 0], targets["places"], strict=True):
            for x, y in np.round((places + 1) / 2 * options.size).astype(int):
                box = image[y - 14 : y + 14, x - 14 : x + 14]
                assert (box == glyphs[0][..., 0]).all(axis=(1, 2)).any()
        visits.on_epoch_end()


@pytest.mark.parametrize("glimpses", [0, 1])
def test_noise_is_as_thick_as_asked(glimpses, options, glyphs):
    model = megapixel_models.make(options)
    lesson = megapixel.Lesson(glimpses, "center", 1)
    options.noise = 6
    light = []
    for options.thickness in (1, 3):
        _, data = megapixel.prepare(model, glyphs, lesson, options, seed=5)
        light.append((data.bank > 0).mean())
    assert 2 < light[1] / light[0] < 4


def test_starts_agree_with_what_is_there(glyphs):
    canvases = {"count": 8, "size": 300, "patches": 3, "batch_size": 4, "seed": 5}
    starts = megapixel_glances.Starts(*glyphs, 200, 7, **canvases)
    inputs, targets = starts[1]
    images, locations = inputs["images"], inputs["locations"]
    assert np.abs(locations).max() <= 1 and (locations == 0).all(axis=2).any()
    assert inputs["earlier"].shape == (4, 200, 7, 2)
    looked = np.abs(inputs["earlier"]).max(axis=3) < 2
    assert 0.3 < looked.mean() < 0.7
    assert np.isfinite(targets["places"]).all(axis=3).any(axis=2).all()
    looks = np.concatenate([locations[:, :, None], inputs["earlier"]], axis=2)
    ways = looks[:, :, :, None] - targets["places"][:, :, None]  # (4, 200, 8, 5, 2)
    ways = 150 * np.linalg.norm(ways, axis=4)
    assert (np.nanmin(ways, axis=(2, 3)) >= megapixel_models.NEAR - 1e-3).mean() > 0.9
    here = ways[:, :, 0]
    row, number, digit = np.argwhere((here > 8) & (here < 10))[0]
    x, y = np.round((targets["places"][row, number, digit] + 1) * 150).astype(int)
    box = images[row, y - 14 : y + 14, x - 14 : x + 14, 0]
    (glyph,) = np.flatnonzero((box == glyphs[0][..., 0]).all(axis=(1, 2)))
    assert targets["classes"][row, number] == glyphs[1][glyph]


def test_windows_tell_where_digits_are(glyphs):
    """Digits that are white, so that cells are as bright as they can be."""
    white = np.full_like(glyphs[0], 255)
    windows = megapixel_windows.Windows(white, glyphs[1], steps=6, seed=0)
    shares, readable = [], []
    for index in range(len(windows)):
        patches, targets, weights = windows[index]
        assert patches.shape == (128, 32, 32, 1) and patches.max() < 1.0001
        cells = (targets["place"] + 1) / 2 * 32
        there = weights["place"] == 1
        np.testing.assert_array_equal(targets["there"], there)
        for patch, (x, y) in zip(patches[there, ..., 0], cells[there], strict=True):
            # The largest cell has 12 pixels, all of which are the digit's.
            assert patch[int(y), int(x)] > 0.99
        assert not weights["class"][~there].any()
        shares.append(there.mean())
        readable.append((weights["class"] > 0).mean())
    assert 0.4 < np.mean(shares) < 0.9 and np.mean(readable) > 0.3


def test_the_loss_of_single_glimpses_by_hand(options, glyphs):
    options.size, options.noise, options.weight = 600, 20, 0.5
    model = megapixel_models.make(options)
    glances = megapixel_glances.Glances(model, options)
    glances.compile()
    canvases = {"count": 2, "size": 600, "patches": 0, "batch_size": 2, "seed": 5}
    inputs, targets = megapixel_glances.Starts(*glyphs, 8, 2, **canvases)[0]
    targets["places"][0, 0] = [[0.3, 0.9]] + 4 * [[np.nan] * 2]
    targets["classes"][0, :2] = [-1, 3]
    found = glances.predict_on_batch(inputs)
    ways = np.linalg.norm(found["means"][:, :, None] - targets["places"], axis=3)
    ways = np.nanmin(ways, axis=2)
    places = targets["places"]
    middle = (places == places[:, :, :1]).all(axis=(2, 3))  # all five are the same
    assert 0 < middle.mean() < 1
    ways *= 300  # pixels
    unit = 1280 / (20 * (380 / 600) ** 2)
    errors = np.where(middle, np.sqrt(1 + ways**2) / unit, beside(ways))
    logits, classes = found["logits"].reshape(16, 10), targets["classes"].reshape(16)
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    seen = np.flatnonzero(classes >= 0)
    way = megapixel_way.Way(model, size=600)
    anywhere = targets["anywhere"].reshape(512, 2).astype("float32")
    off = way.off(anywhere, way(keras.ops.convert_to_tensor(anywhere)))
    off = float(keras.ops.convert_to_numpy(off))
    expected = 2 * 0.5 * (errors.mean() + off / unit)
    expected -= log_probs[seen, classes[seen]].mean()
    logs = glances.test_on_batch(inputs, targets, return_dict=True)
    right = (logits.argmax(axis=1) == classes)[seen].mean()
    expected = {"loss": expected, "distance": ways.mean() / 300, "accuracy": right}
    assert logs == pytest.approx(expected, rel=1e-4)


def test_a_glimpse_is_that_of_a_rollout(options, glyphs):
    """The first, from the middle."""
    model = megapixel_models.make(options)
    images = Megapixels(*glyphs, count=3, size=150)[0][0]
    look = model.rollout(images)
    inputs = {
        "images": images,
        "locations": np.zeros((3, 1, 2), "float32"),
        "earlier": np.full((3, 1, 2, 2), 99, "float32"),
    }
    found = megapixel_glances.Glances(model, options)(inputs)
    for name, same in (("location_means", "means"), ("logits", "logits")):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(look[name])[:, :1],
            keras.ops.convert_to_numpy(found[same]),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("size", [300, 1500])
def test_it_goes_on_with_the_model_of_an_earlier_run(size, options):
    options.begin = str(Path(megapixel.__file__).with_name("megapixel.keras"))
    options.size = size
    model = megapixel_models.make(options)
    image = np.zeros((1, size, size, 1), "uint8")
    y, x = size // 2 + 30, size // 2 + 80
    image[:, y : y + 22, x : x + 4] = 255  # a one, 92 pixels from the middle
    locations = keras.ops.convert_to_numpy(model.rollout(image)["locations"])[0]
    pixels = (locations[1] + 1) / 2 * size
    np.testing.assert_allclose(pixels, [x + 2, y + 11], rtol=0, atol=10)


def test_what_is_judged(options, glyphs, monkeypatch):
    """A model that looks at the first digit, at nothing, and guesses 3."""
    canvases = Megapixels(*glyphs, count=6, size=150, patches=0, batch_size=4)
    model = megapixel_models.make(options)
    first = canvases.layout["places"][:, :1, ::-1] + SIDE / 2

    def rollout(images):
        rows = slice(0, 4) if len(images) == 4 else slice(4, 6)
        there = first[rows] / 75 - 1
        logits = np.tile(keras.ops.one_hot([3, 4], 10), (len(there), 1, 1))
        return {"locations": np.concatenate([there, there + 9], 1), "logits": logits}

    monkeypatch.setattr(model, "rollout", rollout)
    found = megapixel_models.judge(model, canvases)
    right = [float(np.mean(canvases.targets == label)) for label in (3, 4)]
    assert found["accuracy_after"] == pytest.approx(right)
    assert found["digits_found"] == pytest.approx(1 / 5)
    assert found["all_found"] == 0
    few = float(np.mean(canvases.targets[:4] == 4))
    assert megapixel_models.judge(model, canvases, 4)["accuracy"] == few
    model.num_glimpses = 6
    assert megapixel_models.looked_at(model, 240) == 6 * 0.01  # glimpses of 24x24


def test_a_picture_of_a_canvas(options, glyphs):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    images, classes = Megapixels(*glyphs, count=1, size=150)[0]
    model = megapixel_models.make(options)
    model.num_glimpses = 4
    figure = megapixel_models.draw(model, images[0], int(classes[0]))
    canvas, *patches = figure.axes
    drawn = [text.get_text() for text in canvas.texts]
    assert drawn == ["1", "2", "3", "4"] and len(patches) == 4
    centre = images[0, 63:87, 63:87, 0] / 255  # in cells of 3/4 pixels
    seen = np.array(patches[0].images[0].get_array())
    assert seen.shape == (32, 32)
    np.testing.assert_allclose(seen.mean(), centre.mean(), atol=1e-6)
    pyplot.close(figure)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="artifacts are written there")
def test_all_runtimes_look_at_the_same_places(tmp_path):
    """With the weights that are there: the export compares them."""
    folder = Path(megapixel.__file__).parent
    model = keras.saving.load_model(folder / "megapixel.keras")
    assert keras_ram.export.export_onnx(model, tmp_path / "m.onnx", "uint8") < 1e-4


@pytest.mark.slow
# The log of what was stopped is left open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_goes_on_and_ends(options, glyphs, monkeypatch):
    task = "multi"
    monkeypatch.setattr(megapixel.datasets, "load_mnist", lambda *a, **k: (glyphs,) * 3)
    few = {"count": 8, "size": 150, "patches": 1, "batch_size": 4, "task": task}
    canvases = Megapixels(*glyphs, **few)
    monkeypatch.setattr(megapixel, "load_own", lambda *a, **k: (canvases, canvases))
    monkeypatch.setattr(megapixel, "load_published", lambda *a, **k: (None, canvases))
    arguments = [*FLAGS.split(), "--task", task, "--output", str(options.output)]
    score, learn_the_way = megapixel.judge, megapixel.learn_the_way
    calls, ways = [], []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 3:  # in the second epoch of the second lesson
            raise KeyboardInterrupt
        return score(*arguments)

    def on_the_way(*arguments):
        ways.append(arguments)
        learn_the_way(*arguments)

    monkeypatch.setattr(megapixel, "judge", stopped)
    monkeypatch.setattr(megapixel, "learn_the_way", on_the_way)
    with pytest.raises(KeyboardInterrupt):
        megapixel.main(arguments)
    megapixel.main(arguments)
    # The lesson's second epoch again, that of rewards, and two at the end.
    assert len(calls) == 7
    assert len(ways) == 1
    result = json.loads((options.output / "result.json").read_text())
    model = keras.saving.load_model(options.output / "model.keras")
    assert megapixel_models.judge(model, canvases) == result["test"]
    epochs = {name: len(seen["loss"]) for name, seen in result["curves"].items()}
    assert epochs == {"curves": 1, "lesson0": 1, "lesson1": 2}
    with pytest.raises(SystemExit, match="holds a finished run"):
        megapixel.main(arguments)
