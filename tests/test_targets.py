"""Labels, weights and where they come from: what `fit` takes beside images."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import BACKEND, FEW_STEPS, noise
from keras import ops
from updates import assert_same, update

from keras_ram.trainers.learning_rule import LearningRule


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


@pytest.mark.parametrize("guess_weights", [None, (0, 1, 3)])
def test_a_sample_weight_is_that_of_its_image(
    guess_weights, make_model, batch, monkeypatch
):
    images, labels = batch
    monkeypatch.setattr(keras.random, "normal", noise)
    model = make_model(initial_location="center")
    before = [ops.convert_to_numpy(w).copy() for w in model.trainable_weights]
    options = {"episodes": 2, "discount": 0.5, "guess_weights": guess_weights}
    options.update(FEW_STEPS)
    weights = np.repeat([1.0, 0.0], 32)
    half = update(model, images, labels, options, sample_weight=weights)
    alone = update(model, images[:32], labels[:32], options)
    for a, b, start in zip(half, alone, before, strict=True):
        np.testing.assert_allclose(a - start, (b - start) / 2, rtol=0, atol=2e-6)


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
        LearningRule("hybrid").rewards,
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
