"""Every number here was worked out by hand."""

import numpy as np
import pytest
from backends import gradients_of
from keras import ops

from keras_ram import reinforce


def test_accuracy_reward():
    rewards = reinforce.accuracy_reward(np.array([2, 0, 1]), np.array([2, 1, 1]))
    np.testing.assert_array_equal(rewards, [1, 0, 1])


def test_probability_reward():
    logits = np.log([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    rewards = reinforce.probability_reward(np.array([1, 2]), logits)
    np.testing.assert_allclose(rewards, [0.5, 0.3], rtol=1e-6)


def test_label_log_probs():
    logits = np.log([[2.0, 5.0, 3.0]])  # not normalised
    log_probs = reinforce.label_log_probs(np.array([2]), logits)
    np.testing.assert_allclose(log_probs, [np.log(0.3)], rtol=1e-6)


def test_leave_one_out_baseline():
    returns = np.array([[1, 0.2], [0, 0.4], [0.5, 0.6], [4, 0], [4, 0], [1, 0]])
    baseline = reinforce.leave_one_out_baseline(returns, 3)
    expected = [[0.25, 0.5], [0.75, 0.4], [0.5, 0.3], [2.5, 0], [2.5, 0], [4, 0]]
    np.testing.assert_allclose(baseline, expected, rtol=1e-6)


def test_returns():
    rewards = np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.0]])
    returns = reinforce.returns(rewards, 0.75)
    # 0.25 * 1 + 0.75 * 0.5, and so on.
    expected = [[0.46875, 0.625, 0.5], [0.25, 0.0, 0.0]]
    np.testing.assert_array_equal(returns, expected)
    np.testing.assert_array_equal(reinforce.returns(rewards, 0.0), rewards)
    last = np.repeat(rewards[:, -1:], 3, axis=1)
    np.testing.assert_array_equal(reinforce.returns(rewards, 1.0), last)
    assert reinforce.returns(np.zeros((2, 0)), 0.5).shape == (2, 0)


def test_advantages():
    advantages = reinforce.advantages(
        np.array([[1.0, 1.0], [0.0, 0.5]]), np.array([[0.25, 0.5], [0.75, -1.0]])
    )
    np.testing.assert_array_equal(advantages, [[0.75, 0.5], [-0.75, 1.5]])


def test_reinforce_loss_and_its_gradient():
    log_probs = np.array([[-1.0, -2.0], [0.5, -3.0]])
    advantages = np.array([[0.5, 1.0], [2.0, -1.0]])
    losses = reinforce.reinforce_loss(log_probs, advantages)
    # -(-1 * 0.5 - 2 * 1) and -(0.5 * 2 + 3 * 1)
    np.testing.assert_array_equal(losses, [2.5, -4.0])
    to_log_probs, to_advantages = gradients_of(
        reinforce.reinforce_loss, log_probs, advantages
    )
    np.testing.assert_array_equal(to_log_probs, [[-0.5, -1.0], [-2.0, 1.0]])
    assert not to_advantages.any()


def test_baseline_loss_and_its_gradient():
    returns = np.array([[1.0, 1.0], [0.0, 1.0]])
    baselines = np.array([[0.5, 0.0], [1.0, 3.0]])
    losses = reinforce.baseline_loss(returns, baselines)
    # (0.25 + 1) / 2 and (1 + 4) / 2
    np.testing.assert_array_equal(losses, [0.625, 2.5])
    to_returns, to_baselines = gradients_of(reinforce.baseline_loss, returns, baselines)
    np.testing.assert_array_equal(to_baselines, [[-0.5, -1.0], [1.0, 2.0]])
    assert not to_returns.any()


def test_one_glimpse_takes_no_decision():
    nothing = np.zeros((2, 0))
    np.testing.assert_array_equal(reinforce.reinforce_loss(nothing, nothing), [0, 0])
    np.testing.assert_array_equal(reinforce.baseline_loss(nothing, nothing), [0, 0])
    assert reinforce.leave_one_out_baseline(nothing, episodes=2).shape == (2, 0)


@pytest.mark.parametrize(
    "function,inputs",
    [
        (
            lambda logits: reinforce.probability_reward(np.array([1]), logits),
            [[[0.3, 0.2]]],
        ),
        (
            lambda returns: reinforce.leave_one_out_baseline(returns, 2),
            [[[0.3], [0.2]]],
        ),
        (lambda rewards: reinforce.returns(rewards, 0.5), [[[0.3, 0.2]]]),
        (reinforce.advantages, [[[1.0, 1.0]], [[0.3, 0.2]]]),
        (
            lambda logits: reinforce.reinforce_rule(
                logits, ops.zeros((1, 2)), ops.zeros(1)
            )[0],
            [[[0.3, 0.2]]],
        ),
    ],
)
def test_no_gradient_where_none_may_flow(function, inputs):
    for gradient in gradients_of(function, *inputs):
        assert not gradient.any()


def test_reinforce_rule():
    logits = ops.convert_to_tensor([[0.3, 0.2]])
    locations = ops.convert_to_tensor([[-1.0, -2.0]])
    labels = ops.convert_to_tensor([-3.0])
    learned, decisions = reinforce.reinforce_rule(logits, locations, labels)
    np.testing.assert_array_equal(learned, logits)
    np.testing.assert_array_equal(decisions, [[-1, -2, -3]])


@pytest.mark.parametrize(
    "function,shapes",
    [
        (reinforce.accuracy_reward, [(3,), (3, 1)]),
        (reinforce.accuracy_reward, [(3, 1), (3,)]),
        (reinforce.accuracy_reward, [(3,), (1,)]),
        (reinforce.probability_reward, [(3,), (3,)]),
        (reinforce.probability_reward, [(3, 1), (3, 5)]),
        (reinforce.advantages, [(3,), (3,)]),
        (reinforce.advantages, [(3, 1), (3, 2)]),
        (reinforce.advantages, [(3, 2), (1, 2)]),
        (reinforce.reinforce_loss, [(3, 2), (3, 1)]),
        (reinforce.reinforce_loss, [(3, 2), (3,)]),
        (reinforce.reinforce_loss, [(3,), (3,)]),
        (reinforce.baseline_loss, [(3,), (3,)]),
        (reinforce.baseline_loss, [(3, 1), (3, 2)]),
    ],
)
def test_wrong_shapes_raise_instead_of_broadcasting(function, shapes):
    arrays = [np.ones(shape, "float32") for shape in shapes]
    if function is reinforce.probability_reward:
        arrays[0] = arrays[0].astype("int32")
    with pytest.raises(ValueError, match="with the same number of episodes"):
        function(*arrays)


def test_leave_one_out_needs_returns_of_each_decision():
    with pytest.raises(ValueError, match="Expected returns of rank 2"):
        reinforce.leave_one_out_baseline(np.ones(3), 2)
