"""The learning rule that `compile` chose."""

import dataclasses

from keras import ops

from keras_ram import reinforce
from keras_ram.validation import check_choice, check_integer, check_share

LEARNING = ("hybrid", "joint", "reinforce")
REWARDS = ("accuracy", "probability")
BASELINES = ("learned", "mean", "leave_one_out", None)


@dataclasses.dataclass(frozen=True)
class LearningRule:
    """What a model learns from. `RAM.compile` describes the options.

    Raises:
        ValueError: If an option is unknown, or does not go with another.
    """

    learning: str = "hybrid"
    reward: str = "accuracy"
    baseline: str | None = "learned"
    episodes: int = 1
    discount: float = 1.0

    def __post_init__(self):
        check_choice("learning", self.learning, LEARNING)
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
