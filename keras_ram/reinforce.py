"""Rewards, baselines and losses of REINFORCE, as pure functions on tensors.

An episode is one rollout on one image. Its `decisions` are the locations that
the policy chose and, under the pure rule, the label. Functions return one
value for each episode, so that the caller can weigh the images. Labels are
classes, or sets of classes: 1 for each that is in the set, and 0 for the
others.

References:

- [Mnih et al., 2014](https://arxiv.org/abs/1406.6247), section 3.2
- Williams, "Simple statistical gradient-following algorithms for connectionist
  reinforcement learning", 1992
"""

from keras import ops

from keras_ram.validation import check_shapes


def accuracy_reward(labels, guesses):
    """1 for a right guess, 0 for a wrong one. Carries no gradient.

    A set is right as a whole, or wrong.

    Args:
        labels: Int tensor of shape `(episodes,)`, the true classes, or of shape
            `(episodes, classes)`, the true sets.
        guesses: Int tensor of the same shape.

    Returns:
        Float32 tensor of shape `(episodes,)`.

    Example:

    >>> np.asarray(accuracy_reward(np.array([3, 1]), np.array([3, 0])))
    array([1., 0.], dtype=float32)
    """
    rank = min(len(guesses.shape), 2)
    check_shapes(labels=(labels, rank), guesses=(guesses, rank))
    right = ops.equal(labels, guesses)
    return ops.cast(ops.all(right, axis=1) if rank == 2 else right, "float32")


def probability_reward(labels, logits):
    """The probability given to the true class, or set. Carries no gradient.

    It is the expectation of `accuracy_reward` over a label drawn from the
    logits, and so has less variance.

    Args:
        labels, logits: As for `label_log_probs`.

    Returns:
        Float32 tensor of shape `(episodes,)`, in [0, 1].

    Example:

    >>> np.asarray(probability_reward(np.array([1]), np.array([[0.0, 0.0]])))
    array([0.5], dtype=float32)
    """
    return ops.stop_gradient(ops.exp(label_log_probs(labels, logits)))


def label_log_probs(labels, logits):
    """The log-probability that the logits give to each label.

    Args:
        labels: Int tensor of shape `(episodes,)`, classes, of which the logits
            give the softmax; or of shape `(episodes, classes)`, sets, where each
            class is there or not by itself, with the sigmoid of its logit.
        logits: Float tensor of shape `(episodes, classes)`.

    Returns:
        Float32 tensor of shape `(episodes,)`. Gradients reach `logits`.

    Example:

    >>> np.asarray(label_log_probs(np.array([1]), np.array([[0.0, 0.0]])))
    array([-0.6931472], dtype=float32)
    >>> np.asarray(label_log_probs(np.array([[1, 0]]), np.array([[0.0, 0.0]])))
    array([-1.3862944], dtype=float32)
    """
    rank = min(len(labels.shape), 2)
    check_shapes(labels=(labels, rank), logits=(logits, 2))
    logits = ops.cast(logits, "float32")
    if rank == 2:
        signs = 1 - 2 * ops.cast(labels, "float32")
        return -ops.sum(ops.softplus(signs * logits), axis=-1)
    log_probs = ops.log_softmax(logits)
    chosen = ops.one_hot(labels, logits.shape[-1], dtype="float32")
    return ops.sum(chosen * log_probs, axis=-1)


def returns(rewards, discount):
    """What a decision is credited with: the rewards after it, the soonest most.

    `R_t = (1 - discount) r_t + discount R_(t + 1)`, and the last is its own
    reward. So returns stay in the range of the rewards. It is the reward
    expected of an episode that goes on with probability `discount` after each
    guess. With 1, all decisions are credited with the last reward, as in the
    paper.

    Args:
        rewards: Float tensor of shape `(episodes, decisions)`, the reward of
            the guess that follows each decision.
        discount: Float in [0, 1].

    Returns:
        Float32 tensor of the same shape, without gradient.

    Example:

    >>> np.asarray(returns(np.array([[0.0, 0.0, 1.0]]), discount=0.5))
    array([[0.25, 0.5 , 1.  ]], dtype=float32)
    """
    check_shapes(rewards=(rewards, 2))
    rewards = ops.stop_gradient(ops.cast(rewards, "float32"))
    credits = [rewards[:, -1:]]
    for t in reversed(range(rewards.shape[1] - 1)):
        reward = rewards[:, t : t + 1]
        credits.append((1 - discount) * reward + discount * credits[-1])
    return ops.concatenate(credits[::-1], axis=1)


