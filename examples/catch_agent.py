"""An agent that sees Catch through glimpses, and learns to play it with REINFORCE."""

import catch_game
import keras
import numpy as np
from keras import ops

import keras_ram
from keras_ram import reinforce


class Player(keras.layers.Layer):
    """Looks, decides and moves, once a frame: an RNN cell that holds the game as well.

    So a batch of whole games is one `keras.layers.RNN`, compiled as one loop.

    Args:
        rules, scales, units, stddev, seed: See `Agent`.

    Call arguments:
        noise: Tensor of shape `(games, 5)`, added to where the policy would look (2)
            and to the logits of what it would do (3). Zeros make a greedy player.
        states: List of the games `(games, 3)`, the ball's row `(games, 1)`, where to
            look `(games, 2)`, and the two states of the core, `(games, units)`.

    Returns:
        Side by side, `(games, units + 3)`, the hidden state, where to look next and
        what to do. Then the new states.
    """

    def __init__(self, rules, scales, units, stddev, seed, **kwargs):
        super().__init__(**kwargs)
        self.rules = rules
        self.state_size = [3, 1, 2, units, units]
        self.output_size = units + 3
        self.glimpse_sensor = keras_ram.GlimpseSensor(6, scales)
        self.glimpse_net = keras_ram.GlimpseNet(units, units, units // 2)
        self.core = keras.layers.LSTMCell(units)
        self.location_sampler = keras_ram.LocationSampler(
            stddev, initial_location="center", seed=seed
        )
        self.stddev = stddev
        self.policy = keras.layers.Dense(3)
        # A cell's mean times its area: a pixel is as bright at every scale.
        self.areas = np.square(self.glimpse_sensor.scales)[:, None, None, None]

    def build(self, noise_shape):
        screens = (None, *catch_game.OBSERVATION.shape)
        self.glimpse_sensor.build(screens, (None, 2))
        patches = self.glimpse_sensor.compute_output_shape(screens, (None, 2))
        self.glimpse_net.build(patches, (None, 2))
        self.core.build((None, self.glimpse_net.units))
        self.location_sampler.build((None, self.core.units))
        self.policy.build((None, self.core.units))

    def look(self, screens, locations, memory):
        """One glimpse: the hidden state, and the states of the core."""
        locations = ops.clip(locations, -1, 1)
        patches = self.glimpse_sensor(screens, locations)
        patches = ops.multiply(patches, self.areas)
        return self.core(self.glimpse_net(patches, locations), memory)

    def decide(self, hidden, noise):
        """Where to look next, and what to do. What is drawn carries no gradient."""
        stddev = self.stddev
        locations = self.location_sampler(hidden)["mean"] + stddev * noise[:, :2]
        actions = ops.argmax(self.policy(hidden) + noise[:, 2:], axis=-1)
        return ops.stop_gradient(locations), ops.cast(actions, "float32")

    def call(self, noise, states):
        games, row, locations, *memory = states
        screens = catch_game.observation(ops, games, row[:, :, None])
        hidden, memory = self.look(ops.cast(screens, "float32"), locations, memory)
        locations, actions = self.decide(hidden, noise)
        games = catch_game.transition(self.rules, ops, games, actions)
        output = ops.concatenate([hidden, locations, actions[:, None]], axis=1)
        return output, [games, row + 1, locations, *memory]


@keras.saving.register_keras_serializable("keras_ram")
class Agent(keras.Model):
    """Plays whole games, and follows the gradient of the share that it catches.

    The core sees a glimpse of each frame. One policy then decides where to look next (a
    Gaussian) and what to do (a softmax). REINFORCE credits all decisions of a game with
    its reward, less what the baseline had expected.

    Args:
        rules: `"A"` or `"B"`. See `catch_game`.
        scales: The resolutions of the retina of 6x6 cells. See `GlimpseSensor`.
        units: Int, size of the core, the glimpse vector and what goes into it.
        stddev: Float, how far the policy explores; the screen is 2 wide.
        entropy_weight: Float. What the entropy of the actions is worth in training.
        seed: Int, for what the policy draws.

    Call arguments:
        games: How they begin, as from `catch_game.begin`, `(games, 3)`.
        training: Bool. If false, the player is greedy.

    Returns:
        A dict: `"caught"` `(games,)`, 0 or 1, and of each of the 23 frames what was
        decided, `"locations"` and `"actions"`, the policy that it was drawn from,
        `"means"` and `"logits"`, and the return that was expected, `"baselines"`.
    """

    def __init__(
        self,
        rules="A",
        scales=(1, 2, 4),
        units=64,
        stddev=0.1,
        entropy_weight=0.02,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.entropy_weight = entropy_weight
        self.player = Player(rules, scales, units, stddev, seed)
        self.match = keras.layers.RNN(
            self.player, return_sequences=True, return_state=True
        )
        self.baseline = keras.layers.Dense(1)
        self.caught_tracker = keras.metrics.Mean(name="caught")
        self.entropy_tracker = keras.metrics.Mean(name="entropy")

    def build(self, games_shape):
        self.match.build((None, catch_game.FRAMES, 5))
        self.baseline.build((None, None, self.player.core.units))

    def call(self, games, training=False):
        player, count = self.player, ops.shape(games)[0]
        noise = ops.zeros((count, catch_game.FRAMES, 5))
        if training:
            noise = self.noise(count)
        # The row, the core and, at the centre, the first location begin with zeros.
        states = [games, *(ops.zeros((count, n)) for n in player.state_size[1:])]
        output, games, *_ = self.match(noise, initial_state=states)
        units = player.core.units
        hidden = output[..., :units]  # (B, T, units)
        return {
            "locations": output[..., units : units + 2],
            "actions": ops.cast(output[..., -1], "int32"),
            # The gradient of where to look is far noisier than that of what to do: it
            # trains the location network alone.
            "means": player.location_sampler(ops.stop_gradient(hidden))["mean"],
            "logits": player.policy(hidden),
            "baselines": self.baseline(hidden)[..., 0],
            "caught": ops.cast(catch_game.caught(player.rules, ops, games), "float32"),
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
        rewards, baselines = y_pred["caught"], y_pred["baselines"]
        returns = ops.repeat(rewards[:, None], catch_game.FRAMES, axis=1)
        advantages = reinforce.advantages(returns, baselines)
        log_probs = ops.log_softmax(y_pred["logits"])
        chosen = ops.one_hot(y_pred["actions"], log_probs.shape[-1])
        action_log_probs = ops.sum(log_probs * chosen, axis=-1)
        entropy = -ops.sum(ops.exp(log_probs) * log_probs, axis=-1)  # (B, T)
        stddev = self.player.stddev
        errors = (y_pred["locations"] - y_pred["means"]) / stddev
        # But for a constant. Nobody looks where the last frame says.
        location_log_probs = -ops.sum(ops.square(errors), axis=-1)[:, :-1] / 2
        loss = (
            reinforce.reinforce_loss(action_log_probs, advantages)
            + reinforce.reinforce_loss(location_log_probs, advantages[:, :-1])
            - self.entropy_weight * ops.sum(entropy, axis=1)
        ) / catch_game.FRAMES + reinforce.baseline_loss(returns, baselines)
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
            "stddev": player.stddev,
            "entropy_weight": self.entropy_weight,
            "seed": player.location_sampler.seed,
        }
        return {**super().get_config(), **config}

    def play(self, games, seed=None):
        """Plays a `VectorEnv`'s games greedily, from what it shows alone.

        Returns:
            Screens and locations of all frames, `(games, 24, ...)`, the last after the
            end, and rewards, `(games,)`.
        """
        player, count = self.player, games.num_envs
        screens, _ = games.reset(seed=seed)
        locations = player.location_sampler.first(count)
        memory, noise = player.core.get_initial_state(count), ops.zeros((count, 5))
        seen = [(screens, locations)]
        for _ in range(catch_game.FRAMES):
            screens = ops.cast(screens, "float32")
            hidden, memory = player.look(screens, locations, memory)
            locations, actions = player.decide(hidden, noise)
            actions = ops.convert_to_numpy(actions).astype(int)
            screens, rewards, *_ = games.step(actions)
            seen.append((screens, locations))
        screens, locations = zip(*seen, strict=True)
        locations = [ops.convert_to_numpy(location) for location in locations]
        return np.stack(screens, axis=1), np.stack(locations, axis=1), rewards


class Games(keras.utils.PyDataset):
    """How games begin, in batches: new ones in each epoch, the same for one seed.

    Args:
        rules: `"A"` or `"B"`.
        games: Int, games in a batch.
        batches: Int, batches in an epoch.
        seed: Int.
    """

    def __init__(self, rules, games, batches, seed):
        super().__init__()
        self.rules, self.games, self.batches, self.seed = rules, games, batches, seed
        self.epoch = 0  # to be set when one begins

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        return (catch_game.begin(self.rules, rng, self.games),)
