"""How a model looks at images: step after step, up to the last or until it is sure."""

import warnings

import keras
from keras import ops

from keras_ram.core import draw_dropout_masks, reset_dropout_masks
from keras_ram.glimpse_cell import GlimpseCell
from keras_ram.inputs import check_images, is_symbolic, read
from keras_ram.loops import scan
from keras_ram.persistence import Persistent
from keras_ram.sizes import images_and_sizes
from keras_ram.stopping import look_until_sure, stop_when_sure
from keras_ram.validation import check_integer


class Looking(Persistent):
    """The steps of attention, and what the heads make of them."""

    def glimpse_cell(self):
        """One step of attention: a `GlimpseCell` of the parts of this model."""
        return GlimpseCell(
            self.glimpse_sensor,
            self.glimpse_net,
            self.core,
            self.location_sampler,
            self.inhibition_of_return * (self.num_glimpses - 1),
            dtype=self.dtype_policy,
        )

    def __call__(self, images, *args, **kwargs):
        return super().__call__(self._read(images), *args, **kwargs)

    def _read(self, images):
        images = read(images)
        nothing = getattr(images, "shape", ())[:1] == (0,)
        if not (nothing or is_symbolic(images)):
            check_images(images, self.input_spec.axes[-1] if self.built else None)
        return images

    def call(self, images, training=False, return_rollout=False, episodes=1):
        if return_rollout:
            return self._rollout(images, training, episodes)
        if training:
            warnings.warn(
                "RAM was called for training, but not by its own `fit`. Nothing that "
                "follows trains its location network, which learns from rewards. Put "
                "what comes before it, such as scaling and augmentation, into a "
                "`tf.data` pipeline, and compile and fit the RAM itself.",
                stacklevel=2,
            )
        if training or self.stop_confidence is None:
            hidden_states = self._look(images, training)["hidden_state"]
            return self.classifier(hidden_states[:, -1])  # (B, K)
        return self._decide(images)["logits"][:, -1]

    def _look(self, images, training, episodes=1):
        """What the cell found at all glimpses: values `(batch * episodes, T, ...)`."""
        cell = self.glimpse_cell()
        images = cell.prepare(*images_and_sizes(images))
        number, rows = ops.shape(images["images"])[0], None
        if episodes > 1:  # that look at the same image
            rows = ops.repeat(ops.arange(0, number), episodes)
        batch_size = number * episodes
        states = cell.get_initial_state(batch_size, training)
        noise = None
        if training:
            noise = self.location_sampler.noise((self.num_glimpses, batch_size))
            draw_dropout_masks(
                self.core, ops.zeros((batch_size, self.glimpse_net.units)), states[1]
            )
        # In hybrid learning the reward trains the location network alone.
        options = {"training": training, "detach": self.rule.learning == "hybrid"}
        seen = scan(
            lambda states, noise: cell(
                images, states, rows=rows, noise=noise, **options
            ),
            states,
            noise,
            self.num_glimpses,
            # Some layers change their own state at each glimpse: batch
            # normalization, or dropout. JAX lets none change within a loop.
            loop=not (training and self.glimpse_net.backbone),
        )
        reset_dropout_masks(self.core)
        return seen

    def _rollout(self, images, training, episodes):
        seen = self._look(images, training, episodes)
        hidden_states = seen["hidden_state"]  # (B, T, h)
        return {
            "locations": seen["location"],
            # Nobody looks where the last one points.
            "location_means": seen["mean"][:, :-1],
            "location_log_probs": seen["log_prob"][:, :-1],
            "logits": self.classifier(hidden_states),
            # The error of the baseline is not the hidden state's to reduce.
            "baselines": self.baseline(ops.stop_gradient(hidden_states))[..., 0],
        }

    def decide(self, images):
        """Looks at images until a guess is sure, and no longer.

        The same as `rollout` tells, but for the work.

        Args:
            images: As for calling the model.

        Returns:
            A dict of `"logits"`, `"locations"` and `"num_glimpses"`, as in
            `rollout`.

        Example:

        >>> model = keras_ram.RAM(10, num_glimpses=3, stop_confidence=0.01, seed=1)
        >>> found = model.decide(np.zeros((2, 28, 28, 1)))  # sure of anything
        >>> keras.ops.convert_to_numpy(found["num_glimpses"])
        array([1, 1], dtype=int32)
        """
        images = self._read(images)
        self.build_for(images)
        return self._decide(keras.tree.map_structure(ops.convert_to_tensor, images))

    def _decide(self, images):
        cell = self.glimpse_cell()
        images = cell.prepare(*images_and_sizes(images))
        return look_until_sure(
            lambda states, rows: cell(images, states, rows=rows),
            self.classifier,
            cell.get_initial_state(ops.shape(images["images"])[0]),
            self.stop_confidence,
            self.multi_label,
            self.num_glimpses,
            shrink=keras.backend.backend() != "jax" and not self.jit_compile,
        )

    def rollout(self, images, training=False, episodes=1):
        """Looks at images, and tells everything about it.

        Args:
            images: As for calling the model.
            training: Bool. If true, locations are sampled.
            episodes: Int, rollouts of each image. They lie side by side in the batch.

        Returns:
            A dict of float32 tensors, where T is `num_glimpses`:

            - `"locations"`: `(batch, T, 2)`, `(x, y)` in [-1, 1].
            - `"location_means"`: `(batch, T - 1, 2)`, of the policy, for the
              locations that it chose: all but the first.
            - `"location_log_probs"`: `(batch, T - 1)`, of the same.
            - `"logits"`: `(batch, T, num_classes)`, the guess after each
              glimpse.
            - `"baselines"`: `(batch, T)`, the return expected after each
              glimpse, if `compile` chose `baseline="learned"`.
            - `"num_glimpses"`: int32, `(batch,)`. All of them, or with
              `stop_confidence` those up to the first sure guess; locations and
              logits then repeat the last of them.

        Example:

        >>> model = keras_ram.RAM(num_classes=10, num_glimpses=3, seed=1)
        >>> found = model.rollout(np.zeros((2, 28, 28, 1)), episodes=2)
        >>> tuple(found["logits"].shape), tuple(found["location_means"].shape)
        ((4, 3, 10), (4, 2, 2))
        """
        check_integer("episodes", episodes)
        seen = self(images, training=training, return_rollout=True, episodes=episodes)
        confidence = None if training else self.stop_confidence
        return stop_when_sure(seen, confidence, self.multi_label)
