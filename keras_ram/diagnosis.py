"""Whether a policy lives: its vital signs."""

import numpy as np
from keras import ops

from keras_ram.guesses import best_guess
from keras_ram.inputs import check_images, read
from keras_ram.sizes import number_of
from keras_ram.targets import check_labels
from keras_ram.validation import check_integer
from keras_ram.watching import watch_all

BORDER = 0.95  # a location beyond it is on the border; 1 is the edge


def vital_signs(model, images, labels=None, episodes=8, batch_size=256):
    """Measures whether a policy lives.

    Args:
        model: A `keras_ram.RAM`.
        images: Array of shape `(n, height, width, channels)`, or images of different
            sizes, as for calling the model.
        labels: `None`, or labels as for `fit`.
        episodes: Int, at least 2. Rollouts of each image with sampled
            locations, as in training.
        batch_size: Int, the number of images looked at together.

    Returns:
        A dict of floats. Of the locations that the policy chose, without
        sampling, where the image is 2 wide:

        - `"spread_over_images"`: how far the same glimpse lies from its mean
          over the images. 0 if the path is always the same.
        - `"step_length"`: from a glimpse to the next. 0 if it stands still.
        - `"share_on_border"`: of the locations, in [0, 1], that are within
          1/40 of the image from its border.

        And with labels, by the reward that `compile` chose:

        - `"reward_spread"`: the standard deviation of the reward over the
          episodes of an image, mean over the images: how far exploration moves
          it. At 0 there is nothing to learn a policy from.
        - `"reward_lost"`: the reward without sampling, less that with it.
        - `"baseline_explains"`: the share of the variance of the returns that
          the learned baseline foresees: 1 if all, 0 if no better than a
          constant, negative if worse. Only with `baseline="learned"`.

    Raises:
        ValueError: If an argument is out of its range, or images or labels do
            not fit.

    Example:

    >>> model = keras_ram.RAM(num_classes=10, num_glimpses=3)
    >>> signs = keras_ram.vital_signs(model, np.zeros((4, 28, 28, 1)))
    >>> signs["spread_over_images"]
    0.0
    """
    images = read(images)
    check_images(images)
    check_integer("episodes", episodes, least=2)
    check_integer("batch_size", batch_size)
    locations, taken = look_at_all(model, images, batch_size)
    signs = _signs_of_locations(locations, taken)
    if labels is None:
        return signs
    check_labels(labels, number_of(images), model.num_classes, None, model.multi_label)
    generator = model.location_sampler.seed_generator
    before = ops.convert_to_numpy(generator.state)
    certain, _, _ = _episode(model, images, labels, batch_size, training=False)
    samples = [
        _episode(model, images, labels, batch_size, training=True)
        for _ in range(episodes)
    ]
    generator.state.assign(before)  # training draws what it would have drawn
    rewards, returns, baselines = map(np.stack, zip(*samples, strict=True))
    signs["reward_spread"] = float(rewards.std(axis=0).mean())
    signs["reward_lost"] = float(certain.mean() - rewards.mean())
    if model.rule.baseline == "learned":
        signs["baseline_explains"] = _explained(returns, baselines)
    return signs


def look_at_all(model, images, batch_size=256):
    """Where the policy looks without sampling.

    Returns:
        Locations, `(n, T, 2)`, and how many of the T were taken, `(n,)`.
    """
    seen = watch_all(model.rollout, images, batch_size)
    return seen["locations"], seen["num_glimpses"]


def _signs_of_locations(locations, taken):
    spreads, steps, border = [], [], []
    for step in range(1, locations.shape[1]):
        before, places = (locations[taken > step, at] for at in (step - 1, step))
        spreads.extend(np.linalg.norm(places - places.mean(axis=0), axis=1))
        steps.extend(np.linalg.norm(places - before, axis=1))
        border.extend(np.abs(places).max(axis=1) > BORDER)
    signs = {
        "spread_over_images": spreads,
        "step_length": steps,
        "share_on_border": border,
    }
    return {name: float(np.mean(v)) if v else 0.0 for name, v in signs.items()}


def _explained(returns, baselines):
    if not returns.size or returns.std() == 0:  # nothing to foresee
        return 0.0
    variance = np.mean((returns - returns.mean(axis=(0, 1))) ** 2)
    return float(1 - np.mean((returns - baselines) ** 2) / variance)


def _episode(model, images, labels, batch_size, training):
    """One rollout of every image.

    Returns:
        The rewards, `(n,)`; the returns of the decisions, and what the baseline
        expected of them, `(n, T - 1)`.
    """
    rule, decisions = model.rule, model.num_glimpses - 1
    rollout = watch_all(model.rollout, images, batch_size, training=training)
    count, guesses, classes = rollout["logits"].shape
    logits = ops.reshape(rollout["logits"], (-1, classes))
    y = ops.repeat(ops.convert_to_tensor(labels), guesses, axis=0)
    rewards = rule.rewards(y, logits, best_guess(logits, model.multi_label))
    rewards = ops.reshape(rewards, (count, guesses))
    parts = rewards[:, -1], rule.returns(rewards, decisions)
    expected = rollout["baselines"][:, :decisions]
    return [*map(ops.convert_to_numpy, parts), expected]
