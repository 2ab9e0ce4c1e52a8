"""What the model refuses, and that nothing is lost by it."""

import functools

import keras
import numpy as np
import pytest
from backends import FEW_STEPS, JIT

from keras_ram import RAM

NAN = np.full((2, 8, 8, 1), np.nan, "float32")
IMAGES = np.zeros((2, 8, 8, 1), "float32")
LABELS = np.array([0, 9])
# What is done wrong, the error, and what its text must say.
BAD_ARGUMENTS = [
    ({"num_classes": 1}, "`num_classes` must be an integer of at least 2"),
    ({"num_glimpses": 0}, "`num_glimpses` must be an integer of at least 1"),
    ({"num_glimpses": True}, "`num_glimpses` must be an integer of at least 1"),
    ({"patch_size": 0}, "`patch_size` must be .* Received: patch_size=0"),
    ({"scales": ()}, "`scales` must have at least one number"),
    ({"scales": (1, -1)}, "`scales` must be positive. Received: scales=-1"),
    (
        {"location_stddev": -1.0},
        "`location_stddev` must be positive. Received: location_stddev=-1.0",
    ),
    ({"location_stddev": 0}, "`location_stddev` must be positive"),
    ({"initial_location": "left"}, "`initial_location` must be one of 'random'"),
    ({"core": "transformer"}, "`core` must be one of 'rnn', 'lstm', 'gru'"),
    ({"core": keras.layers.Dense(3)}, "or a Keras RNN cell, .* Received: core=<Dense"),
    ({"core": keras.layers.LSTM(3)}, "or a Keras RNN cell"),
    ({"core_units": 0}, "`core_units` must be an integer of at least 1"),
    ({"filters": (0,)}, "`filters` must be an integer of at least 1"),
]
BAD_OPTIONS = [
    ({"learning": "supervised"}, "`learning` must be one of 'hybrid', 'joint'"),
    ({"reward": "loss"}, "`reward` must be one of 'accuracy', 'probability'"),
    ({"baseline": "median"}, "`baseline` must be one of 'learned', 'mean'"),
    ({"episodes": 0}, "`episodes` must be an integer of at least 1"),
    ({"baseline": "leave_one_out", "episodes": 1}, "`episodes` must be at least 2"),
    ({"episodes": "all"}, "`episodes` must be an integer of at least 1"),
    ({"discount": 1.5}, r"`discount` must be in \[0, 1\]"),
    ({"learning": "reinforce", "discount": 0.5}, "`discount` must be 1"),
    ({"guess_weights": (0, 1)}, "a number for each of the 3 glimpses"),
    ({"guess_weights": 2}, "`guess_weights` must be a sequence of numbers"),
    ({"guess_weights": "abc"}, "`guess_weights` must be a sequence of numbers"),
    ({"guess_weights": (0,) * 3}, "not all of them 0"),
    ({"guess_weights": (1, 1, -1)}, "of at least 0"),
    ({"guess_weights": (1, 1, np.nan)}, "of at least 0"),
    ({"learning": "reinforce", "guess_weights": (1,) * 3}, "must be None"),
    ({"learning": "reinforce", "reward": "probability"}, "does not depend on it"),
    ({"loss": keras.losses.CategoricalCrossentropy()}, "from_logits=True"),
    ({"loss": keras.losses.categorical_crossentropy}, "from_logits=True"),
    ({"loss": "CategoricalCrossentropy"}, "or one of sparse_categorical_crossentropy"),
    ({"loss": ["sparse_categorical_crossentropy"]}, "must be one loss on logits"),
    ({"loss": {"out": "categorical_crossentropy"}}, "must be one loss on logits"),
    ({"loss": keras.losses.KLDivergence()}, "must be one loss on logits"),
    ({"loss": functools.partial(keras.losses.categorical_crossentropy)}, "logits"),
    ({"loss": None}, "`loss` must be one loss on logits"),
]
BAD_DATA = [
    (IMAGES[..., 0], LABELS, r"Add a channel axis .*images\[..., None\]"),
    (IMAGES[0], LABELS, "Images must have shape"),
    (np.zeros((2, 8, 8, 3)), LABELS, "images of 1 channels"),
    (IMAGES[:0], LABELS[:0], "There are no images to look at"),
    (np.zeros((2, 0, 8, 1)), LABELS, "There are no images to look at"),
    (NAN, LABELS, "Received NaN or infinity"),
    (IMAGES + np.inf, LABELS, "Received NaN or infinity"),
    (IMAGES, np.array([0, 10]), r"Labels must be in \[0, 9\].*from 0 to 10"),
    (IMAGES, np.array([-1, 3]), r"Labels must be in \[0, 9\]"),
    (IMAGES, np.zeros((2, 3)), "Labels must have shape"),
    (IMAGES, np.array(["a", "b"]), "Labels must be numbers of classes"),
]


