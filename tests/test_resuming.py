"""Training that stops goes on as if it never had."""

import signal
import subprocess
import sys
import textwrap

import h5py
import keras
import numpy as np
import pytest
from backends import FEW_STEPS, JIT
from updates import assert_same


def test_callbacks(make_model, batch, tmp_path):
    images, labels = batch
    model = make_model()
    model.compile(**FEW_STEPS)
    history = model.fit(
        images,
        labels,
        epochs=6,
        validation_data=batch,
        verbose=0,
        callbacks=[
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_loss"),
            keras.callbacks.EarlyStopping("val_reward", 100, patience=2, mode="max"),
            keras.callbacks.TensorBoard(tmp_path / "logs"),
        ],
    )
    assert len(history.history["loss"]) == 3  # the first, and two no better
    assert list((tmp_path / "logs").rglob("events*"))
    restored = keras.saving.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(
        restored.predict(images, verbose=0), model.predict(images, verbose=0)
    )


COMPILE_OPTIONS = [
    {},
    pytest.param(
        {"learning": "reinforce", "baseline": "mean", "jit_compile": JIT},
        marks=pytest.mark.slow,
    ),
    pytest.param(
        {
            "reward": "probability",
            "baseline": "leave_one_out",
            "episodes": 2,
            "discount": 0.75,
            "jit_compile": JIT,
        },
        marks=pytest.mark.slow,
    ),
    {
        "loss": "categorical_crossentropy",
        "learning": "hybrid",
        "baseline": None,
        "guess_weights": (0, 1, 3),
        "metrics": ["top_k_categorical_accuracy"],
        "jit_compile": JIT,
    },
]


@pytest.mark.parametrize("options", COMPILE_OPTIONS)
def test_a_restored_model_resumes_as_if_never_stopped(
    options, make_model, batch, tmp_path
):
    images, labels = batch
    if "loss" in options:
        labels = np.eye(10)[labels]
    model = make_model()
    model.compile(keras.optimizers.Adam(1e-2), **options)
    model.fit(images, labels, shuffle=False, verbose=0)
    model.save(tmp_path / "m.keras")
    restored = keras.saving.load_model(tmp_path / "m.keras")
    assert restored.get_compile_config() == model.get_compile_config()
    histories = [
        m.fit(images, labels, epochs=2, shuffle=False, verbose=0).history
        for m in (model, restored)
    ]
    assert histories[0] == histories[1]
    assert_same(restored.get_weights(), model.get_weights())
    assert_same(
        [np.asarray(v) for v in restored.optimizer.variables],
        [np.asarray(v) for v in model.optimizer.variables],
    )


@pytest.mark.slow
def test_backup_and_restore_after_a_killed_process(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys
            import keras, keras_ram
            backup, weights, kill = sys.argv[1], sys.argv[2], sys.argv[3] == "kill"

            class Kill(keras.callbacks.Callback):
                def on_epoch_begin(self, epoch, logs=None):
                    print("epoch", epoch)

                def on_train_batch_end(self, batch, logs=None):
                    if kill and self.model.optimizer.iterations == 8:
                        os.kill(os.getpid(), signal.SIGKILL)

            keras.utils.set_random_seed(0)
            (x, y), _, _ = keras_ram.datasets.load_digits()
            model = keras_ram.RAM(10, 2, 4, core_units=16, seed=0)
            model.compile(jit_compile=keras.backend.backend() == "jax",
                          steps_per_execution=1)
            model.build((None, 8, 8, 1))
            callbacks = [keras.callbacks.BackupAndRestore(backup), Kill()]
            model.fit(x[:96], y[:96], epochs=4, shuffle=False, verbose=0,
                      callbacks=callbacks)
            model.save_weights(weights)
            """
        )
    )

    def train(backup, weights, kill="no"):
        command = [sys.executable, script, tmp_path / backup, tmp_path / weights, kill]
        return subprocess.run(command, capture_output=True, text=True)

    # 3 batches an epoch: the eighth is in the middle of the third epoch.
    assert train("a", "a.weights.h5", "kill").returncode == -signal.SIGKILL
    for name, first_epoch in (("a", 2), ("b", 0)):
        process = train(name, f"{name}.weights.h5")
        assert process.returncode == 0, process.stderr
        assert process.stdout.startswith(f"epoch {first_epoch}\n")
    resumed, uninterrupted = {}, {}
    for values, name in ((resumed, "a"), (uninterrupted, "b")):
        with h5py.File(tmp_path / f"{name}.weights.h5") as file:
            file.visititems(
                lambda path, item, values=values: values.update(
                    {path: item[()]} if isinstance(item, h5py.Dataset) else {}
                )
            )
    assert resumed.keys() == uninterrupted.keys()
    assert any("optimizer" in path for path in resumed)
    for path, value in resumed.items():
        np.testing.assert_array_equal(value, uninterrupted[path], err_msg=path)
