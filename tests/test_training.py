"""What `compile` and `fit` promise."""

import signal
import subprocess
import sys
import textwrap

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import BACKEND, FEW_STEPS, JIT, noise
from keras import ops

import keras_ram
from keras_ram.trainers.learning_rule import LearningRule

LOGS = {"loss", "accuracy", "reward", "reinforce_loss", "baseline_loss"}


def update(model, images, labels, options=FEW_STEPS, **fit_options):
    """The weights after one step of SGD from the same start."""
    keras.utils.set_random_seed(0)
    model.location_sampler.seed_generator.state.assign([7, 0])
    start = model.get_weights()
    model.compile(keras.optimizers.SGD(0.5), **options)
    model.fit(
        images, labels, batch_size=len(images), verbose=0, shuffle=False, **fit_options
    )
    weights = [w.numpy() for w in model.trainable_weights]
    model.set_weights(start)
    return weights


def assert_same(first, second, atol=0.0):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def test_hybrid_learns_digits(make_model, digits):
    (x, y), validation, _ = digits
    model = make_model(patch_size=6, core_units=64, glimpse_units=64)
    model.compile(keras.optimizers.Adam(5e-3), jit_compile=JIT)
    history = model.fit(x, y, epochs=20, validation_data=validation, verbose=0).history
    assert set(history) == LOGS | {"val_loss", "val_accuracy", "val_reward"}
    assert history["val_accuracy"][-1] > 0.7  # chance is 0.1
    assert history["val_reward"][-1] == history["val_accuracy"][-1]


def test_reinforce_learns_digits_from_the_reward_alone(make_model, digits):
    (x, y), validation, _ = digits
    model = make_model(
        num_glimpses=2, patch_size=6, core_units=64, glimpse_units=64, what_units=64
    )
    model.compile(
        keras.optimizers.Adam(1.5e-3),
        learning="reinforce",
        baseline="leave_one_out",
        episodes=8,
        jit_compile=JIT,
    )
    model.fit(x, y, batch_size=64, epochs=35, verbose=0)
    logs = model.evaluate(*validation, verbose=0, return_dict=True)
    assert logs["accuracy"] > 0.4  # chance is 0.1


def test_bare_compile_logs_what_the_design_says(make_model, batch):
    model = make_model()
    model.compile()
    history = model.fit(*batch, verbose=0).history
    assert set(history) == LOGS
    logs = model.evaluate(*batch, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "accuracy", "reward"}
    values = model.evaluate(*batch, verbose=0)
    assert sorted(values) == sorted(logs.values())


@pytest.mark.parametrize("discount", [1, 0.75])
def test_losses_by_hand(discount, make_model, batch):
    """The logged numbers, from a rollout with the same samples."""
    images, labels = batch
    model = make_model(num_glimpses=4)
    # XLA draws other samples than the rollout below.
    model.compile(
        keras.optimizers.SGD(0.0),
        reward="probability",
        baseline=None,
        discount=discount,
        jit_compile=JIT,
    )
    state = model.location_sampler.seed_generator.state
    state.assign([7, 0])
    logs = model.train_on_batch(images, labels, return_dict=True)
    state.assign([7, 0])
    rollout = {
        name: ops.convert_to_numpy(value)
        for name, value in model.rollout(images, training=True).items()
    }
    logits = rollout["logits"]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    rewards = probabilities[np.arange(64), :, labels].T  # (T, N)
    last = rewards[3]
    third = (1 - discount) * rewards[2] + discount * last
    second = (1 - discount) * rewards[1] + discount * third
    returns = np.stack([second, third, last], axis=1)
    learned = last if discount == 1 else rewards
    expected = {
        "loss": -np.log(learned).mean(),
        "accuracy": (logits[:, -1].argmax(axis=1) == labels).mean(),
        "reward": last.mean(),
        "baseline_loss": (returns**2).mean(),
        "reinforce_loss": -(rollout["location_log_probs"] * returns).sum(axis=1).mean(),
    }
    assert set(logs) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-4, err_msg=name)


