"""What `compile` makes of its options."""

import dataclasses

import keras
import numpy as np
import pytest
from backends import FEW_STEPS, JIT
from keras import ops

from keras_ram.trainers.learning_rule import LearningRule

PAPER = ("accuracy", "learned", 1, 1.0)
BEST = ("joint", "probability", "leave_one_out", 4, 0.5)
OPTIONS = ("learning", "reward", "baseline", "episodes", "discount")


@pytest.mark.parametrize(
    "options,expected",
    [
        ({}, BEST),
        (dict.fromkeys(OPTIONS[1:], "auto"), BEST),
        ({"learning": "hybrid"}, ("hybrid", *PAPER)),
        ({"learning": "reinforce"}, ("reinforce", *PAPER)),
        # What is named is kept, and what goes with it is chosen.
        ({"episodes": 1}, ("joint", "probability", "learned", 1, 0.5)),
        ({"episodes": 2, "discount": 1}, (*BEST[:3], 2, 1)),
        ({"baseline": None}, ("joint", "probability", None, 4, 0.5)),
        ({"reward": "accuracy"}, ("joint", "accuracy", *BEST[2:])),
        (
            {"learning": "hybrid", "baseline": "leave_one_out"},
            ("hybrid", "accuracy", "leave_one_out", 4, 1.0),
        ),
        ({"learning": "hybrid", "episodes": 4}, ("hybrid", *PAPER[:2], 4, 1.0)),
    ],
)
def test_auto_is_what_goes_with_the_others(options, expected):
    rule = dataclasses.asdict(LearningRule(**options))
    assert tuple(rule[name] for name in OPTIONS) == expected


def test_a_file_holds_plain_values(make_model, tmp_path):
    """So another default changes nothing of what was compiled before."""
    for options, expected in (({}, BEST), ({"learning": "hybrid"}, ("hybrid", *PAPER))):
        model = make_model()
        model.compile(**options)
        config = model.get_compile_config()
        assert tuple(config[name] for name in OPTIONS) == expected
        model.save(tmp_path / "m.keras")
        assert keras.saving.load_model(tmp_path / "m.keras").rule == model.rule


def test_losses_of_a_bare_compile_by_hand(make_model, batch):
    """The logged numbers, from a rollout with the same samples."""
    images, labels = batch
    model = make_model()
    # XLA draws other samples than the rollout below.
    model.compile(keras.optimizers.SGD(0.0), jit_compile=JIT)
    state = model.location_sampler.seed_generator.state
    state.assign([7, 0])
    logs = model.train_on_batch(images, labels, return_dict=True)
    state.assign([7, 0])
    rollout = model.rollout(images, training=True, episodes=4)
    rollout = {name: ops.convert_to_numpy(value) for name, value in rollout.items()}
    logits, of_episodes = rollout["logits"], np.repeat(labels, 4)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    rewards = probabilities[np.arange(256), :, of_episodes]  # (N, T)
    last = rewards[:, 2]
    returns = np.stack([(rewards[:, 1] + last) / 2, last], axis=1)
    grouped = returns.reshape(64, 4, 2)
    others = (grouped.sum(axis=1, keepdims=True) - grouped) / 3
    advantages = returns - others.reshape(256, 2)
    expected = {
        "loss": -np.log(rewards).mean(),
        "accuracy": (logits[:, -1].argmax(axis=1) == of_episodes).mean(),
        "reward": last.mean(),
        "baseline_loss": (advantages**2).mean(),
        "reinforce_loss": -(rollout["location_log_probs"] * advantages).sum(1).mean(),
    }
    assert set(logs) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("num_glimpses,images", [(1, 64), (1, 1), (2, 1)])
def test_a_bare_compile_learns_from_little(num_glimpses, images, make_model, batch):
    """One glimpse has no policy, and one image no others to compare with."""
    model = make_model(num_glimpses=num_glimpses, initial_location="center")
    model.compile(keras.optimizers.SGD(0.1), **FEW_STEPS)
    some = [values[:images] for values in batch]
    losses = model.fit(*some, epochs=4, verbose=0).history["loss"]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
