"""How `fit`, `evaluate` and `predict` run, where the user does not say it."""

import gc
import weakref

import keras
import pytest
import tensorflow as tf
from backends import BACKEND, JIT

import keras_ram


@pytest.mark.skipif(BACKEND == "torch", reason="Keras does not compile there")
def test_xla_is_the_default(make_model):
    model = make_model(num_glimpses=1)
    model.compile()
    assert model.jit_compile is True
    model.compile(run_eagerly=True)
    assert model.jit_compile is False


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's default")
def test_several_steps_an_execution_are_the_default(make_model, batch):
    images, labels = batch
    seen = []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: seen.append(step),
        on_test_batch_end=lambda step, logs: seen.append(step),
    )
    pipeline = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4).repeat()
    model = make_model(num_glimpses=1)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=JIT)

    def run(steps_per_epoch, validation_steps=None):
        seen.clear()
        before = int(model.optimizer.iterations)
        model.fit(
            pipeline,
            steps_per_epoch=steps_per_epoch,
            validation_data=pipeline if validation_steps else None,
            validation_steps=validation_steps,
            callbacks=[count],
            shuffle=False,
            verbose=0,
        )
        return int(model.optimizer.iterations) - before, list(seen)

    # Sixteen at once, or the most that divide what was asked for.
    assert run(32) == (32, [15, 31])
    of_sixteen = model.train_function
    assert run(20) == (20, [9, 19])
    assert run(17) == (17, list(range(17)))
    assert run(12, 4) == (12, [3, 7, 11, 3])
    # Twenty images are five batches: no execution is full.
    model.fit(images[:20], labels[:20], 4, callbacks=[count], verbose=0)
    assert int(model.optimizer.iterations) == 32 + 20 + 17 + 12 + 5
    assert model.train_function is of_sixteen  # not compiled again
    assert (
        model.predict(pipeline.map(lambda x, y: x), steps=3, verbose=0).shape[0] == 12
    )
    assert model.predict(images, 8, 0, 2).shape[0] == 16  # by place, as in Keras
    assert model.steps_per_execution == 16
    model.compile(run_eagerly=True)
    assert model.steps_per_execution == 1


def test_what_nobody_chose_is_left_to_the_backend_that_loads_it(make_model):
    model = make_model(num_glimpses=1)
    chosen = {"jit_compile": "auto", "steps_per_execution": "auto"}
    for options in ({}, {"jit_compile": False}, {"steps_per_execution": 2}):
        model.compile(**options)
        config = model.get_compile_config()
        assert {name: config[name] for name in chosen} == {**chosen, **options}
    model.compile_from_config(config)
    assert model.steps_per_execution == 2


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's default")
def test_a_callback_predicts_and_evaluates_between_executions(make_model, batch):
    images, labels = batch
    pipeline = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4).repeat()
    model = make_model(num_glimpses=1)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=JIT)
    seen = []

    def look(number, logs=None):
        seen.append(len(model.predict(images[:20], 4, verbose=0)))
        model.evaluate(pipeline, steps=3, verbose=0)

    call = keras.callbacks.LambdaCallback(on_train_batch_end=look, on_epoch_end=look)
    options = {"steps_per_epoch": 10, "epochs": 2, "shuffle": False, "verbose": 0}
    model.fit(pipeline, callbacks=[call], **options)
    assert int(model.optimizer.iterations) == 20
    assert seen == [20] * 4


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow keeps functions")
def test_predict_lets_go_of_the_images(make_model, batch):
    images = batch[0].copy()
    make_model(num_glimpses=1).predict(images, verbose=0)
    images = weakref.ref(images)
    gc.collect()
    assert images() is None


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's pipelines")
def test_pipelines_are_tuned_only_where_the_user_made_them(
    make_model, batch, monkeypatch
):
    read = []
    iterate = tf.data.Dataset.__iter__

    def spy(dataset):
        read.append(dataset)
        return iterate(dataset)

    monkeypatch.setattr(tf.data.Dataset, "__iter__", spy)
    images, labels = batch
    canvases = keras_ram.datasets.Canvases(images, labels, 12)
    pipeline = tf.data.Dataset.from_tensor_slices((images, labels)).batch(64)
    model = make_model(num_glimpses=1)
    model.compile(run_eagerly=True)

    def tuned(run, *args, **options):
        read.clear()
        run(*args, verbose=0, **options)
        return {dataset.options().autotune.enabled for dataset in read}

    assert tuned(model.fit, *batch, epochs=3, validation_data=batch) == {False}
    assert len(set(map(id, read))) == 2  # not another one for each epoch
    assert tuned(model.fit, *batch, validation_split=0.5) == {False}
    assert tuned(model.fit, canvases, validation_data=canvases) == {False}
    assert tuned(model.evaluate, *batch) == {False}
    assert tuned(model.predict, images) == {False}
    # None is TensorFlow's default, which tunes.
    assert tuned(model.fit, pipeline, shuffle=False) == {None}
    assert tuned(model.evaluate, pipeline) == {None}
    assert tuned(model.fit, pipeline, validation_data=batch, shuffle=False) == {
        None,
        False,
    }
