"""Several steps in one execution of TensorFlow, where nobody counts them.

Between two executions Keras takes as long as a small step does. With sixteen steps
to an execution `fit` and `evaluate` took 0.84 of the time on 28x28 in batches of 128
(two cores, Keras 3.15, TensorFlow 2.21, medians of seven rounds in one run), and
`predict` uses both cores, for two batches at a time. Keras overruns a number of steps
that executions do not divide, so whoever names one goes step by step.
"""

import contextlib
import contextvars

STEPS = 16
# For each thread, so that one that predicts does not disturb one that trains.
_STEP_BY_STEP = contextvars.ContextVar("step by step", default=False)


@contextlib.contextmanager
def step_by_step(choice):
    """Whether, within, models that left it open take one step in an execution."""
    token = _STEP_BY_STEP.set(choice)
    try:
        yield
    finally:
        _STEP_BY_STEP.reset(token)


class StepsOfAnExecution:
    """The attribute `steps_per_execution` of a model, which Keras reads and sets."""

    def __get__(self, model, owner=None):
        if model is None:
            return self
        chosen = vars(model).get("chosen_steps", 1)
        left_open = "steps_per_execution" in model.left_open
        return 1 if left_open and _STEP_BY_STEP.get() else chosen

    def __set__(self, model, steps):
        vars(model)["chosen_steps"] = steps
