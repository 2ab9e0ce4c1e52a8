"""Cells that a RAM takes as its core."""

import keras
import numpy as np
import pytest
from backends import FEW_STEPS
from keras import ops


@pytest.mark.parametrize(
    "core,weights",
    [
        ("rnn", 3),
        ("lstm", 3),
        ("gru", 3),
        (lambda: keras.layers.LSTMCell(12, dropout=0.3, recurrent_dropout=0.2), 3),
        (
            lambda: keras.layers.StackedRNNCells(
                [keras.layers.GRUCell(9, dropout=0.2), keras.layers.SimpleRNNCell(7)]
            ),
            6,
        ),
    ],
)
def test_cores_train_and_are_restored(core, weights, make_model, batch, tmp_path):
    images, labels = batch
    model = make_model(core=core() if callable(core) else core)
    assert len(model.core.trainable_weights) == weights
    model.compile(**FEW_STEPS)
    model.fit(images, labels, epochs=2, verbose=0)
    model.save(tmp_path / "m.keras")
    restored = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        restored.predict(images, verbose=0), model.predict(images, verbose=0)
    )


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_masks_of_a_dropout_core_go_with_the_rollout(depth, make_model, batch):
    core = keras.layers.GRUCell(8, dropout=0.5)
    for _ in range(depth):
        core = keras.layers.StackedRNNCells([core, keras.layers.GRUCell(8)])
    model = make_model(core=core)
    model.compile(**FEW_STEPS)
    model.fit(*batch, verbose=0)
    # By itself, on a batch of another size.
    inputs = np.zeros((3, model.glimpse_net.units))
    states = model.core.get_initial_state(batch_size=3)
    hidden_state, _ = model.core(inputs, states, training=True)
    assert tuple(hidden_state.shape) == (3, 8)


def test_a_minimal_cell_is_enough(make_model, batch):
    class MinimalCell(keras.layers.Layer):
        state_size = 6

        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(input_shape[-1] + 6, 6))

        def call(self, inputs, states):
            output = ops.tanh(
                ops.concatenate([inputs, states[0]], axis=1) @ self.kernel
            )
            return output, output

    model = make_model(core=MinimalCell())
    model.compile(**FEW_STEPS)
    model.fit(*batch, verbose=0)
    assert model.classifier.kernel.shape == (6, 10)
