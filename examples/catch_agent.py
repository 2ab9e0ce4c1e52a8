"""An agent that sees Catch through glimpses, and learns to play it with REINFORCE."""

import catch_game
import keras
import numpy as np
from catch_credit import Prospects, credits
from catch_player import Player
from keras import ops

from keras_ram import reinforce
from keras_ram.validation import check_choice

EPSILON = 0.05  # what counts beside a chance whose logarithm is taken


@keras.saving.register_keras_serializable("keras_ram")
class Agent(keras.Model):
    """Plays whole games, and learns from whether it caught the ball.

    The core sees a glimpse of each frame. One policy then decides where to look next (a
    Gaussian around a place in reach) and what to do (a softmax). REINFORCE credits the
    locations with the reward, cleared of luck: see `catch_credit`. All actions of a
    frame are weighed with the worth of what they lead to, and its expectation counts by
    its logarithm, so that a policy that is certain and wrong still hears of it.

    Args:
        rules: `"A"` or `"B"`. See `catch_game`.
        scales: The resolutions of the retina of 6x6 cells. See `GlimpseSensor`.
        units: Int, size of the core, the glimpse vector and what goes into it.
        stddev: Float, how far the policy explores, where the eye's way is 2 wide.
        entropy_weight: Float. What the entropy of the actions is worth in training.
        learning: `"expected"`, as told above, or `"reinforce"`: actions as they were
            drawn, credited with the reward, cleared of luck, as locations are. What
            that comes to in the mean is weighed as by the logarithm.
        seed: Int, for what the policy draws.

    Call arguments:
        games: How they begin, as from `catch_game.begin`, `(games, 3)`.
        training: Bool. If false, the player is greedy.

    Returns:
        A dict: `"caught"` `(games,)`, 0 or 1; the games' `"states"`, `(games, 24, 3)`;
        of each of the 23 frames what was decided, `"locations"` and `"actions"`, and
        the policy that it was drawn from, `"means"`, the locations' `"log_probs"`, and
        `"logits"`.
    """

    def __init__(
        self,
        rules="A",
        scales=(1, 2, 4),
        units=64,
        stddev=0.2,
        entropy_weight=0.01,
        learning="expected",
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_choice("learning", learning, ("expected", "reinforce"))
        self.player = Player(rules, scales, units, stddev, seed)
        self.match = keras.layers.RNN(
            self.player, return_sequences=True, return_state=True
        )
        self.memory = keras.layers.RNN(self.player.core, return_sequences=True)
        self.prospects = Prospects(rules)
        self.settings = {
            "stddev": stddev,
            "entropy_weight": entropy_weight,
            "learning": learning,
        }
        self.stddev = self.add_weight(trainable=False)
        self.entropy_weight = self.add_weight(trainable=False)
        self.caught_tracker = keras.metrics.Mean(name="caught")
        self.entropy_tracker = keras.metrics.Mean(name="entropy")

    def build(self, games_shape):
        self.match.build((None, catch_game.FRAMES, 5))
        self.memory.build((None, None, self.player.glimpse_net.units))
        self.prospects.build((None, catch_game.FRAMES + 1, 3))
        self.explore(1)

    def explore(self, share):
        """Explores by this share of what the arguments say, from now on."""
        stddev = share * self.settings["stddev"]
        self.player.location_sampler.stddev = stddev
        self.stddev.assign(stddev)
        self.entropy_weight.assign(share * self.settings["entropy_weight"])

    def call(self, games, training=False):
        player, count = self.player, ops.shape(games)[0]
        noise = ops.zeros((count, catch_game.FRAMES, 5))
        if training:
            noise = self.noise(count)
        # The row, the core and, at the centre, the first location begin with zeros.
        states = [games, *(ops.zeros((count, n)) for n in player.state_size[1:])]
        output, end, *_ = self.match(noise, initial_state=states)
        # Played. Now it is remembered, with gradients: the glimpses of all frames at
        # once, which is faster than a gradient through the loop above.
        output = ops.stop_gradient(output)
        parts = ops.split(output, np.cumsum(player.parts)[:-1].tolist(), axis=-1)
        patches, looked, locations, states, actions = parts
        patches = ops.reshape(patches, (-1, *player.patches[1:]))
        glimpses = player.glimpse_net(patches, ops.reshape(looked, (-1, 2)))
        frames = (-1, catch_game.FRAMES, player.glimpse_net.units)
        hidden = self.memory(ops.reshape(glimpses, frames))  # (B, T, units)
        look = player.point(hidden, noise, looked)
        return {
            "locations": locations,
            "means": look["mean"],
            "log_probs": look["log_prob"],
            "actions": ops.cast(actions[..., 0], "int32"),
            "logits": player.policy(hidden),
            "states": ops.concatenate([states, end[:, None]], axis=1),
            "caught": ops.cast(catch_game.caught(player.rules, ops, end), "float32"),
        }

    def noise(self, count):
        """What makes draws of the policy's best: `(count, 23, 5)`."""
        seed = self.player.location_sampler.seed_generator  # saved with the weights
        shape = (count, catch_game.FRAMES)
        gaussian = keras.random.normal((*shape, 2), seed=seed)
        # The largest of logits with Gumbel's noise is a draw from their softmax.
        uniform = keras.random.uniform((*shape, 3), 1e-7, 1 - 1e-7, seed=seed)
        return ops.concatenate([gaussian, -ops.log(-ops.log(uniform))], axis=-1)

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        rewards = y_pred["caught"]
        log_probs = ops.log_softmax(y_pred["logits"])
        chances = ops.exp(log_probs)
        entropy = -ops.sum(chances * log_probs, axis=-1)  # (B, T)
        values, options = self.prospects(y_pred["states"])
        # The table has seen few games at first, and may say less than nothing.
        options = ops.clip(options, 0.0, 1.0)
        expected = ops.sum(chances * options, axis=-1)
        later = credits(values, expected, rewards)
        returns = ops.concatenate([expected + later, rewards[:, None]], axis=1)
        if self.settings["learning"] == "reinforce":
            drawn = ops.one_hot(y_pred["actions"], 3)
            gains = ops.sum(drawn * options, axis=-1) - expected + later
            action_losses = reinforce.reinforce_loss(
                ops.sum(drawn * log_probs, axis=-1), gains / (expected + EPSILON)
            )
        else:
            action_losses = -ops.sum(ops.log(expected + EPSILON), axis=1)
        # Nobody looks where the last frame says. A step of a location is 1/stddev times
        # as loud as one of an action, and the core would hear little else.
        location_log_probs = self.stddev * y_pred["log_probs"][:, :-1]
        returns = returns + ops.zeros_like(values)
        loss = (
            reinforce.reinforce_loss(location_log_probs, later[:, :-1])
            + action_losses
            - self.entropy_weight * ops.sum(entropy, axis=1)
        ) / catch_game.FRAMES + reinforce.baseline_loss(returns, values)
        self.caught_tracker.update_state(rewards)
        self.entropy_tracker.update_state(entropy)
        return ops.mean(loss)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return self.get_metrics_result()

    def get_config(self):
        player = self.player
        config = {
            "rules": player.rules,
            "scales": player.glimpse_sensor.scales,
            "units": player.core.units,
            **self.settings,
            "seed": player.location_sampler.seed,
        }
        return {**super().get_config(), **config}

    def play(self, games, seed=None):
        """Plays a `VectorEnv`'s games greedily, from what it shows alone.

        Returns:
            Screens and places of all frames, `(games, 24, ...)`, the last after the
            end, and rewards, `(games,)`. A place is where a glimpse was, `(x, y)`, in
            [-1, 1].
        """
        player, count = self.player, games.num_envs
        screens, _ = games.reset(seed=seed)
        locations = player.location_sampler.first(count)
        memory, noise = player.core.get_initial_state(count), ops.zeros((count, 5))
        seen = [(screens, locations)]
        for _ in range(catch_game.FRAMES):
            screens = ops.cast(screens, "float32")
            _, hidden, memory = player.look(screens, locations, memory)
            locations, actions = player.decide(hidden, noise, locations)
            actions = ops.convert_to_numpy(actions).astype(int)
            screens, rewards, *_ = games.step(actions)
            seen.append((screens, locations))
        screens, locations = zip(*seen, strict=True)
        places = player.places(ops.stack(locations, axis=1))
        return np.stack(screens, axis=1), ops.convert_to_numpy(places), rewards
