"""What training is on every backend: the objective and the logs."""

import keras
from keras import ops

from keras_ram import reinforce
from keras_ram.guesses import best_guess, draw_guess
from keras_ram.trainers.compiling import CompiledModel


class BaseTrainer(CompiledModel):
    """Adds REINFORCE to `keras.Model`.

    A backend's trainer adds a `train_step` that follows the gradient of
    `compute_objective`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.reward_tracker = keras.metrics.Mean(name="reward")
        self.reinforce_tracker = keras.metrics.Mean(name="reinforce_loss")
        self.baseline_tracker = keras.metrics.Mean(name="baseline_loss")
        self.glimpses_tracker = keras.metrics.Mean(name="num_glimpses")
        # Always there, so that one `.keras` file suits every `compile`.
        self.mean_reward = self.add_weight(
            shape=(),
            initializer="zeros",
            trainable=False,
            dtype="float32",
            aggregation="mean",
            name="mean_reward",
        )

    @property
    def replicas(self):
        return 1

    def compute_objective(self, x, y, sample_weight=None):
        """Rolls out the episodes of a batch.

        Args:
            x: Images, `(batch, height, width, channels)`, or a dict of images and
                sizes.
            y: Labels, `(batch,)`, or one-hot or sets, `(batch, classes)`.
            sample_weight: `None` or `(batch,)`.

        Returns:
            Tuple of the scalar whose gradient is to be followed, and the logs.
        """
        if y is None:
            raise ValueError("RAM learns from labels. Received: y=None")
        episodes = self.rule.episodes
        y = _repeat(y, episodes)
        if sample_weight is not None:
            sample_weight = _repeat(sample_weight, episodes)
            sample_weight = ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        rollout = self.rollout(x, training=True, episodes=episodes)
        losses, rewards = self._apply_rule(x, y, rollout, sample_weight)
        logits = rollout["logits"][:, -1]
        logs = self._log(x, y, logits, sample_weight, rewards[:, -1], losses)

        classification_loss, reinforce_losses, baseline_losses = losses
        episode_losses = reinforce_losses + baseline_losses
        if sample_weight is not None:
            episode_losses = episode_losses * sample_weight
        # Keras's own loss is in its `floatx`, and divided by the number of replicas.
        objective = ops.cast(classification_loss, "float32")
        objective += _mean(episode_losses) / self.replicas
        return objective, logs

    def compute_evaluation(self, x, y, sample_weight=None):
        """The logs of a batch that is only looked at. Arguments as for training."""
        if self.stop_confidence is None:
            logits = self(x, training=False)
        else:
            seen = self.decide(x)
            logits = seen["logits"][:, -1]
            self.glimpses_tracker.update_state(seen["num_glimpses"])
        loss = self.compute_loss(x, y, logits, sample_weight, training=False)
        self._loss_tracker.update_state(
            loss * self.replicas, sample_weight=ops.shape(logits)[0]
        )
        return self.compute_metrics(x, y, logits, sample_weight)

    def _apply_rule(self, x, y, rollout, sample_weight):
        """The losses of guess, locations and baseline, and the rewards.

        Guesses are learned after the last glimpse, or after each of them.
        """
        guesses = self.rule.learned_guesses(self.num_glimpses)
        logits = rollout["logits"][:, -guesses:]  # (B, guesses, K)
        y = _repeat(y, guesses)
        if sample_weight is not None:
            sample_weight = _repeat(sample_weight, guesses)
        sample_weight = self.rule.weigh(sample_weight, logits)
        logits = ops.reshape(logits, (-1, self.num_classes))
        log_probs = rollout["location_log_probs"]
        if self.rule.learning == "reinforce":
            labels = draw_guess(
                logits, self.multi_label, self.location_sampler.seed_generator
            )
            label_log_probs = reinforce.label_log_probs(labels, logits)
            logits, log_probs = reinforce.reinforce_rule(
                logits, log_probs, label_log_probs
            )
        else:
            labels = best_guess(logits, self.multi_label)
        known, _ = self._known_classes(y)
        rewards = ops.reshape(self.rule.rewards(known, logits, labels), (-1, guesses))
        returns = self.rule.returns(rewards, decisions=log_probs.shape[1])
        baselines = self._baselines(rollout["baselines"], rewards[:, -1], returns)
        advantages = reinforce.advantages(returns, baselines)
        losses = (
            self.compute_loss(x, y, logits, sample_weight),
            reinforce.reinforce_loss(log_probs, advantages),
            reinforce.baseline_loss(returns, baselines),
        )
        return losses, rewards

    def _log(self, x, y, logits, sample_weight, rewards, losses):
        classification_loss, reinforce_losses, baseline_losses = losses
        self._loss_tracker.update_state(
            classification_loss * self.replicas, sample_weight=ops.shape(rewards)[0]
        )
        self.reward_tracker.update_state(rewards)
        self.reinforce_tracker.update_state(reinforce_losses, sample_weight)
        self.baseline_tracker.update_state(baseline_losses, sample_weight)
        logs = self.compute_metrics(x, y, logits, sample_weight)
        logs.pop(self.glimpses_tracker.name, None)  # all are taken in training
        for tracker in (self.reinforce_tracker, self.baseline_tracker):
            logs[tracker.name] = tracker.result()
        return logs

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        # A backend may learn from a label that there is not, or fail in its own way.
        # NaN stops `fit`, and this one carries no gradient.
        y, known = self._known_classes(y)
        if not training:
            rewards = self.rule.rewards(y, y_pred, best_guess(y_pred, self.multi_label))
            self.reward_tracker.update_state(rewards)
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        return ops.where(known, loss, float("nan"))

    def _known_classes(self, y):
        """Labels within the range, and whether all of them were."""
        y = ops.convert_to_tensor(y)
        if keras.backend.standardize_dtype(y.dtype) == "bool":
            y = ops.cast(y, "int32")
        if self.multi_label:
            return y, ops.all(ops.logical_or(y == 0, y == 1))
        if len(y.shape) == 2 and y.shape[1] != 1:
            return y, True  # one-hot
        last = self.num_classes - 1
        return ops.clip(y, 0, last), ops.all(ops.logical_and(y >= 0, y <= last))

    def get_metrics_result(self):
        # Nothing is sampled in evaluation, so these two have no value there.
        # `_log` adds them in training.
        logs = super().get_metrics_result()
        for tracker in (self.reinforce_tracker, self.baseline_tracker):
            logs.pop(tracker.name)
        if self.stop_confidence is None:
            logs.pop(self.glimpses_tracker.name)
        return logs

    def _baselines(self, learned, rewards, returns):
        """The return expected at each decision: `(episodes, decisions)`."""
        if self.rule.baseline == "learned":
            return learned[:, : returns.shape[1]]
        if self.rule.baseline == "leave_one_out":
            return reinforce.leave_one_out_baseline(returns, self.rule.episodes)
        baselines = ops.zeros_like(returns)
        if self.rule.baseline == "mean":
            baselines += self.mean_reward
            # The baseline may not depend on the rewards that it is held against.
            momentum = 0.9
            self.mean_reward.assign(
                momentum * self.mean_reward + (1 - momentum) * _mean(rewards)
            )
        return baselines


def _repeat(values, times):
    """Each element so many times, side by side: `(batch * times, ...)`."""
    if times == 1:
        return values
    return keras.tree.map_structure(lambda v: ops.repeat(v, times, axis=0), values)


def _mean(values):
    """The mean, or 0 of nothing: a replica's share of the last batch may be empty."""
    number = ops.cast(ops.shape(values)[0], values.dtype)
    return ops.sum(values) / ops.maximum(number, 1)
