"""The player of Catch: an eye, a memory and a policy, one frame after the other."""

import catch_game
import keras
import numpy as np
from keras import ops

import keras_ram

WITHIN = 0.5  # of the screen: there the patch of 12x12 pixels is on it
REACH = 1.0  # how far the next location can be, and the eye goes from -1 to 1


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
        Side by side, `(games, 36 * scales + 8)`, the cells that it saw, where it looked
        and will look next, how the game was, and what it does. Then the new states.
    """

    def __init__(self, rules, scales, units, stddev, seed, **kwargs):
        super().__init__(**kwargs)
        self.rules = rules
        self.glimpse_sensor = keras_ram.GlimpseSensor(6, scales)
        self.glimpse_net = keras_ram.GlimpseNet(units, units, units // 2)
        self.core = keras.layers.LSTMCell(units)
        self.pixel = 2 / catch_game.SIZE
        self.location_sampler = keras_ram.LocationSampler(
            stddev,
            initial_location="center",
            step=self.pixel / WITHIN,
            seed=seed,
            relative=True,
        )
        self.policy = keras.layers.Dense(3)
        self.parts = [36 * len(scales), 2, 2, 3, 1]  # of what a call returns
        self.output_size = sum(self.parts)
        self.state_size = [3, 1, 2, units, units]
        # A cell's mean times its area: a pixel is as bright at every scale.
        self.areas = np.square(self.glimpse_sensor.scales)[:, None, None, None]

    def build(self, noise_shape):
        screens = (None, *catch_game.OBSERVATION.shape)
        self.glimpse_sensor.build(screens, (None, 2))
        self.patches = self.glimpse_sensor.compute_output_shape(screens, (None, 2))
        self.glimpse_net.build(self.patches, (None, 2))
        self.core.build((None, self.glimpse_net.units))
        self.location_sampler.build((None, self.core.units))
        self.policy.build((None, self.core.units))
        # At first it looks near the centre, and all actions are about as likely.
        for layer in (self.location_sampler.mean, self.policy):
            layer.kernel.assign(0.1 * layer.kernel)

    def places(self, locations):
        """Where on the screen the eye looks.

        It moves by whole pixels, half a pixel beside them. So of two columns side by
        side the ball in one lights two cells of two pixels, in the other one cell: the
        mean place of the light is the column.
        """
        return WITHIN * locations + self.pixel / 2

    def look(self, screens, locations, memory):
        """One glimpse: its cells, the hidden state, and the states of the core."""
        patches = self.glimpse_sensor(screens, self.places(locations))
        patches = ops.multiply(patches, self.areas)
        return patches, *self.core(self.glimpse_net(patches, locations), memory)

    def point(self, hidden, noise, looked):
        """Where to look next, from where it looked now."""
        return self.location_sampler(
            hidden, training=True, noise=noise[..., :2], origin=looked, reach=REACH
        )

    def decide(self, hidden, noise, looked):
        """Where to look next, and what to do."""
        look = self.point(hidden, noise, looked)
        actions = ops.argmax(self.policy(hidden) + noise[:, 2:], axis=-1)
        return look["location"], ops.cast(actions, "float32")

    def call(self, noise, states):
        games, row, looked, *memory = states
        screens = catch_game.observation(ops, games, row[:, :, None])
        screens = ops.cast(screens, "float32")
        patches, hidden, memory = self.look(screens, looked, memory)
        locations, actions = self.decide(hidden, noise, looked)
        patches = ops.reshape(patches, (-1, self.parts[0]))
        output = [patches, looked, locations, games, actions[:, None]]
        games = catch_game.transition(self.rules, ops, games, actions)
        return ops.concatenate(output, axis=1), [games, row + 1, locations, *memory]
