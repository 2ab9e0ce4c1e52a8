"""The recurrent core: any Keras RNN cell."""

import functools

import keras

from keras_ram.validation import check_integer

CORES = {
    "rnn": functools.partial(keras.layers.SimpleRNNCell, activation="relu"),
    "lstm": keras.layers.LSTMCell,
    "gru": keras.layers.GRUCell,
}


def make_core(core, units=256, policy=None):
    """Turns what a user passes as `core` into an RNN cell.

    Args:
        core: A name, a cell, or the config of a serialised cell.
        units: Int, size of the hidden state of a core given by name.
        policy: Dtype policy of a core given by name.
    """
    if isinstance(core, dict):
        core = keras.saving.deserialize_keras_object(core)
    if isinstance(core, str) and core in CORES:
        return CORES[core](check_integer("core_units", units), dtype=policy)
    is_cell = isinstance(core, keras.layers.Layer) and hasattr(core, "state_size")
    if is_cell and not isinstance(core, keras.layers.RNN):
        return core
    raise ValueError(
        f"`core` must be one of {', '.join(map(repr, CORES))}, or a Keras RNN cell, "
        "which is a layer with a `state_size`, such as `keras.layers.LSTMCell(256)`. "
        f"Received: core={core!r}"
    )


def draw_dropout_masks(core, inputs, states):
    """Draws the masks that the core would draw at its first step.

    Within a compiled loop a mask would belong to a single step. `keras.layers.RNN`
    draws them beforehand as well.
    """
    if hasattr(core, "get_dropout_mask"):
        core.get_dropout_mask(inputs)
        core.get_recurrent_dropout_mask(keras.tree.flatten(states)[0])
    for cell, cell_states in zip(getattr(core, "cells", ()), states, strict=False):
        draw_dropout_masks(cell, inputs, cell_states)
        inputs = keras.tree.flatten(cell_states)[0]  # as large as what it puts out


def reset_dropout_masks(core):
    """A mask holds for one rollout, as in `keras.layers.RNN`."""
    if hasattr(core, "reset_dropout_mask"):
        core.reset_dropout_mask()
        core.reset_recurrent_dropout_mask()
    for cell in getattr(core, "cells", ()):
        reset_dropout_masks(cell)