@pytest.mark.parametrize("arguments,text", BAD_ARGUMENTS)
def test_bad_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        RAM(**{"num_classes": 10, **arguments})


@pytest.mark.parametrize("options,text", BAD_OPTIONS)
def test_bad_options(options, text, make_model):
    with pytest.raises(ValueError, match=text):
        make_model().compile(**options)


@pytest.mark.parametrize("images,labels,text", BAD_DATA)
@pytest.mark.parametrize("method", ["fit", "evaluate", "validation_data"])
def test_bad_data(images, labels, text, method, make_model):
    model = make_model()
    model.compile(**FEW_STEPS)
    before = model.get_weights()
    with pytest.raises(ValueError, match=text):
        if method == "validation_data":
            good = (IMAGES, LABELS)
            model.fit(*good, validation_data=(images, labels), verbose=0)
        else:
            getattr(model, method)(images, labels, verbose=0)
    if method == "fit":
        for weight, value in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("images", [IMAGES[..., 0], IMAGES[:0], NAN])
def test_bad_images_in_predict(images, make_model):
    with pytest.raises(ValueError, match=r"[Ii]mages"):
        make_model().predict(images, verbose=0)


def test_labels_are_needed(make_model):
    model = make_model()
    model.compile(jit_compile=JIT)
    with pytest.raises(ValueError, match="RAM learns from labels"):
        model.fit(IMAGES, verbose=0)
    with pytest.raises(ValueError, match="RAM learns from labels"):
        model.fit(IMAGES, LABELS, validation_data=(IMAGES,), verbose=0)


def test_unknown_number_of_channels():
    with pytest.raises(ValueError, match="number of channels must be known"):
        RAM(10).build((None, 28, 28, None))


def test_nan_in_a_pipeline_stops_training_before_anything_is_saved(
    make_model, tmp_path
):
    import tensorflow as tf

    model = make_model()
    model.compile(jit_compile=JIT)
    good = tf.data.Dataset.from_tensors((IMAGES, LABELS))
    pipeline = good.concatenate(tf.data.Dataset.from_tensors((NAN, LABELS)))
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "m.keras", save_freq=2)
    # PyTorch computes at once, and sees it in the images.
    with pytest.raises((RuntimeError, ValueError), match="NaN or"):
        model.fit(pipeline, shuffle=False, verbose=0, callbacks=checkpoint)
    assert not (tmp_path / "m.keras").exists()


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.SparseCategoricalCrossentropy,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        functools.partial(
            keras.losses.sparse_categorical_crossentropy, from_logits=True
        ),
        lambda y, logits, from_logits=True: (
            keras.losses.sparse_categorical_crossentropy(y, logits, from_logits)
        ),
    ],
)
def test_a_loss_on_logits_is_taken_as_it_is(loss, make_model):
    model = make_model()
    model.compile(loss=loss, **FEW_STEPS)
    logs = model.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    logits = keras.ops.convert_to_numpy(model(IMAGES)).astype("float64")
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert logs["loss"] == pytest.approx(-log_probs[[0, 1], LABELS].mean(), rel=1e-5)


