"""The learning rule that `compile` chose."""

import dataclasses

import numpy as np
from keras import ops

from keras_ram import reinforce
from keras_ram.validation import check_choice, check_integer, check_share

LEARNING = ("hybrid", "joint", "reinforce")
REWARDS = ("accuracy", "probability")
BASELINES = ("learned", "mean", "leave_one_out", None)


@dataclasses.dataclass(frozen=True)
class LearningRule:
    """What a model learns from. `RAM.compile` describes the options.

    Those that are `"auto"` become what goes with the others.

    Raises:
        ValueError: If an option is unknown, or does not go with another.
    """

    learning: str = "joint"
    reward: str = "auto"
    baseline: str | None = "auto"
    episodes: int | str = "auto"
    discount: float | str = "auto"
    guess_weights: tuple | None = None

    def __post_init__(self):
        check_choice("learning", self.learning, LEARNING)
        self._choose()
        check_choice("reward", self.reward, REWARDS)
        check_choice("baseline", self.baseline, BASELINES)
        check_integer("episodes", self.episodes)
        check_share("discount", self.discount)
        if self.baseline == "leave_one_out" and self.episodes < 2:
            raise ValueError(
                '`baseline="leave_one_out"` compares episodes of the same image, so '
                f"`episodes` must be at least 2. Received: episodes={self.episodes}"
            )
        if self.learning == "reinforce" and self.reward == "probability":
            raise ValueError(
                '`learning="reinforce"` learns from the label that was drawn, and '
                '`reward="probability"` does not depend on it. Use '
                '`reward="accuracy"`, or another `learning`.'
            )
        if self.learning == "reinforce" and self.discount < 1:
            raise ValueError(
                '`learning="reinforce"` draws one label, after the last glimpse, so '
                f"`discount` must be 1. Received: discount={self.discount}"
            )
        if self.guess_weights is not None:
            self._check_guess_weights()

    def _choose(self):
        """Of joint learning what `examples/results.md` measured, else the paper's."""
        joint = self.learning == "joint"
        several = joint or self.baseline == "leave_one_out"
        self._settle(
            reward="probability" if joint else "accuracy",
            episodes=4 if several else 1,
            discount=0.5 if joint else 1.0,
        )
        compared = joint and self.episodes != 1
        self._settle(baseline="leave_one_out" if compared else "learned")

    def _settle(self, **values):
        for name, value in values.items():
            if getattr(self, name) == "auto":
                object.__setattr__(self, name, value)

    def _check_guess_weights(self):
        weights = np.asarray(self.guess_weights)
        if (
            weights.ndim != 1
            or weights.dtype.kind not in "iuf"
            or not np.isfinite(weights).all()
            or (weights < 0).any()
            or not weights.any()
        ):
            raise ValueError(
                "`guess_weights` must be a sequence of numbers of at least 0, one for "
                "each glimpse, and not all of them 0. Received: "
                f"guess_weights={self.guess_weights}"
            )
        if self.learning == "reinforce":
            raise ValueError(
                '`learning="reinforce"` learns one label, which is drawn after the '
                "last glimpse, so `guess_weights` must be None. Received: "
                f"guess_weights={self.guess_weights}"
            )
        # As every file format can hold them.
        object.__setattr__(self, "guess_weights", tuple(weights.tolist()))

    def learned_guesses(self, num_glimpses):
        """How many of the last guesses are learned.

        Raises:
            ValueError: If there is not a weight for each.
        """
        if self.guess_weights is None:
            return num_glimpses if self.discount < 1 else 1
        if len(self.guess_weights) != num_glimpses:
            raise ValueError(
                f"`guess_weights` must hold a number for each of the {num_glimpses} "
                f"glimpses. Received: guess_weights={self.guess_weights}"
            )
        return num_glimpses

    @property
    def guess_shares(self):
        """What each guess counts beside the mean of them: `(guesses,)`, or 1."""
        if self.guess_weights is None:
            return 1.0
        weights = np.array(self.guess_weights) / np.mean(self.guess_weights)
        return ops.convert_to_tensor(weights, "float32")

    def weigh(self, sample_weight, logits):
        """What each learned guess counts in the loss.

        Args:
            sample_weight: `None`, or `(episodes * guesses,)`, those of an episode
                side by side.
            logits: `(episodes, guesses, classes)`.

        Returns:
            `None`, or float32 tensor of shape `(episodes * guesses,)`.
        """
        if self.guess_weights is None:
            return sample_weight
        weights = ops.broadcast_to(self.guess_shares, ops.shape(logits)[:2])
        weights = ops.reshape(weights, (-1,))
        return weights if sample_weight is None else sample_weight * weights

    def rewards(self, y, logits, guesses):
        """The reward of each guess: `(guesses,)`.

        Args:
            y: Labels, `(guesses,)`, `(guesses, 1)` or one-hot; or sets of classes,
                `(guesses, classes)`.
            logits: `(guesses, classes)`.
            guesses: Classes, `(guesses,)`, or sets, `(guesses, classes)`.
        """
        labels = ops.convert_to_tensor(y)
        if len(labels.shape) == 2 and len(guesses.shape) == 1:
            column = labels.shape[1] == 1
            labels = labels[:, 0] if column else ops.argmax(labels, axis=1)
        labels = ops.cast(labels, "int32")
        if self.reward == "probability":
            return reinforce.probability_reward(labels, logits)
        return reinforce.accuracy_reward(labels, ops.cast(guesses, "int32"))

    def returns(self, rewards, decisions):
        """What each decision is credited with: `(episodes, decisions)`.

        Args:
            rewards: `(episodes, guesses)`, of all guesses that are learned.
            decisions: Int, their number.
        """
        if self.discount == 1:
            return ops.tile(rewards[:, -1:], (1, decisions))
        return reinforce.returns(rewards[:, 1:], self.discount)
