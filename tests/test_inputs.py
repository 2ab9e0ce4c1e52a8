"""Images, labels and weights that are slightly wrong, on every way in."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import BACKEND, FEW_STEPS, JIT

import keras_ram

SHAPE = (4, 8, 8, 1)
IMAGES = np.random.default_rng(0).uniform(size=SHAPE).astype("float32")
LABELS = np.array([0, 9, 3, 1])
BYTES = np.round(IMAGES * 255).astype("uint8")


def pipeline(*values):
    return tf.data.Dataset.from_tensor_slices(values).batch(4)


def generator(*values):
    for _ in range(2):
        yield values


class Sequence(keras.utils.PyDataset):
    def __init__(self, *values):
        super().__init__()
        self.values = values

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.values


LEARNS = {
    "fit": lambda m, x, y: m.fit(x, y, verbose=0),
    "fit a pipeline": lambda m, x, y: m.fit(pipeline(x, y), shuffle=False, verbose=0),
    "fit a generator": lambda m, x, y: m.fit(generator(x, y), shuffle=False, verbose=0),
    "fit a PyDataset": lambda m, x, y: m.fit(Sequence(x, y), shuffle=False, verbose=0),
    "validate": lambda m, x, y: m.fit(
        IMAGES, LABELS, validation_data=(x, y), verbose=0
    ),
    "validate a pipeline": lambda m, x, y: m.fit(
        IMAGES, LABELS, validation_data=pipeline(x, y), verbose=0
    ),
    "evaluate": lambda m, x, y: m.evaluate(x, y, verbose=0),
    "evaluate a pipeline": lambda m, x, y: m.evaluate(pipeline(x, y), verbose=0),
    "train_on_batch": lambda m, x, y: m.train_on_batch(x, y),
    "test_on_batch": lambda m, x, y: m.test_on_batch(x, y),
}
LOOKS = {
    "predict": lambda m, x: m.predict(x, verbose=0),
    "predict a pipeline": lambda m, x: m.predict(pipeline(x), verbose=0),
    "predict_on_batch": lambda m, x: m.predict_on_batch(x),
    "call": lambda m, x: m(x),
    "rollout": lambda m, x: m.rollout(x),
    "decide": lambda m, x: m.decide(x),
    "plot_glimpses": lambda m, x: keras_ram.plot_glimpses(m, x),
}
BAD_IMAGES = [
    (BYTES.astype("float32"), r"Floats must be in \[0, 1\].*Divide floats up to 255"),
    (BYTES.astype("float32") - 128, r"Floats must be in \[0, 1\]"),
    (BYTES.astype("uint16") * 257, r"Integers must be in \[0, 255\].*images / 65535"),
    ((BYTES.astype(int) - 128).astype("int8"), r"Integers must be in \[0, 255\]"),
    (np.full(SHAPE, np.nan, "float32"), "Images must be finite"),
    (np.repeat(IMAGES, 3, -1), "looks at images of 1 channels.*of 3"),
    (IMAGES[..., 0], "Images must have shape"),
]
# Of which a pipeline cannot be made.
NO_NUMBERS = [IMAGES.astype("complex64"), IMAGES.astype(str), IMAGES.astype(object)]


@pytest.fixture(scope="module")
def refusing(make_model):
    """A model that nothing gets into, for many tests."""
    model = make_model(num_glimpses=2)
    model.compile(**FEW_STEPS)
    return model


@pytest.fixture
def model(make_model):
    model = make_model(num_glimpses=2)
    model.compile(**FEW_STEPS)
    return model


@pytest.mark.parametrize("images,text", BAD_IMAGES)
@pytest.mark.parametrize("way", [*LOOKS, *LEARNS])
def test_images_that_do_not_fit_are_refused(way, images, text, refusing):
    model = refusing
    before = model.get_weights()
    with pytest.raises(ValueError, match=text):
        if way in LOOKS:
            LOOKS[way](model, images)
        else:
            LEARNS[way](model, images, LABELS)
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize(
    "labels,text",
    [
        (LABELS + 1, r"Labels must be in \[0, 9\].*from 1 to 10"),
        (LABELS - 1, r"Labels must be in \[0, 9\]"),
        (np.eye(10)[LABELS], "one-hot rows.*categorical_crossentropy"),
        (np.zeros((4, 3)), "Labels must have shape"),
        (LABELS + 0.5 * (LABELS < 9), "which are whole. Received: 0.5"),
        (LABELS.astype(str), "Labels must be numbers"),
    ],
)
@pytest.mark.parametrize("way", LEARNS)
def test_labels_that_do_not_fit_are_refused(way, labels, text, refusing):
    model = refusing
    with pytest.raises(ValueError, match=text):
        LEARNS[way](model, IMAGES, labels)


@pytest.mark.parametrize(
    "rows", [np.ones((4, 10)), np.zeros((4, 10)), 2 * np.eye(10)[LABELS] - 1]
)
def test_rows_that_are_no_shares_of_classes_are_refused(rows, model):
    model.compile(loss="categorical_crossentropy", **FEW_STEPS)
    for dtype in ("float32", "int8"):
        with pytest.raises(ValueError, match="One-hot rows must be 1 for the class"):
            model.fit(IMAGES, rows.astype(dtype), verbose=0)
    smooth = (0.9 * np.eye(10)[LABELS] + 0.01).astype("float16")
    model.fit(IMAGES, smooth, verbose=0)


@pytest.mark.parametrize(
    "loss", [keras.losses.MeanSquaredError(), keras.losses.categorical_hinge]
)
def test_losses_on_rows_take_no_classes(loss, model):
    model.compile(loss=loss, **FEW_STEPS)
    with pytest.raises(ValueError, match="numbers of classes.*takes the other kind"):
        model.fit(IMAGES, LABELS, verbose=0)


def test_booleans_are_classes(model):
    model.fit(IMAGES, LABELS > 1, verbose=0)


@pytest.mark.parametrize("way", LEARNS)
def test_classes_do_not_fit_a_loss_on_one_hot_labels(way, make_model):
    model = make_model(num_glimpses=1)
    model.compile(loss="categorical_crossentropy", **FEW_STEPS)
    if way.startswith("validate"):
        pytest.skip("the training labels do not fit either")
    with pytest.raises(ValueError, match='loss="sparse_categorical_crossentropy"'):
        LEARNS[way](model, IMAGES, LABELS)


def test_a_later_batch_cannot_teach_a_class_that_there_is_not(model):
    """The first batch is looked at. NaN is what stops training in the others."""
    labels = np.concatenate([LABELS, LABELS + 1])
    data = tf.data.Dataset.from_tensor_slices((np.tile(IMAGES, (2, 1, 1, 1)), labels))
    with pytest.raises(RuntimeError, match="NaN or Inf loss"):
        model.fit(data.batch(4), shuffle=False, verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert np.isnan(model.evaluate(data.batch(4), verbose=0, return_dict=True)["loss"])


@pytest.mark.parametrize("images", [BYTES, BYTES.astype("int64"), IMAGES])
def test_the_other_byte_order_is_read(images, model):
    other = images.astype(images.dtype.newbyteorder(">"))
    labels = LABELS.astype(">i8")
    for way, look in LOOKS.items():
        if way in ("plot_glimpses", "predict a pipeline", "decide"):
            continue
        seen, expected = look(model, other), look(model, images)
        if way == "rollout":
            seen, expected = seen["logits"], expected["logits"]
        np.testing.assert_array_equal(
            *map(keras.ops.convert_to_numpy, (seen, expected))
        )
    LEARNS["validate"](model, other, labels)
    for way in ("evaluate", "test_on_batch"):
        assert LEARNS[way](model, other, labels) == LEARNS[way](model, images, LABELS)


def test_channels_first_are_refused_before_a_model_is_built():
    model = keras_ram.RAM(10, 2, 4, core_units=8)
    model.compile(**FEW_STEPS)
    with pytest.raises(ValueError, match=r"np.moveaxis\(images, 1, -1\)"):
        model.fit(np.zeros((4, 1, 28, 28)), LABELS, verbose=0)
    assert not model.built


@pytest.mark.parametrize(
    "take",
    [
        tuple,
        lambda images: [images],
        lambda images: images.tolist(),
        lambda images: {"images": images},
    ],
)
def test_what_is_no_array_is_refused(take, model):
    text = "one array|A list of images must hold arrays"
    for look in (model.predict, model.rollout):
        with pytest.raises(ValueError, match=text):
            look(take(IMAGES))
    with pytest.raises(ValueError, match=text):
        model.fit(take(IMAGES), LABELS, verbose=0)
    with pytest.raises(ValueError, match="one array"):
        model.rollout(pipeline(IMAGES))


@pytest.mark.parametrize("images", NO_NUMBERS)
def test_what_are_no_numbers_are_no_images(images, refusing):
    for look in (refusing.predict, refusing.rollout, refusing):
        with pytest.raises(ValueError, match="floats, integers or booleans"):
            look(images)


@pytest.mark.parametrize("library", ["tensorflow", "jax", "torch", "h5py"])
def test_arrays_of_other_libraries_are_read(library, model, tmp_path):
    def convert(name, values):
        if library == "h5py":
            return file.create_dataset(name, data=values)
        if library == "jax":
            return pytest.importorskip("jax.numpy").asarray(values)
        return {"tensorflow": tf.constant, "torch": torch.tensor}[library](values)

    h5py, torch = (pytest.importorskip(name) for name in ("h5py", "torch"))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        x, y = convert("x", IMAGES), convert("y", LABELS)
        np.testing.assert_array_equal(
            model.predict(x, verbose=0), model.predict(IMAGES, verbose=0)
        )
        assert model.evaluate(x, y, verbose=0) == model.evaluate(
            IMAGES, LABELS, verbose=0
        )
        model.fit(x, y, verbose=0)


WEIGHTS = [
    np.ones((4, 3)),
    np.ones(3),
    [1.0] * 4,
    np.array([1, np.nan, 1, 1]),
    np.array(list("abcd")),
]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("way", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_a_weight_for_each_image(way, weights, refusing):
    with pytest.raises(ValueError, match="`sample_weight` must"):
        getattr(refusing, way)(IMAGES, LABELS, sample_weight=weights)


@pytest.mark.parametrize("weights", [{"cat": 2}, [1] * 10, {0: np.nan}, {10: 2}])
@pytest.mark.parametrize("way", ["fit", "train_on_batch"])
def test_a_weight_for_each_class(way, weights, refusing):
    with pytest.raises(ValueError, match="`class_weight` must be a dict"):
        getattr(refusing, way)(IMAGES, LABELS, class_weight=weights)


def test_classes_without_a_weight_weigh_1(model):
    model.compile(keras.optimizers.SGD(0.0), **FEW_STEPS)
    weights = {3: 2.0}, {label: 1.0 + (label == 3) for label in range(10)}
    losses = []
    for weight in weights:
        model.location_sampler.seed_generator.state.assign([0, 0])
        options = {"class_weight": weight, "shuffle": False, "verbose": 0}
        losses.append(model.fit(IMAGES, LABELS, **options).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.mark.parametrize("way", ["fit", "evaluate", "predict"])
def test_data_without_a_batch(way, refusing):
    for data in ((batch for batch in ()), pipeline(IMAGES, LABELS).take(0)):
        with pytest.raises(ValueError, match="no batch in these data"):
            getattr(refusing, way)(data)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_a_pipeline_without_labels_is_refused(method, model):
    with pytest.raises(ValueError, match="RAM learns from labels"):
        getattr(model, method)(pipeline(IMAGES), verbose=0)


def test_as_many_labels_as_images(model):
    with pytest.raises(ValueError, match="as many labels as images"):
        model.fit(IMAGES, LABELS[:3], verbose=0)


def test_a_generator_loses_no_batch(model):
    before = int(model.optimizer.iterations)
    data = generator(IMAGES, LABELS)  # of two batches
    model.fit(data, steps_per_epoch=2, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) - before == 2


@pytest.mark.skipif(BACKEND != "torch", reason="torch's loader")
def test_a_loader_of_torch_is_looked_at(model):
    import torch

    data = torch.utils.data.TensorDataset(torch.zeros(8, 1, 28, 28), torch.zeros(8))
    fresh = keras_ram.RAM(10, 2, 4, core_units=8)
    fresh.compile()
    with pytest.raises(ValueError, match="np.moveaxis"):
        fresh.fit(torch.utils.data.DataLoader(data, 4), shuffle=False, verbose=0)


def test_training_goes_on_after_an_error(make_model):
    """An error leaves nothing half made: no variable of a trace that failed."""
    model = keras_ram.RAM(10, 1, 4, core_units=8)
    model.compile(jit_compile=JIT)
    with pytest.raises(ValueError, match="one-hot"):
        model.fit(IMAGES, np.eye(10)[LABELS], verbose=0)
    model.compile(loss="categorical_crossentropy", jit_compile=JIT)
    model.fit(IMAGES, np.eye(10)[LABELS], verbose=0)
    with pytest.raises(ValueError, match="channels"):
        model.fit(np.repeat(IMAGES, 3, -1), np.eye(10)[LABELS], verbose=0)
    history = model.fit(IMAGES, np.eye(10)[LABELS], verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("good", [0, 1])
@pytest.mark.parametrize("way", ["fit", "evaluate", "predict"])
def test_a_batch_that_cannot_be_read_takes_no_weights_along(way, good, model):
    class Broken(Sequence):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            self.asked = getattr(self, "asked", -1) + 1  # first, to be looked at
            if self.asked > good:
                raise OSError("unreadable")
            return self.values

    before = model.predict(IMAGES, verbose=0)
    with pytest.raises(OSError, match="unreadable"):
        getattr(model, way)(Broken(IMAGES, LABELS), verbose=0)
    after = model.predict(IMAGES, verbose=0)
    assert np.isfinite(after).all()
    if way != "fit":
        np.testing.assert_array_equal(after, before)
