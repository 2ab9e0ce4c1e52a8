"""The update of `train_step` is the gradient of the expected reward.

The model takes two glimpses: one at the centre, one at a location that is
drawn. Its expected reward is an integral over the plane of locations, which is
summed on a grid, and differentiated by TensorFlow through that sum.
"""

from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import JIT
from scipy import stats

STDDEV = 0.3
EPISODES = 8
DRAWS = 4096  # of each image, in a step
BASELINES = ["learned", "mean", "leave_one_out", None]
FEATURES = ["glimpse_net", "simple_rnn_cell"]
PARTS = ["location_sampler", *FEATURES, "classifier"]


@pytest.fixture
def problem(digits):
    """A 3-class problem of 3 images, whose answer hangs on the location."""
    (images, labels), _, _ = digits
    return images[[np.argmax(labels == c) for c in range(3)]], np.arange(3)


@pytest.fixture
def model(make_model):
    model = make_model(
        num_classes=3,
        num_glimpses=2,
        patch_size=3,
        core_units=5,
        glimpse_units=6,
        what_units=6,
        where_units=4,
        location_stddev=STDDEV,
        initial_location="center",
        seed=1,
    )
    rng = np.random.default_rng(5)
    for weight in model.trainable_weights:
        scale = 0.7 if weight.ndim > 1 else 0.3
        weight.assign(np.float32(rng.normal(size=weight.shape) * scale))
    # A wild baseline would only add noise.
    model.baseline.set_weights([rng.normal(size=(5, 1)) * 0.05, np.array([0.3])])
    return model


def expected_reward(model, images, labels, hard, policy_alone=False):
    """The integral over the second location, for all images, differentiable.

    With `policy_alone`, weights change where the model looks, not what it gets
    for it.
    """
    count = len(images)
    first = tf.zeros((count, 2))
    glimpse = model.glimpse_net(model.glimpse_sensor(images, first), first)
    state = [tf.zeros((count, model.core.units))]
    hidden, state = model.core(glimpse, state)
    mean = model.location_sampler(hidden)["mean"]  # (N, 2)

    offsets = np.linspace(-4 * STDDEV, 4 * STDDEV, 81).astype("float32")
    grid = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 2)
    area = (offsets[1] - offsets[0]) ** 2
    samples = tf.stop_gradient(mean)[:, None] + grid  # (N, P, 2)
    density = tf.exp(
        -tf.reduce_sum((samples - mean[:, None]) ** 2, axis=2) / (2 * STDDEV**2)
    ) / (2 * np.pi * STDDEV**2)
    points = len(grid)
    second = tf.clip_by_value(tf.reshape(samples, (-1, 2)), -1, 1)
    patches = model.glimpse_sensor(np.repeat(images, points, axis=0), second)
    hidden, _ = model.core(
        model.glimpse_net(patches, second), [tf.repeat(state[0], points, axis=0)]
    )
    logits = model.classifier(hidden)
    labels = np.repeat(labels, points)
    if hard:
        reward = tf.cast(tf.argmax(logits, axis=1) == labels, "float32")
    else:
        reward = tf.gather(tf.nn.softmax(logits), labels, batch_dims=1)
    if policy_alone:
        reward = tf.stop_gradient(reward)
    total = tf.reduce_sum(density * tf.reshape(reward, (count, points)), axis=1) * area
    return tf.reduce_mean(total)


class EvenDraws:
    """Stands for what the model draws: in a random order, but evenly spread.

    Means over these are those over independent draws, and scatter far less.
    """

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        points = stats.qmc.Sobol(3, rng=self.rng).random(DRAWS)
        self.points = np.clip(points, 1e-6, 1 - 1e-6)

    def noise(self, shape):
        """Of the second location, the one that is drawn."""
        images = shape[1] // DRAWS
        points = np.concatenate(
            [self.rng.permutation(self.points) for _ in range(images)]
        )
        self.of_label = points[:, 2:].astype("float32")
        noise = stats.norm.ppf(points[:, :2])
        return tf.constant(np.stack([noise] * shape[0]), "float32")

    def categorical(self, logits, num_samples, seed):
        reached = tf.cumsum(tf.nn.softmax(logits), axis=1) < self.of_label
        return tf.reduce_sum(tf.cast(reached, "int64"), axis=1, keepdims=True)


