"""The vital signs, of policies whose signs are known."""

import numpy as np
import pytest
from keras import ops

import keras_ram
from keras_ram.diagnosis import vital_signs


class Puppet(keras_ram.RAM):
    """Looks where it is told, and guesses and expects what it is told.

    Args:
        script: A list of rollouts, the first without sampling.
    """

    def __init__(self, script, **options):
        super().__init__(num_classes=2, **options)
        self.script, self.played = script, 0

    def rollout(self, images, training=False):
        self.played += training
        play = self.script[self.played]
        return {name: ops.convert_to_tensor(value) for name, value in play.items()}


def play(locations, guesses, baselines=None):
    """A rollout of two images and two glimpses; the guess is that of the last."""
    logits = np.zeros((2, 2, 2), "float32")
    logits[[0, 1], :, guesses] = 5
    return {
        "locations": np.array(locations, "float32"),
        "logits": logits,
        "baselines": np.zeros((2, 2), "float32") if baselines is None else baselines,
        "num_glimpses": np.array([2, 2], "int32"),
    }


def test_signs_worked_out_by_hand():
    places = [[(0, 0), (0.3, 0.4)], [(0, 0), (-0.3, 0.96)]]
    expected = np.array([[0.75, 9], [0.25, 9]], "float32")  # the last is not used
    script = [
        play(places, [1, 1]),  # of labels 1 and 0: one is right
        play(places, [1, 1], expected),
        play(places, [0, 1], expected),
    ]
    model = Puppet(script, num_glimpses=2)
    model.compile(learning="hybrid")
    images, labels = np.zeros((2, 8, 8, 1)), np.array([1, 0])
    signs = vital_signs(model, images, labels, episodes=2)
    # Their mean is (0, 0.68).
    assert signs["spread_over_images"] == pytest.approx(np.hypot(0.3, 0.28))
    assert signs["step_length"] == pytest.approx((0.5 + np.hypot(0.3, 0.96)) / 2)
    assert signs["share_on_border"] == 0.5
    # Rewards of the first image 1 and 0, of the second 0 and 0.
    assert signs["reward_spread"] == pytest.approx((0.5 + 0) / 2)
    assert signs["reward_lost"] == pytest.approx(0.5 - 0.25)
    # Returns 1, 0, 0, 0: variance 3/16. Errors 1/4, 3/4, 1/4, 1/4.
    explained = 1 - (3 / 16 + 9 / 16) / 4 / (3 / 16)
    assert signs["baseline_explains"] == pytest.approx(explained)


def test_glimpses_not_taken_do_not_count():
    rollout = play([[(0, 0), (1, 1)], [(0, 0), (0.6, 0)]], [0, 0])
    rollout["num_glimpses"] = np.array([1, 2], "int32")
    signs = vital_signs(Puppet([rollout], num_glimpses=2), np.zeros((2, 8, 8, 1)))
    assert signs == pytest.approx(
        {"spread_over_images": 0, "step_length": 0.6, "share_on_border": 0}
    )


@pytest.mark.parametrize("baseline", ["learned", "mean", None])
@pytest.mark.parametrize("discount", [1.0, 0.5])
def test_every_rule_has_signs(baseline, discount, make_model, batch):
    images, labels = batch
    model = make_model()
    model.compile(baseline=baseline, discount=discount, reward="probability")
    state = ops.convert_to_numpy(model.location_sampler.seed_generator.state)
    signs = vital_signs(model, images, labels, episodes=2, batch_size=50)
    assert np.isfinite(list(signs.values())).all()
    assert ("baseline_explains" in signs) == (baseline == "learned")
    after = ops.convert_to_numpy(model.location_sampler.seed_generator.state)
    np.testing.assert_array_equal(state, after)


def test_one_glimpse_has_no_policy(make_model, batch):
    images, labels = batch
    model = make_model(num_glimpses=1)
    model.compile(baseline="learned")
    signs = vital_signs(model, images, labels)
    assert signs["spread_over_images"] == signs["step_length"] == 0
    assert signs["baseline_explains"] == 0


def test_refuses_one_episode(make_model, batch):
    with pytest.raises(ValueError, match="`episodes` must be an integer of at least 2"):
        vital_signs(make_model(), *batch, episodes=1)
