"""How `fit`, `evaluate` and `predict` run, where the user does not say it."""

import concurrent.futures
import functools
import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import BACKEND, JIT

import keras_ram


@pytest.mark.skipif(BACKEND == "torch", reason="Keras does not compile there")
def test_xla_is_the_default(make_model):
    model = make_model(num_glimpses=1)
    model.compile()
    assert model.compiles_sizes if BACKEND == "tensorflow" else model.jit_compile
    model.compile(run_eagerly=True)
    assert not (model.compiles_sizes if BACKEND == "tensorflow" else model.jit_compile)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's default")
@pytest.mark.parametrize(
    ("slow", "convolution"),
    [
        (True, keras.layers.DepthwiseConv2D(2)),
        (True, keras.layers.SeparableConv2D(4, 2)),
        (True, keras.layers.Conv2D(4, 2, groups=2)),
        (False, keras.layers.Conv2D(4, 2)),
    ],
)
def test_xla_is_no_default_where_it_is_slow(slow, convolution, make_model):
    """Convolutions of each channel by itself, however deep in a backbone."""
    layers = [keras.layers.Conv2D(2, 3), convolution, keras.layers.Flatten()]
    inside = keras.Sequential(layers)
    model = make_model(num_glimpses=1, backbone=keras.Sequential([inside]))
    model.compile()
    assert model.compiles_sizes is not slow


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's functions")
def test_only_the_first_size_is_compiled_by_xla(make_model, monkeypatch):
    """XLA takes a second for each size, a traced function takes them all."""
    compiled = []
    function = tf.function

    def spy(step=None, **options):
        if options.get("jit_compile"):
            compiled.append(step)
        return function(step, **options)

    model = make_model(num_glimpses=2)
    model.compile()
    monkeypatch.setattr(tf, "function", spy)
    sizes = [(12, 9), (8, 8), (20, 15), (12, 9), (9, 30)]
    images = [np.random.default_rng(0).uniform(size=(1, *s, 1)) for s in sizes]
    seen = [model.predict(image, verbose=0) for image in images]
    assert len(compiled) == 1
    for image, logits in zip(images, seen, strict=True):
        expected = keras.ops.convert_to_numpy(model(image))
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


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

    def run(data, **options):
        seen.clear()
        before = int(model.optimizer.iterations)
        options = {"shuffle": False, "verbose": 0, "callbacks": [count], **options}
        model.fit(data, **options)
        return int(model.optimizer.iterations) - before, list(seen)

    # Sixteen at once, but where steps are counted, by keyword or by place.
    assert run(pipeline.take(32)) == (32, [15, 31])
    assert run(pipeline, steps_per_epoch=17) == (17, list(range(17)))
    assert run(pipeline.take(2), validation_data=pipeline, validation_steps=3) == (
        2,
        [0, 1, 0, 1, 2],
    )
    by_place = (None, None, 1, 0, None, 0.0, None, False, None, None, 0, 20)
    before = int(model.optimizer.iterations)
    model.fit(pipeline, *by_place)
    assert int(model.optimizer.iterations) - before == 20
    # Twenty images are five batches: no execution is full.
    model.fit(images[:20], labels[:20], 4, verbose=0)
    assert int(model.optimizer.iterations) - before == 25
    seen.clear()
    model.evaluate(pipeline, None, None, 0, None, 5, [count])
    assert seen == [0, 1, 2, 3, 4]
    looked = pipeline.map(lambda x, y: x)
    assert len(model.predict(looked, steps=3, verbose=0)) == 12
    assert len(model.predict(looked, None, 0, 3)) == 12
    assert model.steps_per_execution == 16
    model.compile(run_eagerly=True)
    assert model.steps_per_execution == 1


@pytest.fixture
def glimpses_traced(monkeypatch):
    """How many glimpses were written into graphs, in a list of one number."""
    count = [0]
    call = keras_ram.GlimpseCell.call

    @functools.wraps(call)
    def counting(cell, *args, **kwargs):
        count[0] += 1
        return call(cell, *args, **kwargs)

    monkeypatch.setattr(keras_ram.GlimpseCell, "call", counting)
    return count


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="Keras does not compile there")
def test_what_is_compiled_does_not_grow(make_model, batch, glimpses_traced):
    traced = []
    for number in (8, 64):
        model = make_model(num_glimpses=number)
        model.compile(steps_per_execution=1, jit_compile=JIT)
        glimpses_traced[0] = 0
        model.fit(batch[0][:8], batch[1][:8], 8, verbose=0)
        traced.append(glimpses_traced[0])
    assert traced[1] <= 1.5 * traced[0]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's functions")
@pytest.mark.parametrize("options", [{}, {"jit_compile": False}])
def test_predict_is_traced_for_one_batch(options, make_model, batch, glimpses_traced):
    model = make_model(num_glimpses=2)
    model.compile(**options)
    glimpses_traced[0] = 0
    assert len(model.predict(batch[0][:60], 3, verbose=0)) == 60  # twenty batches
    assert glimpses_traced[0] == 2


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's functions")
def test_predict_holds_one_step_for_all_batches(make_model, batch):
    """Copied sixteen times by TensorFlow, it took a minute to start at 32 glimpses."""
    from tensorflow.python.eager import context  # no public way to what was run

    sizes = []
    for steps in (1, 16):
        model = make_model(num_glimpses=2)
        model.compile(jit_compile=False, steps_per_execution=steps)
        context.enable_run_metadata()
        try:
            model.predict(batch[0][:32], 2, verbose=0)
            graphs = context.export_run_metadata().function_graphs
        finally:
            context.disable_run_metadata()
        sizes.append(
            max(
                len(graph.node) + sum(len(f.node_def) for f in graph.library.function)
                for graph in (g.post_optimization_graph for g in graphs)
            )
        )
    assert sizes[1] < 1.5 * sizes[0]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's functions")
def test_threads_predict_while_another_trains(make_model, batch):
    images, labels = batch
    model = make_model(num_glimpses=1)
    model.compile(keras.optimizers.SGD(0.0), jit_compile=JIT)
    expected = model.predict(images, verbose=0)
    pipeline = tf.data.Dataset.from_tensors(images).repeat()

    def ask(steps):
        seen = model.predict(pipeline, steps=steps, verbose=0)
        assert len(seen) == steps * len(images)
        np.testing.assert_allclose(seen[-len(images) :], expected, atol=1e-5)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = pool.map(ask, [3, 1, 4, 2])
        model.fit(images, labels, 2, verbose=0)
        list(answers)
    assert model.steps_per_execution == 16


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
    assert seen == [20] * 22  # after each of ten steps, and each epoch


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
    # What Keras reads, and None is TensorFlow's default, which tunes.
    assert tuned(model.fit, *batch, validation_split=0.5) == {None}
    assert tuned(model.fit, canvases) == {None}
    assert tuned(model.evaluate, *batch) == {False}
    assert tuned(model.predict, images) == {False}
    assert tuned(model.fit, pipeline, shuffle=False) == {None}
    assert tuned(model.evaluate, pipeline) == {None}
    assert tuned(model.fit, pipeline, validation_data=batch, shuffle=False) == {
        None,
        False,
    }