@pytest.mark.parametrize(
    "name", ["num_classes", "glimpse_sensor.scales", "glimpse_net.units"]
)
def test_what_weights_were_made_for_cannot_be_changed(name, make_model):
    owner, model = name.split(".")[:-1], make_model()
    part = getattr(model, owner[0]) if owner else model
    with pytest.raises(AttributeError, match="cannot be changed"):
        setattr(part, name.split(".")[-1], 3)


@pytest.mark.parametrize(
    "options,name,hint",
    [
        ({"episode": 4}, "`episode`", "Did you mean `episodes`"),
        ({"learning_rate": 1e-3}, "`learning_rate`", "belongs to the optimizer"),
    ],
)
def test_unknown_options_of_compile(options, name, hint, make_model):
    with pytest.raises(TypeError, match=f"no argument {name}.*{hint}"):
        make_model().compile(**options)


def test_the_older_file_format_is_refused(make_model, tmp_path):
    with pytest.raises(ValueError, match="saved as a `.keras` file"):
        make_model().save(tmp_path / "m.h5")
    assert not list(tmp_path.iterdir())


def test_a_quantized_layer_is_not_saved(make_model, tmp_path):
    model = make_model()
    model.glimpse_net.merge.quantize("int8")
    with pytest.raises(ValueError, match="not quantized in place"):
        model.save(tmp_path / "m.keras")


@pytest.mark.parametrize("filters,text", [(32, "a sequence"), ((8, 16), "too many")])
def test_filters_that_do_not_fit(filters, text):
    with pytest.raises(ValueError, match=f"`filters` .*{text}"):
        RAM(10, patch_size=4, filters=filters)


def test_unknown_names_are_refused(make_model):
    with pytest.raises(ValueError, match="glimpses"):
        RAM(10, glimpses=6)
    with pytest.raises(ValueError, match="momentum_adam"):
        make_model().compile("momentum_adam")


def test_a_model_trains_the_weights_it_was_compiled_for(make_model, batch):
    model = make_model()
    model.compile(**FEW_STEPS)
    model.fit(*batch, verbose=0)
    model.glimpse_net.trainable = False
    for learn in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match="must be compiled anew: 15 .* and 9 "):
            learn(*batch)
    model.compile(**FEW_STEPS)
    model.fit(*batch, verbose=0)
    thaw = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: setattr(model.glimpse_net, "trainable", True)
    )
    with pytest.raises(ValueError, match="must be compiled anew"):
        model.fit(*batch, epochs=2, verbose=0, callbacks=[thaw])


def test_nothing_to_learn(make_model, batch, tmp_path):
    model = make_model()
    model.trainable = False
    model.compile(**FEW_STEPS)
    with pytest.raises(ValueError, match="all weights are frozen"):
        model.fit(*batch, verbose=0)
    model.save(tmp_path / "m.keras")
    assert not keras.saving.load_model(tmp_path / "m.keras").trainable_weights


def test_metrics_see_logits(make_model, batch):
    model, name = make_model(), "sparse_categorical_crossentropy"
    for metric in (name, keras.metrics.SparseCategoricalCrossentropy):
        model.compile(metrics=["accuracy", metric], **FEW_STEPS)
        logs = model.evaluate(*batch, verbose=0, return_dict=True)
        assert logs[name] == pytest.approx(logs["loss"], rel=1e-5)


@pytest.mark.parametrize(
    "metric",
    [
        keras.metrics.SparseCategoricalCrossentropy(),
        "kl_divergence",
        keras.metrics.AUC(),
        keras.metrics.Precision(),
    ],
)
def test_metrics_on_probabilities_are_told_of(metric, make_model):
    with pytest.warns(UserWarning, match="expects probabilities"):
        make_model().compile(weighted_metrics=[metric])
