"""What a decision in Catch is credited with: the reward, cleared of luck.

REINFORCE credits a decision with the reward less a baseline: here, what the state of
the game was worth. The two differ by what happened in between, frame by frame. The
policy may be better in a state than it usually is there: a gain. And the action drawn
from it may be one of the better ones: luck. The luck of draws after a decision says
nothing of it, and is zero in the mean, whatever the worth that it is measured by. So it
is left out: the gradient stays that of the expected reward, with far less noise.

This needs the worth of the states that the other actions would have led to. The player
sees nothing of it: it is there in training alone. With it an action needs no draw to be
credited: each is weighed with the worth of what it leads to. The agent learns the
logarithm of that mean, whose gradient is no longer that of the expected reward.
"""

import catch_game
import keras
from keras import ops


class Prospects(keras.layers.Layer):
    """What a game is worth: the share caught, by frame and by how far there is to go.

    A table, learned with the agent. How far is counted in columns, from the paddle to
    where the ball lands.

    Args:
        rules: `"A"` or `"B"`. See `catch_game`.

    Call arguments:
        states: Of whole games, to the end, `(games, 24, 3)`.

    Returns:
        The worth of each state, `(games, 24)`, and of what each action but the last
        frame's would have led to, `(games, 23, 3)`, without gradient.
    """

    STEP = 10  # how much faster than other weights the table is learned

    def __init__(self, rules, **kwargs):
        super().__init__(**kwargs)
        self.rules = rules

    def build(self, states_shape):
        columns = 2 * catch_game.SIZE
        self.table = self.add_weight((states_shape[1] * columns,), "zeros")

    def call(self, states):
        lands, paddles = states[:, -1:, :1], states[..., 2:]  # (B, 1, 1), (B, T + 1, 1)
        actions = ops.arange(0, 3, dtype="float32")
        after = catch_game.moved(ops, paddles[:, :-1], actions)  # (B, T, 3)
        frames = ops.arange(0, paddles.shape[1])[:, None]
        values = self.worth(lands, paddles, frames)[..., 0]
        return values, ops.stop_gradient(self.worth(lands, after, frames[1:]))

    def worth(self, lands, paddles, frames):
        columns = ops.floor(catch_game.distance(self.rules, ops, lands, paddles))
        columns = ops.cast(columns, "int32") + catch_game.SIZE - 1  # from 0
        rows = 2 * catch_game.SIZE * ops.cast(frames, "int32")
        return self.STEP * ops.take(self.table, rows + columns)


def credits(values, expected, rewards):
    """What comes after a frame, which is what its location is credited with.

    It is looked at in the next frame, and how the policy acts there depends on it.

    Args:
        values: The worth of each state, `(games, frames + 1)`.
        expected: The worth of what the policy leads to, over its actions, `(games,
            frames)`.
        rewards: At the end of each game, `(games,)`.

    Returns:
        The sum of the gains of all later frames, `(games, frames)`. Without gradient.
    """
    gains = [expected[:, 1:] - values[:, 1:-1], (rewards - values[:, -1])[:, None]]
    gains = ops.flip(ops.concatenate(gains, axis=1), axis=1)
    return ops.stop_gradient(ops.flip(ops.cumsum(gains, axis=1), axis=1))