def leave_one_out_baseline(returns, episodes):
    """The mean return of the other episodes of the same image.

    It does not depend on the episode's own samples, and so adds no bias.

    Args:
        returns: Float tensor of shape `(images * episodes, decisions)`, the
            episodes of an image side by side.
        episodes: Int, at least 2. Episodes of each image.

    Returns:
        Float32 tensor of the same shape, without gradient.

    Example:

    >>> returns = np.array([[1.0], [0.0], [0.0], [0.0], [1.0], [1.0]])
    >>> np.asarray(leave_one_out_baseline(returns, 3))[:, 0]
    array([0. , 0.5, 0.5, 1. , 0.5, 0.5], dtype=float32)

    Reference:

    - Kool et al., "Buy 4 REINFORCE samples, get a baseline for free!", 2019
    """
    check_shapes(returns=(returns, 2))
    returns = ops.cast(returns, "float32")
    total, decisions = ops.shape(returns)  # of one glimpse there are no decisions
    grouped = ops.reshape(returns, (total // episodes, episodes, decisions))
    others = (ops.sum(grouped, axis=1, keepdims=True) - grouped) / (episodes - 1)
    return ops.stop_gradient(ops.reshape(others, (total, decisions)))


def advantages(returns, baselines):
    """How much better an episode went than was expected at each decision.

    Args:
        returns: Float tensor of shape `(episodes, decisions)`, the reward that
            each decision is credited with.
        baselines: Float tensor of the same shape, the return expected when the
            decision was taken.

    Returns:
        Float32 tensor of the same shape, without gradient.

    Example:

    >>> np.asarray(advantages(np.array([[1.0, 1.0]]), np.array([[0.25, 0.75]])))
    array([[0.75, 0.25]], dtype=float32)
    """
    return ops.stop_gradient(_errors(returns, baselines))


def reinforce_loss(log_probs, advantages):
    """A loss whose gradient is REINFORCE's: `-sum_t log_prob_t * advantage_t`.

    With `advantage = r - b_t`, the gradient of its mean over episodes is an
    unbiased estimate of the gradient of `-E[r]`, for every `b_t` that does not
    depend on the decision at `t` (equation 1 of the paper).

    Args:
        log_probs: Float tensor of shape `(episodes, decisions)`.
        advantages: Float tensor of the same shape. Carries no gradient.

    Returns:
        Float tensor of shape `(episodes,)`. Its value has no meaning of its
        own. Gradients reach `log_probs` alone.

    Example:

    >>> loss = reinforce_loss(np.array([[-1.0, -2.0]]), np.array([[0.5, 1.0]]))
    >>> np.asarray(loss)
    array([2.5], dtype=float32)
    """
    check_shapes(log_probs=(log_probs, 2), advantages=(advantages, 2))
    log_probs = ops.cast(log_probs, "float32")
    advantages = ops.stop_gradient(ops.cast(advantages, "float32"))
    return -ops.sum(log_probs * advantages, axis=1)


def baseline_loss(returns, baselines):
    """The squared error of the expected return, averaged over decisions.

    Args:
        returns: Float tensor of shape `(episodes, decisions)`. Carries no
            gradient.
        baselines: Float tensor of the same shape.

    Returns:
        Float32 tensor of shape `(episodes,)`. Gradients reach `baselines`.

    Example:

    >>> np.asarray(baseline_loss(np.array([[1.0, 1.0]]), np.array([[0.0, 0.5]])))
    array([0.625], dtype=float32)
    """
    returns = ops.stop_gradient(ops.convert_to_tensor(returns))
    errors = _errors(returns, baselines)
    return ops.sum(ops.square(errors), axis=1) / max(1, baselines.shape[1])


def reinforce_rule(logits, location_log_probs, label_log_probs):
    """Pure REINFORCE: the label is one more decision.

    Args:
        logits: Float tensor of shape `(episodes, classes)`, the last guess.
        location_log_probs: Float tensor of shape `(episodes, locations)`.
        label_log_probs: Float tensor of shape `(episodes,)`, of the labels
            that were drawn.

    Returns:
        Tuple of the logits, which carry no gradient, and the log-probabilities
        of all decisions, of shape `(episodes, locations + 1)`.

    Example:

    >>> values = np.zeros((1, 10)), [[-1.0, -2.0]], [-3.0]
    >>> values = [keras.ops.convert_to_tensor(v, "float32") for v in values]
    >>> _, decisions = reinforce_rule(*values)
    >>> np.asarray(decisions)
    array([[-1., -2., -3.]], dtype=float32)

    Reference:

    - [Mnih et al., 2014](https://arxiv.org/abs/1406.6247), equation 1
    """
    decisions = ops.concatenate([location_log_probs, label_log_probs[:, None]], axis=1)
    return ops.stop_gradient(logits), decisions


def _errors(returns, baselines):
    check_shapes(returns=(returns, 2), baselines=(baselines, 2))
    return ops.cast(returns, "float32") - ops.cast(baselines, "float32")
