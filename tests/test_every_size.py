"""The example that trains one model for canvases and digits of every size."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_ram

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import every_size


@pytest.fixture
def options(monkeypatch, tmp_path):
    flags = "--epochs 2 --steps 3 --batch-size 4 --images 8 --verbose 0".split()
    folder = str(tmp_path / "run")
    monkeypatch.setattr(sys, "argv", ["every_size.py", *flags, "--output", folder])
    return every_size.parse_arguments()


@pytest.fixture
def digits(rng):
    return rng.integers(0, 256, (20, 28, 28, 1), "uint8"), np.arange(20) % 10


def test_sizes_change_from_batch_to_batch_and_pieces_come(options, digits):
    options.steps = 60
    options.epochs = 30

    def seen(epoch):
        batches = every_size.EverySize(*digits, options, epoch)
        images = [batches[i][0] for i in range(60)]
        return images, np.mean([image.mean() for image in images])

    early, few = seen(0)
    late, many = seen(29)
    sizes = [image.shape[1:3] for image in early + late]
    assert len(set(sizes)) > 60
    assert {height == width for height, width in sizes} == {False, True}
    assert 40 <= np.min(sizes) < 60 and 300 < np.max(sizes) <= 400
    assert few < 0.9 * many


def test_pieces_follow_the_size_of_the_digits(digits):
    white = np.full_like(digits[0], 255)
    seen = dict(every_size.canvases(white, 20))
    # All is white: 11 pieces and a digit, of which some lie on others.
    for digit, piece in ((14, 4), (20, 6), (40, 11), (56, 16)):
        lit = (seen[f"digit_{digit}"] > 0).sum(axis=(1, 2, 3))
        assert digit**2 <= lit.min() and lit.max() <= digit**2 + 11 * piece**2
        assert lit.max() > digit**2 + 4 * piece**2


def test_it_begins_with_what_the_preset_knows(options):
    model = every_size.make(options)
    preset = keras_ram.RAM.from_preset(every_size.BEGIN)
    image = np.zeros((1, 96, 96, 1), "uint8")
    image[:, 40:50, 40:50] = 255
    # At 96x96 and from the centre, a share of 1 is a scale of 8. It does not yet look
    # at the share of 0.35, nor at the size.
    found, known = (
        keras.ops.convert_to_numpy(m.rollout(image)["logits"][:, 0])
        for m in (model, preset)
    )
    np.testing.assert_allclose(found, known, rtol=1e-4, atol=1e-4)


def test_it_goes_on_with_the_model_of_an_earlier_run(options):
    options.begin = str(Path(every_size.__file__).with_name("every_size.keras"))
    options.glimpses = 3
    model = every_size.make(options)
    # A digit that is no more than a dot in what sees the whole canvas.
    images = np.zeros((2, 400, 400, 1), "uint8")
    images[0, 40:60, 340:350] = images[1, 300:320, 60:70] = 255
    locations = keras.ops.convert_to_numpy(model.rollout(images)["locations"])
    assert tuple(locations.shape) == (2, 3, 2)
    np.testing.assert_allclose(
        locations[:, 2], [[0.72, -0.75], [-0.67, 0.55]], rtol=0, atol=0.15
    )


@pytest.mark.slow
def test_a_run_ends_with_a_model_and_its_errors(options, monkeypatch, digits):
    monkeypatch.setattr(every_size, "load", lambda _: (digits,) * 3)
    every_size.train(options)
    result = json.loads((options.output / "result.json").read_text())
    model = keras.saving.load_model(options.output / "model.keras")
    assert len(result["errors"]["test"]) == 12
    assert len(result["curves"]["loss"]) == 2
    again = every_size.errors(model, *digits, 8)
    assert again == result["errors"]["test"]
    with pytest.raises(SystemExit, match="holds a finished run"):
        every_size.train(options)
