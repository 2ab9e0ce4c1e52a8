"""Catch, the game of section 4.2 of Mnih et al., 2014, for Gymnasium.

A ball falls on a screen of 24x24 binary pixels, one row a frame, and bounces off the
sides. A paddle of two pixels on the last row moves left, stays or moves right. After
23 frames the ball is on the paddle's row: the reward is 1 if it is caught, else 0.

The paper leaves open how the ball starts and bounces. Two public definitions:

- A: the ball starts in any column, at an angle of up to 45 degrees, and turns round
  when it has left the screen, at whose edge it is drawn. The paddle starts anywhere.
  Caught is a ball drawn on one of the paddle's two pixels. After `catch.py` of
  github.com/samrudhdhirangrej/Recurrent-Model-of-Visual-Attention.
- B: the ball starts in any column and moves by up to 1/3 of a column a frame; the
  paddle starts in the middle. Caught is a ball between the paddle's two columns, not
  rounded, which is drawn on its left pixel. After `Catch.lua` of
  github.com/Kaixhin/rlenvs. Even who sees all pixels catches 94.6% at the most: some
  balls look alike until the last frame.

The rules are pure functions on arrays, of NumPy or of Keras, as `xp` says: so the same
game is a Gymnasium environment and a part of a compiled training step. The state of a
batch of games is `(games, 3)`: the column of the ball, by how much it changes a frame,
and the left column of the paddle.
"""

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

SIZE = 24
FRAMES = SIZE - 1  # of a game, each followed by an action
RULES = ("A", "B")
OBSERVATION = spaces.Box(0, 1, (SIZE, SIZE, 1), np.uint8)
ACTION = spaces.Discrete(3)  # left, stay, right


def begin(rules, rng, games):
    """How games begin: float32 of shape `(games, 3)`, drawn from a NumPy generator."""
    ball = rng.integers(SIZE, size=games)
    if rules == "A":
        angle = rng.uniform(np.pi / 4, 3 * np.pi / 4, games)
        speed = np.cos(angle) / np.cos(np.pi / 4)
        paddle = rng.integers(SIZE - 1, size=games)
    else:
        speed = rng.uniform(-1 / 3, 1 / 3, games)
        paddle = np.full(games, SIZE // 2 - 1)
    return np.stack([ball, speed, paddle], axis=1).astype("float32")


def transition(rules, xp, state, action):
    """The state after one frame. Actions are 0 (left), 1 (stay) or 2 (right)."""
    ball, speed, paddle = state[:, 0], state[:, 1], state[:, 2]
    paddle = moved(xp, paddle, action)
    ball = ball + speed
    if rules == "A":
        turns = (ball < 0) | (ball >= SIZE)
    else:
        left, right = (ball < 1) & (speed < 0), ball >= SIZE - 1
        turns = left | right
        ball = xp.where(left, 2 / 3, xp.where(right, SIZE - 1, ball))
    return xp.stack([ball, xp.where(turns, -speed, speed), paddle], axis=1)


def moved(xp, paddle, action):
    """The paddle's left column after an action."""
    return xp.clip(paddle + action - 1, 0, SIZE - 2)


def turns_in_the_end(rules, state):
    """Whether a ball's column changes with the last step: bools, `(games,)`.

    Args:
        rules: `"A"` or `"B"`.
        state: How games begin, a NumPy array.
    """
    for _ in range(FRAMES):
        before, state = state, transition(rules, np, state, 1)
    return _pixel(np, before[:, 0]) != _pixel(np, state[:, 0])


def observation(xp, state, row):
    """What the screen shows with the ball in a row: bools, `(games, 24, 24, 1)`."""
    ball, paddle = _pixel(xp, state[:, 0])[:, None, None], state[:, 2][:, None, None]
    columns = xp.arange(0, SIZE, dtype="float32")
    rows = columns[:, None]
    ball = (columns == ball) & (rows == row)
    paddle = (columns >= paddle) & (columns <= paddle + 1) & (rows == SIZE - 1)
    return (ball | paddle)[..., None]


def distance(rules, xp, ball, paddle):
    """By how many columns the ball is right of the paddle's left one."""
    return (_pixel(xp, ball) if rules == "A" else ball) - paddle


def caught(rules, xp, state):
    """Whether the ball is caught, at the end of a game: bools, `(games,)`."""
    columns = distance(rules, xp, state[:, 0], state[:, 2])
    return (columns >= 0) & (columns <= 1)


def _pixel(xp, ball):
    return xp.clip(xp.floor(ball), 0, SIZE - 1)


class CatchVector(VectorEnv):
    """A batch of games at once, which begin and end together.

    Args:
        num_envs: Int, the number of games.
        rules: `"A"` or `"B"`.

    Observations are uint8 of shape `(num_envs, 24, 24, 1)`, 0 or 1. Actions are ints of
    shape `(num_envs,)`: 0 (left), 1 (stay) or 2 (right). The step after the end of the
    games begins new ones.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}

    def __init__(self, num_envs=1, rules="A"):
        if rules not in RULES:
            raise ValueError(
                f"`rules` must be one of {RULES}. Received: rules={rules!r}"
            )
        self.num_envs = num_envs
        self.rules = rules
        self.single_observation_space, self.single_action_space = OBSERVATION, ACTION
        self.observation_space = batch_space(OBSERVATION, num_envs)
        self.action_space = batch_space(ACTION, num_envs)
        self.row = FRAMES

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = begin(self.rules, self.np_random, self.num_envs)
        self.row = 0
        return self._observe(), {}

    def step(self, actions):
        rewards = np.zeros(self.num_envs)
        if self.row == FRAMES:
            observations, _ = self.reset()
        else:
            self.state = transition(self.rules, np, self.state, np.asarray(actions))
            self.state = self.state.astype("float32")
            self.row += 1
            observations = self._observe()
            if self.row == FRAMES:
                rewards += caught(self.rules, np, self.state)
        ends = np.full(self.num_envs, self.row == FRAMES)
        return observations, rewards, ends, np.zeros_like(ends), {}

    def _observe(self):
        return observation(np, self.state, self.row).astype("uint8")


class Catch(gymnasium.Env):
    """One game. See `CatchVector`, without its first axis.

    Args:
        rules: `"A"` or `"B"`.
        render_mode: `None`, or `"rgb_array"`, the screen in black and white.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}
    observation_space, action_space = OBSERVATION, ACTION

    def __init__(self, rules="A", render_mode=None):
        self.games = CatchVector(1, rules)
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.games.np_random = self.np_random
        observations, info = self.games.reset()
        return observations[0], info

    def step(self, action):
        observations, rewards, ends, truncations, info = self.games.step([action])
        return (
            observations[0],
            float(rewards[0]),
            bool(ends[0]),
            bool(truncations[0]),
            info,
        )

    def render(self):
        if self.render_mode is None:
            return None
        screen = observation(np, self.games.state, self.games.row)[0]
        return np.repeat(255 * screen.astype("uint8"), 3, axis=-1)


gymnasium.register(
    "keras_ram/Catch-v0", entry_point=Catch, vector_entry_point=CatchVector
)
