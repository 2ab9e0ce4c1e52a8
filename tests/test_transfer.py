"""`examples/transfer.py` trains what its rows say."""

from pathlib import Path

import numpy as np
import pytest
from backends import FEW_STEPS

import keras_ram


@pytest.fixture
def transfer(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    import transfer

    return transfer


def test_what_each_row_begins_with_and_trains(transfer, digits):
    images, labels = transfer.enlarge([values[:20] for values in digits[0]])
    assert images.shape == (20, 28, 28, 1) and set(labels) == set(range(5))
    preset = keras_ram.RAM.from_preset("ram_mnist")
    for row, came_from_preset, moves in zip(
        transfer.ROWS, (False, True, True), (True, True, False), strict=True
    ):
        model = transfer.make(row, seed=1)
        assert model.class_names == transfer.NAMES
        model.compile(**FEW_STEPS)
        if not model.built:
            model.build((None, 28, 28, 1))
        before = weights_of(model)
        assert np.array_equal(before, weights_of(preset)) == came_from_preset
        head = model.classifier.get_weights()[0]
        model.fit(images, labels, verbose=0)
        assert np.any(before != weights_of(model)) == moves
        assert np.any(head != model.classifier.get_weights()[0])


def weights_of(model):
    return np.concatenate(
        [
            np.ravel(weight)
            for part in (model.glimpse_net, model.core)
            for weight in part.get_weights()
        ]
    )
