"""`examples/paper.py` stops, goes on and reports as it says."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_ram import datasets

pytestmark = pytest.mark.slow


@pytest.fixture
def paper(monkeypatch, digits):
    """The example, on 130 digits of 8x8 pixels somewhere on 28x28."""
    examples = Path(__file__).parents[1] / "examples"
    monkeypatch.syspath_prepend(str(examples))
    import paper

    splits = [
        (datasets.translate(images[:130], 28, seed=0), labels[:130])
        for images, labels in digits
    ]
    splits = [((255 * images).astype("uint8"), labels) for images, labels in splits]
    monkeypatch.setattr(paper.paper_tasks, "load", lambda data_dir: splits)
    return paper


@pytest.fixture
def parse(paper, monkeypatch, tmp_path):
    """The options of a command line."""

    def parse(*arguments):
        monkeypatch.setattr(
            sys, "argv", ["paper.py", "--output", str(tmp_path), *arguments]
        )
        return paper.parse_arguments()

    return parse


@pytest.mark.parametrize("moment", ["on_epoch_begin", "on_epoch_end"])
def test_a_stopped_run_goes_on_and_reports_once(
    moment, paper, parse, monkeypatch, capsys
):
    options = parse("--row", "cnn", "--epochs", "3")
    folder = options.output / "mnist-cnn-T7-s0"
    log = getattr(keras.callbacks.CSVLogger, moment)

    def stop(logger, epoch, logs=None):
        if epoch == 1:
            logger.on_train_end()  # closes the file
            raise KeyboardInterrupt
        log(logger, epoch, logs)

    logger = type("Logger", (keras.callbacks.CSVLogger,), {moment: stop})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(keras.callbacks, "CSVLogger", logger)
        paper.train(options)
    assert not (folder / "result.json").exists()
    paper.train(options)

    result = json.loads((folder / "result.json").read_text())
    assert result["settings"]["row"] == "cnn"
    assert result["curves"]["epoch"] == [0, 1, 2]
    # What is tested are the weights of the best epoch.
    best = max(result["curves"]["val_accuracy"])
    assert result["errors"]["validation"] == pytest.approx(1 - best)
    model = paper.paper_models.make(paper.TASKS["mnist"], options)
    model.load_weights(folder / "best.weights.h5")
    images, labels = paper.paper_tasks.load(None)[2]
    wrong = np.argmax(model.predict(images, verbose=0), axis=1) != labels
    assert result["errors"]["test"] == pytest.approx(np.mean(wrong))

    paper.paper_tasks.print_table(options.output)
    ours = f"{100 * np.mean(wrong):.2f}"
    row = ["mnist", "cnn", "7", "1.21", ours, "0.00", "1", "3"]
    assert row in [line.split() for line in capsys.readouterr().out.splitlines()]
    with pytest.raises(SystemExit, match="finished run"):
        paper.train(options)


def test_a_run_goes_on_with_its_own_settings_alone(paper, parse):
    options = parse("--row", "cnn", "--epochs", "3")
    (options.output / "run").mkdir()
    kept = paper.begin_run(options.output / "run", options, paper.NOT_SETTINGS)
    options.verbose = 0
    assert paper.begin_run(options.output / "run", options, paper.NOT_SETTINGS) == kept
    options.learning_rate = 0.5
    with pytest.raises(SystemExit, match="was begun with .*0.001.*Received.*0.5"):
        paper.begin_run(options.output / "run", options, paper.NOT_SETTINGS)


def test_a_row_has_settings_of_its_own(paper, parse):
    assert parse("--row", "ram").episodes == 2
    assert parse("--row", "plain").episodes == 4
    assert parse("--row", "plain", "--episodes", "3").episodes == 3
    assert parse("--task", "cluttered-60", "--row", "plain").epochs == 120
    assert parse("--task", "cluttered-60", "--row", "ram").epochs == 60


@pytest.mark.parametrize(
    "arguments, before, last",
    [
        (("--row", "ram"), ("Distorted", "random"), ("Distorted", "center")),
        (("--row", "plain"), ("Distorted", "center"), ("Canvases", "center")),
        (
            ("--row", "plain", "--distorted", "never"),
            ("Canvases", "center"),
            ("Canvases", "center"),
        ),
    ],
)
def test_the_last_epochs_are_like_inference(arguments, before, last, paper, parse):
    options = parse(*arguments, "--epochs", "6")
    stages = list(paper.stages(paper.TASKS["mnist"], options))
    assert [stage["until"] for stage in stages] == [4, 6]
    found = [(stage["images"].__name__, stage["first"]) for stage in stages]
    assert found == [before, last]
    assert stages[1]["stddev"] == pytest.approx(stages[0]["stddev"] / 3)


@pytest.mark.parametrize(
    "row, learning", [("ram", "joint"), ("plain", "joint"), ("random", "hybrid")]
)
def test_the_reward_reaches_the_core_where_it_decides(row, learning, paper, parse):
    task, options = paper.TASKS["mnist"], parse("--row", row, "--filters", "4")
    model = paper.paper_models.make(task, options)
    stage = next(paper.stages(task, options))
    paper.prepare(model, keras.optimizers.Adam(), stage, options)
    assert model.rule.learning == learning
    assert model.rule.episodes == options.episodes


def test_random_glimpses_are_random_from_the_first_to_the_last(paper, parse):
    options = parse("--row", "random", "--glimpses", "3", "--filters", "4")
    model = paper.paper_models.make(paper.TASKS["mnist"], options)
    images = paper.paper_tasks.load(None)[2][0]
    for training in (True, False):
        places = model.rollout(images, training=training)["locations"]
        places = keras.ops.convert_to_numpy(places)  # (130, 3, 2)
        assert np.abs(places).max() <= 1
        # Uniform: a mean of 0, a standard deviation of 1 / sqrt(3).
        np.testing.assert_allclose(places.mean(axis=0), 0, atol=0.2)
        np.testing.assert_allclose(places.std(axis=0), 3**-0.5, atol=0.1)


def test_networks_without_attention_are_the_papers(paper, parse):
    task = paper.TASKS["mnist"]
    sizes = {
        row: paper.paper_models.make(task, parse("--row", row)).count_params()
        for row in ("cnn", "dense")
    }
    ends = 256 * 10 + 10
    assert sizes == {
        # Filters of 10x10 every five pixels see 4x4 places of 28x28.
        "cnn": 8 * 100 + 8 + 4 * 4 * 8 * 256 + 256 + ends,
        "dense": 28 * 28 * 256 + 256 + 256 * 256 + 256 + ends,
    }