def test_sample_weights_weigh_every_loss(make_model, batch):
    images, labels = batch
    model = make_model()
    before = [w.numpy() for w in model.trainable_weights]
    nothing = update(model, images, labels, sample_weight=np.zeros(64))
    assert_same(nothing, before)
    once = update(model, images, labels)
    assert_same(update(model, images, labels, sample_weight=np.ones(64)), once, 1e-6)
    column = update(model, images, labels, sample_weight=np.ones((64, 1)))
    assert_same(column, once, 1e-6)
    # SGD: twice the weight is twice the step.
    twice = update(model, images, labels, sample_weight=np.full(64, 2.0))
    for a, b, start in zip(twice, once, before, strict=True):
        np.testing.assert_allclose(a - start, 2 * (b - start), rtol=0, atol=2e-6)


def test_a_sample_weight_is_that_of_its_image(make_model, batch, monkeypatch):
    images, labels = batch
    monkeypatch.setattr(keras.random, "normal", noise)
    model = make_model(initial_location="center")
    before = [ops.convert_to_numpy(w).copy() for w in model.trainable_weights]
    options = {**FEW_STEPS, "episodes": 2, "discount": 0.5}
    weights = np.repeat([1.0, 0.0], 32)
    half = update(model, images, labels, options, sample_weight=weights)
    alone = update(model, images[:32], labels[:32], options)
    for a, b, start in zip(half, alone, before, strict=True):
        np.testing.assert_allclose(a - start, (b - start) / 2, rtol=0, atol=2e-6)


def test_losses_of_layers_are_learned(make_model, batch):
    # One glimpse at the centre: training and evaluation see the same.
    model = make_model(num_glimpses=1, initial_location="center")
    losses = []
    for regularizer in (None, keras.regularizers.L2(1.0)):
        model.glimpse_net.merge.activity_regularizer = regularizer
        model.compile(keras.optimizers.SGD(0.0), **FEW_STEPS)
        history = model.fit(*batch, batch_size=64, verbose=0).history
        logs = model.evaluate(*batch, batch_size=64, verbose=0, return_dict=True)
        np.testing.assert_allclose(history["loss"], logs["loss"], rtol=1e-5)
        losses.append(logs["loss"])
    glimpses = model.glimpse_net(
        model.glimpse_sensor(batch[0], np.zeros((64, 2))), np.zeros((64, 2))
    )
    penalty = np.sum(ops.convert_to_numpy(glimpses) ** 2) / 64
    np.testing.assert_allclose(losses[1] - losses[0], penalty, rtol=1e-5)


def test_class_weights_are_sample_weights(make_model, batch):
    images, labels = batch
    model = make_model()
    weights = {label: label / 5 for label in range(10)}
    by_class = update(model, images, labels, class_weight=weights)
    by_sample = update(model, images, labels, sample_weight=labels / 5)
    assert_same(by_class, by_sample, 1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        "categorical_crossentropy",
        keras.losses.CategoricalCrossentropy(from_logits=True),
    ],
)
def test_one_hot_labels(loss, make_model, batch):
    images, labels = batch
    model = make_model()
    one_hot = np.eye(10, dtype="float32")[labels]
    assert_same(
        update(model, images, one_hot, {"loss": loss, **FEW_STEPS}),
        update(model, images, labels),
        1e-6,
    )


@pytest.mark.skipif(BACKEND != "tensorflow", reason="shapes are known on the others")
def test_one_hot_labels_of_unknown_width():
    shapes = ((None, None), (None, 10), (None,))
    rewards = tf.function(
        LearningRule().rewards,
        input_signature=[tf.TensorSpec(shape) for shape in shapes],
    )
    guesses = np.array([3, 5, 7])
    right = rewards(np.eye(10)[[3, 0, 7]], np.zeros((3, 10)), guesses)
    assert right.numpy().tolist() == [1, 0, 1]


def test_labels_in_a_column(make_model, batch):
    images, labels = batch
    model = make_model()
    assert_same(
        update(model, images, labels[:, None]), update(model, images, labels), 1e-6
    )