def mean_update(model, images, labels, steps=8, **options):
    """The mean change of each weight over steps that all start at the same point."""
    model.compile(keras.optimizers.SGD(1.0), run_eagerly=True, **options)
    repeats = DRAWS // options["episodes"]
    x, y = np.repeat(images, repeats, axis=0), np.repeat(labels, repeats)
    start = [w.numpy() for w in model.trainable_weights]
    change = [np.zeros_like(w) for w in start]
    # Two rules that are compared draw the same samples.
    model.mean_reward.assign(0)
    draws = EvenDraws(7)
    model.location_sampler.noise = draws.noise
    for _ in range(steps):
        with mock.patch("keras.random.categorical", draws.categorical):
            model.train_on_batch(x, y)
        for weight, at_start, total in zip(
            model.trainable_weights, start, change, strict=True
        ):
            total += (weight.numpy() - at_start) / steps
            weight.assign(at_start)
    return {w.path: c for w, c in zip(model.trainable_weights, change, strict=True)}


def true_gradient(model, images, labels, **options):
    with tf.GradientTape() as tape:
        reward = expected_reward(model, images, labels, **options)
    gradient = tape.gradient(
        reward,
        [weight.value for weight in model.trainable_weights],
        unconnected_gradients="zero",
    )
    return {
        w.path: g.numpy()
        for w, g in zip(model.trainable_weights, gradient, strict=True)
    }


def assert_same(update, gradient, part):
    """The same direction and, along it, the same length."""
    a, b = (
        np.concatenate([v.ravel() for path, v in values.items() if part in path])
        for values in (update, gradient)
    )
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) >= 0.97, part
    assert a @ b / (b @ b) == pytest.approx(1, abs=0.1), part


@pytest.mark.parametrize(
    "reward,baseline",
    [*(("accuracy", baseline) for baseline in BASELINES), ("probability", "learned")],
)
def test_hybrid_update_is_the_gradient(model, problem, reward, baseline):
    gradient = true_gradient(model, *problem, hard=reward == "accuracy")
    rule = {"learning": "hybrid", "reward": reward, "baseline": baseline}
    update = mean_update(model, *problem, **rule, episodes=EPISODES)
    assert_same(update, gradient, "location_sampler")


@pytest.mark.parametrize("baseline", BASELINES)
def test_joint_adds_the_gradient_through_the_policy(model, problem, baseline):
    """To core and glimpse net, and nothing to the others."""
    gradient = true_gradient(model, *problem, hard=True, policy_alone=True)
    options = {"reward": "accuracy", "baseline": baseline, "discount": 1}
    hybrid, joint = (
        mean_update(model, *problem, learning=rule, **options, episodes=EPISODES)
        for rule in ("hybrid", "joint")
    )
    added = {path: joint[path] - hybrid[path] for path in joint}
    for part in FEATURES:
        assert_same(added, gradient, part)
    for path, value in added.items():
        if not any(part in path for part in FEATURES):
            np.testing.assert_allclose(value, 0, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("baseline", BASELINES)
def test_pure_update_is_the_gradient_in_every_weight(model, problem, baseline):
    # A drawn label is right with its probability.
    gradient = true_gradient(model, *problem, hard=False)
    update = mean_update(
        model, *problem, learning="reinforce", baseline=baseline, episodes=EPISODES
    )
    for part in PARTS:
        assert_same(update, gradient, part)


@pytest.mark.parametrize(
    "options",
    [
        {"reward": "probability"},
        {"baseline": None},
        {"baseline": "mean"},
    ],
)
def test_hybrid_reward_reaches_the_location_network_alone(model, problem, options):
    images, labels = problem
    start = model.get_weights()
    updates = []
    for choice in ({}, options):
        model.set_weights(start)
        model.location_sampler.seed_generator.state.assign([7, 0])
        choice = {"learning": "hybrid", "jit_compile": JIT, **choice}
        model.compile(keras.optimizers.SGD(1.0), **choice)
        model.train_on_batch(images, labels)
        updates.append({w.path: w.numpy() for w in model.trainable_weights})
    for path, value in updates[0].items():
        same = np.array_equal(value, updates[1][path])
        if "location_sampler" in path:
            assert not same, path
        elif "baseline" not in path:
            assert same, path


def test_pure_learning_takes_nothing_from_the_labels_but_the_reward(model, problem):
    """With a baseline that equals every reward, nothing is learned."""
    images, _ = problem
    # No guess can be right, whatever is drawn: the reward is always zero.
    model.classifier.set_weights([np.zeros((5, 3)), np.array([0.0, 0.0, -1e9])])
    labels = np.full(len(images), 2)
    start = [w.numpy() for w in model.trainable_weights]
    model.compile(
        keras.optimizers.SGD(1.0),
        learning="reinforce",
        baseline=None,
        jit_compile=JIT,
    )
    model.train_on_batch(images, labels)
    for before, after in zip(start, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(after.numpy(), before)
