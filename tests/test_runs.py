"""A run of an example that is stopped goes on where it was."""

import keras
import numpy as np
import pytest
from runs import back_up, read_curves


def test_an_epoch_that_was_logged_twice_counts_once(tmp_path):
    file = tmp_path / "curves.csv"
    assert read_curves(file)["loss"] == []
    file.write_text("")
    assert read_curves(file)["loss"] == []
    file.write_text("epoch,loss\n0,3\n")
    assert read_curves(file) == {"epoch": [0], "loss": [3]}
    file.write_text("epoch,loss\n0,3\n1,2\n1,1.5\n2,1\n")
    assert read_curves(file) == {"epoch": [0, 1, 2], "loss": [3, 1.5, 1]}


class Seen(keras.callbacks.Callback):
    """Which epochs were begun."""

    def on_train_begin(self, logs=None):
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(epoch)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_state_that_was_being_written_is_not_the_only_one(tmp_path, damaged):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, seen = np.ones((4, 2)), Seen()

    def fit(epochs):
        kept = back_up(tmp_path / "backup", delete_checkpoint=False)
        model.fit(x, x[:, :1], epochs=epochs, verbose=0, callbacks=[kept, seen])

    fit(3)
    state = tmp_path / "backup" / "latest.weights.h5"
    if damaged:
        state.write_bytes(state.read_bytes()[:100])
    fit(4)
    assert seen.epochs == ([2, 3] if damaged else [3])
