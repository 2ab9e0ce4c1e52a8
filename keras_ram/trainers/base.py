"""What training is on every backend: the options, the objective and the logs."""

import dataclasses

import keras
from keras import ops

from keras_ram import reinforce
from keras_ram.guesses import best_guess, draw_guess
from keras_ram.on_logits import loss_on_logits, metrics_on_logits
from keras_ram.trainers.guard import GuardedModel
from keras_ram.trainers.learning_rule import LearningRule
from keras_ram.validation import check_known


class BaseTrainer(GuardedModel):
    """Adds REINFORCE to `keras.Model`: `compile`, its options, the objective.

    A backend's trainer adds a `train_step` that follows the gradient of
    `compute_objective`.
    """

    left_open = ()  # before `compile`

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rule = LearningRule()
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

    def execution(self, **options):
        """What the backend chooses where `compile` is told `"auto"`."""
        return {"jit_compile": "auto", "steps_per_execution": 1}

    def compile(
        self,
        optimizer="adam",
        loss="auto",
        metrics=("accuracy",),
        *,
        learning="joint",
        reward="auto",
        baseline="auto",
        episodes="auto",
        discount="auto",
        guess_weights=None,
        **kwargs,
    ):
        """Chooses the learning rule.

        Args:
            optimizer: As in Keras.
            loss: A Keras loss on logits, or the name of a cross-entropy. It
                trains the guess in hybrid and joint learning, and is only
                reported in pure REINFORCE. `"auto"` takes classes
                (`"sparse_categorical_crossentropy"`), with `multi_label` sets of
                classes (`"binary_crossentropy"`); `"categorical_crossentropy"`
                takes one-hot labels. Keras takes the mean over classes, and minus
                the log-probability of a set is the sum: `loss_weights` is the
                number of classes with `multi_label`, unless it is given.
            metrics: As in Keras. They see the logits of the last guess, which names
                of cross-entropies take into account. With `multi_label`,
                `"accuracy"` is the share of sets that are right as a whole;
                `"binary_accuracy"`, of single answers, is high where most classes
                are absent, whatever is learned.
            learning: What learns from what, and what `"auto"` stands for in the
                options that follow. A learned baseline learns by its own error under
                all of them.

                - `"joint"`: cross-entropy trains classifier, core and glimpse net.
                  REINFORCE trains the location network, and its gradient goes on
                  into core and glimpse net: they learn to remember where to look
                  next. With it go `"probability"`, `"leave_one_out"`, 4 and 0.5.
                - `"hybrid"`: the same, but REINFORCE's gradient stops at the hidden
                  state. With it go the paper's `"accuracy"`, `"learned"`, 1 and 1:
                  a step takes a third of the time, and less is learned from it.
                - `"reinforce"`: the label is drawn too, nothing is learned but
                  through the reward, and the gradient reaches every weight. With it
                  go the paper's options.
            reward: `"accuracy"`, 1 if the last guess is right, else 0, or
                `"probability"`, what the last guess gives to the true class, or to
                the true set as a whole.
            baseline: `"learned"` (from the hidden state, by squared error),
                `"mean"` (a running mean of the reward), `"leave_one_out"` (the
                mean return of the other episodes of the same image, of which there
                must be some) or `None`.
            episodes: Int, rollouts of each image in a training step, which takes
                memory and time for all of them.
            discount: Float in [0, 1]. With 1, only the last guess is learned and
                rewarded, as in the paper. Below, the guess after each glimpse
                is, and a decision is credited with the rewards after it, the
                soonest most; see `reinforce.returns`. It finds small objects
                in large images sooner; where nothing is hidden, as on MNIST, long
                runs end better with 1. Not for `learning="reinforce"`.
            guess_weights: `None`, or a number of at least 0 for the guess after each
                glimpse: what it counts in the loss, relative to the others. `None` is
                the last alone with a `discount` of 1, and all alike below. A model
                that is to be good after all glimpses, and to stop sooner where it
                is sure, weighs the last ones most. Not for `learning="reinforce"`.
            **kwargs: `weighted_metrics`, `run_eagerly`, … as in Keras.
                `jit_compile="auto"` is XLA on TensorFlow and JAX, but on TensorFlow
                not for several replicas, nor for a backbone that convolves each
                channel by itself, as a MobileNet does. `steps_per_execution="auto"`,
                the default, is 16 on TensorFlow, or the most that divide
                `steps_per_epoch`, and 1 on the others.

        Raises:
            ValueError: If an option is unknown, or does not go with another.
        """
        check_known("compile", kwargs, BaseTrainer.compile, keras.Model.compile)
        options = (reward, baseline, episodes, discount, guess_weights)
        rule = LearningRule(learning, *options)
        rule.learned_guesses(self.num_glimpses)  # refuses weights of others
        loss = loss_on_logits(loss, self.multi_label)
        metrics = list(metrics) if isinstance(metrics, tuple) else metrics
        metrics = metrics_on_logits(metrics, self.multi_label)
        if "weighted_metrics" in kwargs:
            weighted = metrics_on_logits(kwargs["weighted_metrics"], self.multi_label)
            kwargs["weighted_metrics"] = weighted
        if self.multi_label:
            # The log-probability of a set weighs against REINFORCE as that of a
            # single class does.
            kwargs.setdefault("loss_weights", float(self.num_classes))
        choice = self.execution(**kwargs)
        left_open = tuple(n for n in choice if kwargs.get(n, "auto") == "auto")
        kwargs.update({name: choice[name] for name in left_open})
        super().compile(optimizer, loss=loss, metrics=metrics, **kwargs)
        vars(self).pop("weights_of_optimizer", None)
        self.left_open = left_open
        self.rule = rule

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config.update(dataclasses.asdict(self.rule))
            # Another backend or strategy chooses for itself.
            config.update(dict.fromkeys(self.left_open, "auto"))
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.build_optimizer()

    def build_optimizer(self):
        """As Keras does it in the first step; a file holds what was built."""
        vars(self)["weights_of_optimizer"] = self.trainable_weights
        self.optimizer.build(self.trainable_variables)

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