def test_pipelines_and_generators(make_model, batch):
    images, labels = batch
    model = make_model()
    pipeline = tf.data.Dataset.from_tensor_slices((images, labels)).batch(64)
    expected = update(model, images, labels)
    keras.utils.set_random_seed(0)
    model.location_sampler.seed_generator.state.assign([7, 0])
    model.fit(pipeline, shuffle=False, validation_data=pipeline, verbose=0)
    assert_same([w.numpy() for w in model.trainable_weights], expected, 1e-6)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has it on the others only")
def test_steps_per_execution(make_model, batch):
    images, labels = batch
    weights = []
    for steps in (1, 4):
        keras.utils.set_random_seed(0)
        model = make_model()
        model.compile(
            keras.optimizers.SGD(0.1), steps_per_execution=steps, jit_compile=JIT
        )
        model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
        weights.append([w.numpy() for w in model.trainable_weights])
    assert_same(*weights, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"jit_compile": JIT},
        pytest.param(
            {"jit_compile": True},
            marks=pytest.mark.skipif(BACKEND == "torch", reason="not promised there"),
        ),
    ],
)
def test_ways_to_run_a_step_agree(options, make_model, batch):
    # One glimpse at the centre: nothing is drawn, and the updates must agree.
    model = make_model(initial_location="center", num_glimpses=1)
    eager = update(model, *batch, {"run_eagerly": True})
    assert_same(update(model, *batch, options), eager, 1e-5)


def test_sampled_rollouts_run_eagerly(make_model, batch):
    model = make_model()
    eager = update(model, *batch, {"run_eagerly": True})
    assert_same(eager, update(model, *batch, {"jit_compile": JIT}), 1e-5)


@pytest.mark.parametrize("baseline", ["learned", "mean", "leave_one_out", None])
def test_episodes(baseline, make_model, batch):
    images, labels = batch
    model = make_model()
    model.compile(baseline=baseline, episodes=3, **FEW_STEPS)
    logs = model.fit(images, labels, verbose=0).history
    assert np.isfinite([values[-1] for values in logs.values()]).all()
    assert (float(model.mean_reward.numpy()) > 0) == (baseline == "mean")


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
    {"learning": "reinforce", "baseline": "mean", "jit_compile": JIT},
    {
        "reward": "probability",
        "baseline": "leave_one_out",
        "episodes": 2,
        "discount": 0.75,
        "jit_compile": JIT,
    },
    {
        "loss": "categorical_crossentropy",
        "baseline": None,
        "metrics": ["auc"],
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
            model = keras_ram.RAM(10, 3, 4, core_units=16, seed=0)
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


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX has no float64 by default")
def test_a_model_trains_beside_another_floatx(make_model, batch):
    model = make_model()
    expected = update(model, *batch)
    try:
        keras.config.set_floatx("float64")
        assert_same(update(model, *batch), expected, 1e-6)
    finally:
        keras.config.set_floatx("float32")


def test_half_precision_scales_the_loss(make_model, batch):
    # One glimpse at the centre: nothing is drawn, and the updates must agree.
    changes = []
    for policy in ("float32", "mixed_float16"):
        keras.utils.set_random_seed(0)
        model = make_model(num_glimpses=1, initial_location="center", dtype=policy)
        optimizer = keras.optimizers.SGD(0.5)
        if policy == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 1024)
        before = model.get_weights()
        model.compile(optimizer, **FEW_STEPS)
        model.fit(*batch, batch_size=64, verbose=0)
        changes.append(
            [b - a for a, b in zip(before, model.get_weights(), strict=True)]
        )
    for exact, half in zip(*changes, strict=True):
        np.testing.assert_allclose(half, exact, rtol=0, atol=0.02 * np.abs(exact).max())


def test_real_mnist_is_learned(mnist):
    (x, y), (x_val, y_val), _ = mnist
    assert x.shape == (50000, 28, 28, 1) and x.dtype == "uint8"
    assert len(x_val) == 10000
    model = keras_ram.RAM(10, seed=0)
    model.compile()
    model.fit(x[:32000], y[:32000], batch_size=128, verbose=0)
    logs = model.evaluate(x_val[:2000], y_val[:2000], verbose=0, return_dict=True)
    assert logs["accuracy"] > 0.4  # chance is 0.1
