"""Images of different sizes in one batch: what is padded is as if it were alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import BACKEND, FEW_STEPS
from sklearn.datasets import load_sample_image

import keras_ram
from keras_ram.drawing import look
from keras_ram.inputs import is_symbolic

SIZES = [(150, 260), (1, 1), (40, 30), (31, 128), (97, 9)]
LABELS = np.array([0, 1, 2, 1, 0])


@pytest.fixture(scope="module")
def photos():
    """Cut out of a real one, as bytes."""
    photo, rng = load_sample_image("china.jpg"), np.random.default_rng(0)
    corners = [rng.integers(np.subtract(photo.shape[:2], s)) for s in SIZES]
    return [
        photo[y : y + height, x : x + width]
        for (y, x), (height, width) in zip(corners, SIZES, strict=True)
    ]


@pytest.fixture(scope="module")
def model(make_model):
    model = make_model(
        3, num_classes=3, num_glimpses=3, scales=(1, 2.5, 8), shares=(0.4,)
    )
    model.compile(**FEW_STEPS)
    return model


def padded_with_noise(photos):
    """Larger than need be, and with something in the padding."""
    padded = keras_ram.pad_images(photos)
    padding = ((0, 0), (0, 3), (0, 2), (0, 0))
    images = np.pad(padded["images"], padding)
    for image, (height, width) in zip(images, padded["sizes"], strict=True):
        image[height:] = image[:, width:] = images.max()
    return {"images": images, "sizes": padded["sizes"]}


def pipeline(photos, labels=None, batch_size=2):
    """As a user writes it: of images alone, or with labels."""
    labels = np.zeros(len(photos), int) if labels is None else labels
    data = tf.data.Dataset.from_generator(
        lambda: zip(photos, labels, strict=True),
        output_signature=(
            tf.TensorSpec((None, None, 3), "uint8"),
            tf.TensorSpec((), "int64"),
        ),
    )
    data = data.apply(tf.data.experimental.assert_cardinality(len(photos)))
    return data.map(
        lambda image, label: ({"images": image, "sizes": tf.shape(image)[:2]}, label)
    ).padded_batch(batch_size)


def array(value):
    return keras.ops.convert_to_numpy(value)


@pytest.mark.parametrize("some,rows", [(slice(5), None), (slice(1, 4), [2, 0, 2])])
def test_a_patch_sees_its_own_image(some, rows, photos, rng):
    """Whether it is cut out, looked up in a table, or of the whole image."""
    sensor = keras_ram.GlimpseSensor(4, scales=(1, 8, 16), shares=(1, 0.4))
    photos = [np.float32(photo) / 255 for photo in photos[some]]
    padded = padded_with_noise(photos)
    locations = rng.uniform(-1.1, 1.1, size=(len(photos), 2)).astype("float32")
    prepared = sensor.prepare(
        *map(keras.ops.convert_to_tensor, (padded["images"], padded["sizes"]))
    )
    at = None if rows is None else keras.ops.convert_to_tensor(rows, "int32")
    seen = array(sensor.look(prepared, keras.ops.convert_to_tensor(locations), at))
    rows = rows or range(len(photos))
    for patches, row, location in zip(seen, rows, locations, strict=True):
        alone = sensor(photos[row][None], location[None])
        alone = array(alone)[0]
        np.testing.assert_allclose(patches[:3], alone[:3], atol=2e-6)
        # Cells of less than a pixel, in a table made for those of the whole batch.
        np.testing.assert_allclose(patches[3:], alone[3:], atol=5e-6)


@pytest.fixture(scope="module")
def alone(model, photos):
    """What the model tells of each photo by itself."""
    return one_by_one(model, photos)


def one_by_one(model, photos):
    each = [model.rollout(photo[None]) for photo in photos]
    return {
        name: np.concatenate([array(one[name]) for one in each]) for name in each[0]
    }


@pytest.fixture
def stopped(model, photos, alone):
    """The same of the model that stops, after one glimpse of some photos."""
    first = array(keras.ops.softmax(alone["logits"][:, 0])).max(axis=-1)
    model.stop_confidence = float(np.sort(first)[1:3].mean())
    yield one_by_one(model, photos)
    model.stop_confidence = None


WAYS = {
    "predict a list": lambda m, x: m.predict(x, batch_size=2, verbose=0),
    "predict": lambda m, x: m.predict(padded_with_noise(x), verbose=0),
    "predict a pipeline": lambda m, x: m.predict(pipeline(x), verbose=0),
    "predict_on_batch": lambda m, x: m.predict_on_batch(x),
    "call": lambda m, x: m(padded_with_noise(x)),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_as_one_by_one(way, model, photos, alone):
    seen = array(WAYS[way](model, photos))
    np.testing.assert_allclose(seen, alone["logits"][:, -1], atol=1e-5)


def test_the_same_where_it_stops_when_sure(model, photos, stopped):
    assert len(set(stopped["num_glimpses"])) > 1
    seen = model.decide(padded_with_noise(photos))
    logits = model.predict(photos, verbose=0)
    answers = model.classify(photos)
    for name, values in seen.items():
        np.testing.assert_allclose(array(values), stopped[name], atol=1e-5)
    np.testing.assert_allclose(logits, stopped["logits"][:, -1], atol=1e-5)
    taken = [len(answer["locations"]) for answer in answers]
    np.testing.assert_array_equal(taken, stopped["num_glimpses"])


def test_locations_mean_the_own_edges(model, photos, alone):
    """And not those of the padding, as without the sizes."""
    padded = padded_with_noise(photos)
    seen = model.rollout(padded)
    for name, values in alone.items():
        np.testing.assert_allclose(array(seen[name]), values, atol=1e-5)
    without = array(model.rollout(padded["images"])["locations"])
    assert np.abs(without - array(seen["locations"])).max() > 1e-3


def test_many_sizes_do_not_compile_for_each(make_model, photos, monkeypatch):
    model = make_model(3, num_classes=3, num_glimpses=1)
    model.compile()
    prepare, traced = model.glimpse_sensor.prepare, []

    def spy(images, sizes=None):
        if is_symbolic(images):
            traced.append(images.shape)
        return prepare(images, sizes)

    monkeypatch.setattr(model.glimpse_sensor, "prepare", spy)
    sizes = [(40, 60), (64, 33), (50, 50), (45, 63), (33, 34)]
    photos = [photos[0][:height, :width] for height, width in sizes]
    model.predict(pipeline(photos, batch_size=1), verbose=0)
    # The first, and one for all others; TensorFlow sees at the second that it needs it.
    assert len(traced) == {"tensorflow": 3, "jax": 2, "torch": 0}[BACKEND]


def test_it_learns_as_without_padding(make_model, batch):
    """Every weight, of images that are padded in vain, in one step."""
    images, labels = batch[0][:8].astype("float32"), batch[1][:8]
    padding = ((0, 0), (0, 4), (0, 9), (0, 0))
    padded = {
        "images": np.pad(images, padding, constant_values=0.5),
        "sizes": np.full((8, 2), 8, "int32"),
    }
    rule = {"episodes": 2, "baseline": "leave_one_out", "discount": 0.5}
    losses, weights = [], []
    for x in (images, padded):
        keras.utils.set_random_seed(0)
        model = make_model(scales=(1, 2))
        model.compile("sgd", **FEW_STEPS, **rule)
        history = model.fit(
            x,
            labels,
            validation_data=(x, labels),
            sample_weight=np.arange(8) / 4,
            shuffle=False,
            verbose=0,
        ).history
        losses.append(history["val_loss"] + history["loss"])
        weights.append(np.concatenate([array(w).ravel() for w in model.weights]))
    np.testing.assert_allclose(*losses, rtol=1e-5)
    np.testing.assert_allclose(*weights, rtol=1e-5, atol=1e-6)


def test_fit_and_evaluate_take_a_pipeline(make_model, photos):
    model = make_model(3, num_classes=3, shares=(0.4,))
    model.compile(**FEW_STEPS)
    photos, labels = photos[2:], LABELS[2:]
    data = pipeline(photos, labels)
    before = [array(weight) for weight in model.trainable_weights]
    model.fit(data, validation_data=data, shuffle=False, verbose=0)
    after = [array(weight) for weight in model.trainable_weights]
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
    np.testing.assert_allclose(
        model.evaluate(data, verbose=0), model.evaluate(photos, labels, verbose=0), 1e-5
    )


def test_pictures_and_measures_of_all_sizes(model, photos, tmp_path):
    photos, labels = photos[2:], LABELS[2:]
    seen = look(model, photos)
    assert [image.shape for image in seen.images] == [p.shape for p in photos]
    np.testing.assert_allclose(seen.images[0], photos[0] / 255)
    assert len(keras_ram.plot_glimpses(model, photos, labels).axes) == 12
    film = keras_ram.animate_glimpses(model, photos)
    film.save(tmp_path / "look.gif", writer="pillow")
    assert len(film.axes) == 3
    keras_ram.plot_location_map(model, photos, batch_size=2)
    padded = padded_with_noise(photos)
    for measure in (
        lambda x: keras_ram.vital_signs(model, x, labels, 2, batch_size=2),
        lambda x: keras_ram.stopping_curve(model, x, labels, batch_size=2),
    ):
        expected = measure(photos)
        for name, value in measure(padded).items():
            np.testing.assert_allclose(value, expected[name], atol=1e-5)


IMAGES = np.zeros((2, 8, 9, 3), "float32")


@pytest.mark.parametrize(
    "images,text",
    [
        ({"images": IMAGES, "sizes": np.array([[8, 9], [0, 3]])}, "from 1 to those"),
        (
            {"images": IMAGES, "sizes": np.array([[9, 8], [8, 8]])},
            r"\(8, 9\).*\(9, 8\)",
        ),
        ({"images": IMAGES, "sizes": np.array([[8, 9]])}, "have shape.*2, 2"),
        ({"images": IMAGES, "sizes": np.full((2, 2), 8.0)}, "array of integers"),
        ({"images": IMAGES, "sizes": [[8, 9], [8, 9]]}, "array of integers"),
        ({"images": IMAGES}, "keys 'images' and 'sizes'.*pad_images"),
        ({"images": IMAGES + 99, "sizes": np.full((2, 2), 8)}, r"must be in \[0, 1\]"),
        ({"images": IMAGES[..., :1], "sizes": np.full((2, 2), 8)}, "3 channels"),
        ([], "A list of images must hold arrays"),
        ([IMAGES[0], IMAGES[0, ..., 0]], r"Add a channel axis.*\[..., None\]"),
        ([IMAGES[0], IMAGES[0, ..., :1]], "number of channels"),
        ([IMAGES[0], IMAGES[0].astype("uint8")], "one dtype"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(images, text, model):
    labels = np.zeros(2, int)
    for way in (
        lambda: model.predict(images),
        lambda: model.rollout(images),
        lambda: model.fit(images, labels),
        lambda: model.fit(IMAGES, labels, validation_data=(images, labels)),
        lambda: keras_ram.plot_glimpses(model, images),
    ):
        with pytest.raises(ValueError, match=text):
            way()


def test_the_first_batch_of_a_pipeline_is_looked_at(model, photos):
    wrong = pipeline(photos).map(
        lambda x, y: ({"images": x["images"], "sizes": x["sizes"] + 999}, y)
    )
    with pytest.raises(ValueError, match="from 1 to those of the padded images"):
        model.predict(wrong, verbose=0)
    with pytest.raises(ValueError, match="pad_images"):
        model.fit(((photos, LABELS) for _ in range(1)), verbose=0)


def test_ragged_batches_are_refused_with_their_remedy(model, photos):
    data = pipeline(photos).unbatch().map(lambda x, y: (x["images"], y))
    ragged = data.ragged_batch(2)
    with pytest.raises(ValueError, match=r"do not make ragged batches.*padded_batch"):
        model.predict(ragged, verbose=0)
    with pytest.raises(ValueError, match=r"do not make ragged batches.*padded_batch"):
        model.rollout(next(iter(ragged))[0])


def test_the_model_remembers_the_sizes_that_it_learned_from(
    make_model, photos, tmp_path
):
    model = make_model(3, num_classes=3, shares=(0.4,))
    model.compile(episodes=2, **FEW_STEPS)
    assert model.image_sizes is None
    model.predict(photos, verbose=0)
    model.evaluate(photos, LABELS, verbose=0)
    assert model.image_sizes is None  # nothing was learned
    square = np.stack([photos[0][:50, :50]] * 2)
    model.fit(square, LABELS[:2], validation_data=(photos, LABELS), verbose=0)
    assert model.image_sizes == ((50, 50), (50, 50))
    model.fit(photos[2:], LABELS[2:], verbose=0)
    assert model.image_sizes == ((31, 9), (97, 128))
    batch = (photos[0][None], LABELS[:1])
    one = {"steps_per_epoch": 1, "shuffle": False}
    model.fit((batch for _ in range(1)), verbose=0, **one)
    assert model.image_sizes == ((31, 9), (150, 260))
    model.save(tmp_path / "m.keras")
    load = keras_ram.RAM.from_preset
    assert load(tmp_path / "m.keras").image_sizes == ((31, 9), (150, 260))
    assert load(tmp_path / "m.keras", num_classes=2).image_sizes is None
    config = model.get_config()
    del config["image_sizes"]  # as in older files
    assert keras_ram.RAM.from_config(config).image_sizes is None


def test_a_large_neighbour_makes_no_patch_coarser(rng):
    """What sums are rounded to is each image's own."""
    images = [rng.random((*size, 1), "float32") for size in ((10, 14), (900, 1200))]
    sensor = keras_ram.GlimpseSensor(4, None, shares=(1,))
    padded = keras_ram.pad_images(images)
    beside = sensor(padded["images"], np.zeros((2, 2)), padded["sizes"])
    alone = sensor(images[0][None], np.zeros((1, 2)))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(beside)[:1],
        keras.ops.convert_to_numpy(alone),
        atol=1e-6,
    )
