"""A model is taught where to look, by features with places and by given places."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_ram
from keras_ram.pointing import nearest


def test_peaks_by_hand():
    features = np.zeros((2, 2, 4, 3), "float32")
    features[0, 1, 0, 0] = 20  # at the bottom, on the left
    features[0, 0, 3, 1] = features[0, 0, 2, 1] = 8  # at the top, over two cells
    features[1, :, :, 2] = 3  # everywhere
    peaks = keras_ram.Peaks()
    found = ops.convert_to_numpy(peaks(features))
    largest, x, y = np.split(found, 3, axis=1)
    np.testing.assert_allclose(largest, [[20, 8, 0], [0, 0, 3]])
    np.testing.assert_allclose(x, [[-15, 4, 0], [0, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(y, [[10, -4, 0], [0, 0, 0]], atol=1e-5)
    assert peaks.compute_output_shape(features.shape) == found.shape == (2, 9)
    twin = keras_ram.Peaks.from_config(keras_ram.Peaks(sharpness=0.5).get_config())
    # Weights of e^(0.5 * 2) and 1, at x = 0.5 and -0.5.
    (found,) = ops.convert_to_numpy(twin(np.array([[[[0.0], [2.0]]]])))
    np.testing.assert_allclose(found, [2, np.tanh(0.5), 0], rtol=1e-5)


def test_attention_pooling_by_hand():
    pooling = keras_ram.AttentionPooling2D(1)
    pooling.build((None, 2, 4, 2))
    pooling.values.set_weights([np.array([[[[2.0], [1.0]]]]), np.array([3.0])])
    pooling.attention.set_weights([np.array([[[[1.0], [0.0]]]]), np.array([2.0])])
    features = np.zeros((1, 2, 4, 2), "float32")
    features[0, 1, 0] = np.log(5), 6  # counts five times, at the bottom, on the left
    features[0, 0, 3] = np.log(4), 3  # counts four times, at the top, on the right
    found = ops.convert_to_numpy(pooling(features))
    mean = 3 + 2 * (5 * np.log(5) + 4 * np.log(4)) / 15 + (5 * 6 + 4 * 3) / 15
    # The six others, three in each row, are on the left as often as on the right.
    place = [0.75 * (4 - 5) / 15, 0.5 * (5 - 4) / 15]
    np.testing.assert_allclose(found, [[mean, *place, 2 + np.log(15)]], rtol=1e-5)
    assert pooling.compute_output_shape(features.shape) == found.shape


def test_channels_are_last_whatever_keras_is_set_to():
    features = np.zeros((1, 2, 4, 3), "float32")
    keras.config.set_image_data_format("channels_first")
    try:
        pooling = keras_ram.AttentionPooling2D(2)
        assert tuple(pooling(features).shape) == (1, 5)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert tuple(pooling.values.kernel.shape) == (1, 1, 3, 2)


@pytest.mark.parametrize("last", [keras_ram.Peaks(2), keras_ram.AttentionPooling2D(2)])
def test_places_need_a_known_size(last):
    with pytest.raises(ValueError, match="known height and width. Received: height=N"):
        last.call(keras.KerasTensor((1, None, None, 3)))


@pytest.mark.parametrize("last", [keras_ram.Peaks(2), keras_ram.AttentionPooling2D(2)])
def test_a_backbone_that_ends_with_places_is_kept(last, make_model, batch, tmp_path):
    backbone = keras.Sequential([keras.layers.Conv2D(4, 3), last])
    model = make_model(backbone=backbone)
    logits = ops.convert_to_numpy(model(batch[0]))
    model.save(tmp_path / "m.keras")
    restored = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(ops.convert_to_numpy(restored(batch[0])), logits)


@pytest.mark.parametrize("sharpness", [0, "much"])
def test_a_bad_sharpness(sharpness):
    with pytest.raises(ValueError, match="`sharpness` must be positive"):
        keras_ram.Peaks(sharpness)


def test_pointing_by_hand(make_model, batch):
    images, classes = batch
    model = make_model(num_glimpses=3, initial_location="center", location_stddev=0.5)
    look = {n: ops.convert_to_numpy(v) for n, v in model.rollout(images).items()}
    places = np.linspace(-1, 1, 128).reshape(64, 2)
    places[:16] = np.nan  # not known
    weights = np.arange(64) % 2
    pointing = keras_ram.Pointing(model)
    pointing.compile("sgd")
    targets = {"places": places, "classes": classes}
    logs = pointing.evaluate(
        images, targets, batch_size=64, sample_weight=weights, verbose=0
    )
    squares = np.square(look["location_means"] - places[:, None]).sum(axis=2)
    distance = np.sqrt(squares[16:]).mean()
    logits = look["logits"]
    log_probs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    losses = -log_probs[np.arange(64), :, classes].mean(axis=1)
    squares[:16] = 0
    losses += (squares / (2 * 0.5**2) + np.log(2 * np.pi * 0.5**2)).mean(axis=1)
    np.testing.assert_allclose(logs, [(losses * weights).mean(), distance], rtol=1e-4)


def test_guesses_count_as_the_model_was_told(make_model, batch):
    """The second not at all, and the last three times as much as the first."""
    images, classes = batch
    model = make_model(num_glimpses=3, initial_location="center")
    model.compile(guess_weights=(1, 0, 3))
    logits = ops.convert_to_numpy(model.rollout(images)["logits"])
    log_probs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    log_probs = log_probs[np.arange(64), :, classes]
    pointing = keras_ram.Pointing(model)
    pointing.compile()
    # Where no place is known the policy is right, and its error is that of the density.
    targets = {"places": np.full((64, 2), np.nan), "classes": classes}
    loss, _ = pointing.evaluate(images, targets, batch_size=64, verbose=0)
    density = np.log(2 * np.pi * model.location_sampler.stddev**2)
    expected = density - (log_probs * [1 / 4, 0, 3 / 4]).sum(axis=1).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    model.num_glimpses = 2
    with pytest.raises(ValueError, match="a number for each of the 2 glimpses"):
        pointing.evaluate(images, targets, batch_size=64, verbose=0)


def test_it_learns_to_look_where_it_is_told(make_model, rng):
    """A white square in one of four places."""
    model = make_model(patch_size=8, scales=(1, 4), initial_location="center")
    model.compile(learning="joint")
    corners = rng.choice([-1.0, 1.0], (256, 2)).astype("float32")
    images = np.zeros((256, 32, 32, 1), "float32")
    for image, (x, y) in zip(images, corners, strict=True):
        image[int(12 + 8 * y) :, int(12 + 8 * x) :][:8, :8] = 1
    targets = {"places": corners / 2, "classes": (corners[:, 0] > 0).astype("int32")}
    pointing = keras_ram.Pointing(model)
    pointing.compile(keras.optimizers.Adam(3e-3))
    pointing.fit(images, targets, epochs=20, verbose=0)
    assert model.image_sizes == ((32, 32), (32, 32))
    locations = ops.convert_to_numpy(model.rollout(images)["locations"])
    distances = np.linalg.norm(locations[:, 1:] - targets["places"][:, None], axis=2)
    assert distances.mean() < 0.1  # 0.71 from the centre, which is where it began
    guesses = ops.convert_to_numpy(model(images)).argmax(axis=1)
    assert (guesses == targets["classes"]).all()


@pytest.mark.parametrize("way", ["fit", "evaluate"])
def test_bad_data_is_refused(way, make_model, batch):
    images, classes = batch
    pointing = keras_ram.Pointing(make_model())
    pointing.compile()
    places = np.zeros((64, 2))
    for x, y, text in (
        (images * 255, classes, "255"),
        (images[..., [0, 0, 0]], classes, "images of 1 channels"),
        (images, classes + 1, r"Labels must be in \[0, 9\]"),
        (images, np.eye(10)[classes], "one-hot rows"),
    ):
        with pytest.raises(ValueError, match=text):
            getattr(pointing, way)(x, {"places": places, "classes": y}, verbose=0)
    several = keras_ram.Pointing(make_model(), near=0.2)
    several.compile()
    for model, where, text in (
        (
            pointing,
            places[:, None],
            r"shape \(batch, 2\). Received: shape=\(64, 1, 2\)",
        ),
        (pointing, places[:32], r"shape=\(32, 2\) for 64 images"),
        (several, places, r"near=0.2 .* \(batch, n, 2\). Received: shape=\(64, 2\)"),
        (pointing, places + 20, r"in \[-1, 1\], or NaN. Received: places from 20"),
    ):
        with pytest.raises(ValueError, match=text):
            getattr(model, way)(
                images, {"places": where, "classes": classes}, verbose=0
            )
    data = [(images * 255, {"places": places, "classes": classes})]
    with pytest.raises(ValueError, match="255"):
        getattr(pointing, way)(iter(data), verbose=0)


def test_only_a_built_ram_is_taught(make_model):
    for model in (keras_ram.RAM(10), keras.Sequential()):
        with pytest.raises(ValueError, match=r"Only a built `keras_ram.RAM` is taught"):
            keras_ram.Pointing(model)


def test_the_next_place_by_hand(make_model):
    """Of those that no glimpse came near to, the nearest to where it would look."""
    pointing = keras_ram.Pointing(make_model(), near=0.2)
    a, b, c = [-0.5, 0.0], [0.5, 0.0], [0.5, 0.5]
    near_b, centre = [0.4, 0.1], [0.0, 0.0]
    nowhere = [np.nan, np.nan]
    places = [[a, b, c], [a, b, c], [nowhere, c, nowhere], [nowhere] * 3]
    locations = [
        [centre, a, near_b, c, centre],
        [near_b, centre, [-0.6, 0.1], centre, centre],  # b first, c never
        [centre, centre, c, a, a],  # of one alone
        [centre] * 5,  # of none
    ]
    means = [
        [[-0.4, 0.1], a, [0.6, 0.2], centre],
        [b, [0.9, 0.2], [-0.9, 0.0], [-0.9, 0.0]],
        [a, a, a, a],
        [a, a, a, a],
    ]
    following = [[a, b, c, nowhere], [c, c, c, c], [c, c, nowhere, nowhere]]
    following = np.array([*following, [nowhere] * 4])
    values = (ops.convert_to_tensor(v, "float32") for v in (places, locations, means))
    chosen, there = pointing._next(*values)
    known = np.isfinite(following[..., 0])
    np.testing.assert_array_equal(ops.convert_to_numpy(there), known)
    chosen = ops.convert_to_numpy(chosen)
    np.testing.assert_allclose(chosen[known], following[known], rtol=1e-6)
    # Three of three, two of three, one of one.
    assert float(pointing.found_tracker.result()) == pytest.approx(6 / 7)


def test_the_loss_of_visits_by_hand(make_model, batch):
    images, classes = batch
    model = make_model(num_glimpses=3, initial_location="center", location_stddev=0.5)
    look = {n: ops.convert_to_numpy(v) for n, v in model.rollout(images).items()}
    places = np.full((64, 2, 2), np.nan)
    places[16:, 1] = [0.5, -0.75]  # which nothing comes near to
    pointing = keras_ram.Pointing(model, near=1e-6, weight=0.25)
    pointing.compile("sgd")
    targets = {"places": places, "classes": classes}
    logs = pointing.evaluate(images, targets, 64, verbose=0, return_dict=True)
    ways = np.linalg.norm(look["location_means"] - [0.5, -0.75], axis=2)
    errors = 2 * (np.power(1 + (ways / 0.5) ** 2, 0.25) - 1)
    errors[:16] = 0
    logits = look["logits"]
    log_probs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    losses = -log_probs[np.arange(64), :, classes].mean(axis=1)
    losses += 0.25 * errors.mean(axis=1)
    expected = {"loss": losses.mean(), "distance": ways[16:].mean(), "found": 0}
    assert logs == pytest.approx(expected, rel=1e-4)


def test_the_nearest_is_chosen():
    nan = np.nan
    places = [[[[nan] * 2, [0.5, 0], [0, 0.4]]], [[[0, 1], [nan] * 2, [nan] * 2]]]
    places = np.array(places, "float32")
    means = np.array([[[0, 0]], [[0, 0]]], "float32")
    found = nearest(*map(ops.convert_to_tensor, (places, means)))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), [[[0, 0.4]], [[0, 1]]], rtol=1e-6
    )


def test_it_learns_to_visit_one_after_the_other(make_model, rng):
    """Two white squares."""
    model = make_model(
        num_glimpses=4,
        patch_size=8,
        scales=(2, 8),
        core="gru",
        core_units=32,
        initial_location="center",
        relative_locations=True,
    )
    model.compile(learning="joint")
    left, right = (
        np.stack([rng.integers(8, 12, 128) + x, rng.integers(8, 56, 128)], axis=1)
        for x in (0, 40)
    )
    images = np.zeros((128, 64, 64, 1), "float32")
    for image, *squares in zip(images, left, right, strict=True):
        for x, y in squares:
            image[y - 4 : y + 4, x - 4 : x + 4] = 1
    places = np.stack([left, right], axis=1) / 32 - 1
    targets = {"places": places, "classes": np.zeros(128, "int32")}
    pointing = keras_ram.Pointing(model, near=0.25)
    pointing.compile(keras.optimizers.Adam(3e-3))
    pointing.fit(images, targets, epochs=40, verbose=0)
    logs = pointing.evaluate(images, targets, verbose=0, return_dict=True)
    assert logs["found"] > 0.8
