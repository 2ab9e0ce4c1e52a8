"""What `compile` chooses, and what a file keeps of it."""

import dataclasses

import keras

from keras_ram.on_logits import loss_on_logits, metrics_on_logits
from keras_ram.trainers.guard import GuardedModel
from keras_ram.trainers.learning_rule import LearningRule
from keras_ram.validation import check_known


class CompiledModel(GuardedModel):
    """Adds the learning rule to `compile`, and what that was told to the files."""

    left_open = ()  # before `compile`

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rule = LearningRule()

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

        Example:

        >>> model = keras_ram.RAM(num_classes=10, num_glimpses=3)
        >>> model.compile("adam")
        >>> model.rule.reward, model.rule.baseline, model.rule.episodes
        ('probability', 'leave_one_out', 4)
        >>> model.compile("adam", learning="hybrid")  # the paper's
        >>> model.rule.reward, model.rule.baseline, model.rule.episodes
        ('accuracy', 'learned', 1)
        """
        check_known("compile", kwargs, CompiledModel.compile, keras.Model.compile)
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
