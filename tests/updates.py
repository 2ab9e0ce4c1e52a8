"""One step of training, and what it does to the weights."""

import keras
import numpy as np
from backends import FEW_STEPS


def update(model, images, labels, options=FEW_STEPS, **fit_options):
    """The weights after one step of SGD from the same start."""
    keras.utils.set_random_seed(0)
    model.location_sampler.seed_generator.state.assign([7, 0])
    start = model.get_weights()
    model.compile(keras.optimizers.SGD(0.5), **options)
    model.fit(
        images, labels, batch_size=len(images), verbose=0, shuffle=False, **fit_options
    )
    weights = [w.numpy() for w in model.trainable_weights]
    model.set_weights(start)
    return weights


def assert_same(first, second, atol=0.0):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)
