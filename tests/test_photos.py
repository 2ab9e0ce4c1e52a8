"""The example that learns from a folder of photos."""

import functools
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_ram

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import photos
import photos_data
import photos_judged
import photos_models
from runs import read_curves

pytestmark = pytest.mark.slow

LIGHT, DARK = (250, 240, 230), (20, 30, 40)


@pytest.fixture
def folder(tmp_path, rng):
    """Grey photos of two classes, some of one subject, of all sizes, with masks."""
    for index in range(40):
        name, colour = (("dark", DARK), ("light", LIGHT))[index % 2]
        path = tmp_path / "photos" / name / f"exp{index}_num_{index % 26}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = rng.integers(30, 50, size=2)
        photo = Image.new("RGB", (int(width), int(height)), (128, 128, 128))
        mask = Image.new("L", photo.size)
        photo.paste(colour, (10, 5, 20, 15))
        mask.paste(255, (10, 5, 20, 15))
        photo.save(path)
        mask.save(path.with_suffix(".png"))
    return tmp_path / "photos"


def test_a_subject_is_never_on_two_sides(folder):
    names, paths, labels = photos_data.find(folder)
    assert names == ["dark", "light"]
    sides = photos_data.split(paths, labels, seed=3)
    assert sorted(np.concatenate(list(sides.values()))) == list(range(40))
    subjects = {
        side: {photos_data.subject(paths[row]) for row in rows}
        for side, rows in sides.items()
    }
    assert not subjects["train"] & subjects["test"]
    assert not subjects["train"] & subjects["validation"]
    assert not subjects["validation"] & subjects["test"]
    assert all(set(labels[rows]) == {0, 1} for rows in sides.values())


def test_masks_and_boxes_are_scaled_with_the_photos(folder):
    path = folder / "dark" / "exp0_num_0.jpg"
    with Image.open(path) as photo:
        width, height = photo.size
    size = (2 * height, 2 * width)
    (mask,) = photos_data.read_masks(folder, [path], size)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), columns.min()) == (10, 20)
    assert (rows.max(), columns.max()) == (29, 39)
    path.with_suffix(".png").unlink()
    table = f"file,left,top,right,bottom\ndark/{path.name},10,5,20,15\n"
    (folder / "boxes.csv").write_text(table)
    np.testing.assert_array_equal(photos_data.read_masks(folder, [path], size)[0], mask)


def test_a_patch_touches_what_it_overlaps():
    masks = np.zeros((1, 20, 40), bool)
    masks[0, 4, 30] = True  # its corners are at x = 0.5 to 0.55, y = -0.6 to -0.5
    for x, found in ((0.2, False), (0.26, True), (0.79, True), (0.81, False)):
        looked = np.array([[[0.0, 0.5], [x, -0.5]]])
        assert photos_judged.touched(masks, looked, 10).tolist() == [found]


def test_a_classifier_decides_by_the_place_it_attends_to():
    pooling = keras_ram.AttentionPooling2D(2)
    head = photos_models.OnePlace(pooling)
    head.build((None, 1, 3, 2))
    pooling.values.kernel.assign(
        [[[[2.0, 0], [0, 0]]]]
    )  # the first class, by the first
    pooling.attention.kernel.assign([[[[0.0], [1]]]])  # feature, where the second is
    features = np.array([[[[1.0, 0], [0, 2], [3, 0]]]], "float32")
    log_probs = keras.ops.convert_to_numpy(head(features))
    attention = np.exp([0, 2, 0]) / np.exp([0, 2, 0]).sum()
    first = 1 / (1 + np.exp(-np.array([2.0, 0, 6])))
    expected = np.log([attention @ first, attention @ (1 - first)])
    np.testing.assert_allclose(log_probs, [expected], rtol=1e-5)


def test_texture_is_told_by_the_means_of_what_is_seen(rng):
    pooling = photos_models.make_pooling(2, texture=True)
    block = keras.layers.Conv2D(4, 1)
    cnn = photos_models.make_cnn([block], pooling, 3, num_classes=2)
    images = rng.integers(256, size=(3, 5, 7, 3)).astype("uint8")
    moved = np.roll(images, (2, 3), axis=(1, 2))
    kernel, bias = block.get_weights()
    means = (images / 255 @ kernel[0, 0] + bias).mean(axis=(1, 2))
    *_, hidden, last = (layer.get_weights() for layer in cnn.layers)
    expected = np.maximum(means / np.sqrt(1 + 1e-3) @ hidden[0], 0) @ last[0]
    for same in (images, moved):
        found = cnn.predict(same, verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_what_a_cell_sees_lies_around_its_centre(rng):
    blocks = keras.Sequential(
        [keras.Input((16, 24, 1)), *photos_models.make_blocks((1, 1, 1))]
    )
    for kernel in blocks.trainable_weights[::3]:
        kernel.assign(np.ones_like(kernel))  # symmetric, so it tells no side
    image = rng.uniform(size=(1, 16, 24, 1)).astype("float32")
    cells = blocks.predict(image, verbose=0)
    assert cells.shape == (1, 2, 3, 1) and (cells > 0).all()
    turned = blocks.predict(image[:, ::-1, ::-1], verbose=0)
    np.testing.assert_allclose(turned[:, ::-1, ::-1], cells, rtol=1e-5)


def test_evidence_is_where_the_attention_of_all_sizes_is():
    block = keras.layers.Conv2D(3, 1, use_bias=False)
    pooling = keras_ram.AttentionPooling2D(2)
    cnn = photos_models.make_cnn([block], pooling, 3)
    block.kernel.assign(np.eye(3)[None, None])
    pooling.attention.kernel.assign([[[[10.0], [-10], [0]]]])
    images = np.zeros((2, 4, 8, 3), "uint8")
    images[:, 1, 6, 0] = images[1, 1, 6, 1] = images[1, 3, 0, 0] = 200
    places = photos_models.evidence_of(cnn, [1])(images)
    np.testing.assert_allclose(places, [[0.625, -0.25], [-0.875, 0.75]])
    images[0, 2:, :2, 0] = 150  # less in one pixel, and more in the mean of four
    places = photos_models.evidence_of(cnn, [2, 1])(images)
    assert places[0, 0] < 0 < places[0, 1]
    images[1] = 0
    assert np.isnan(photos_models.evidence_of(cnn, [1])(images)[1]).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_varied_has_no_black_corners(channels, rng):
    """Of a photo of one colour nothing but the colour changes."""
    grey = np.full((30, 50, channels), 128, "uint8")
    varied = np.stack([photos_data.vary(grey, rng) for _ in range(20)])
    assert varied.shape == (20, *grey.shape) and varied.dtype == "uint8"
    assert (varied == varied[:, :1, :1]).all()
    assert len(np.unique(varied)) > 10


def test_no_feature_is_larger_than_another(rng):
    """Of glimpses of photos with mean 0 and variance 1, whatever the weights."""
    options = photos.parse_arguments(
        "--data here --patch-size 8 --scales 1 2 --filters 4".split()
    )
    model = photos_models.make_ram((40, 40, 3), ["a", "b"], options)
    pooling = model.glimpse_net.backbone.layers[-2]
    pooling.values.kernel.assign(1000 * pooling.values.kernel)
    images = rng.integers(256, size=(200, 40, 40, 3)).astype("uint8")
    photos_models.normalize(model, images, seed=0)
    locations = rng.uniform(-1, 1, (200, 2)).astype("float32")
    patches = keras.ops.convert_to_numpy(model.glimpse_sensor(images, locations)) / 255
    found = model.glimpse_net.backbone.predict(patches.reshape(400, 8, 8, 3), verbose=0)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.25)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=0.25)


def test_batches_are_shrunk_one_after_the_other(rng):
    images = rng.integers(256, size=(4, 8, 12, 3)).astype("uint8")
    small = photos_data.shrunk(images[0], 2)
    means = images[0].reshape(4, 2, 6, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(small, means, atol=0.51)  # rounded
    grey = photos_data.shrunk(images[0][..., :1], 2)
    np.testing.assert_array_equal(grey, small[..., :1])
    epoch = photos_data.Varied(
        images, np.arange(4), 2, 3, 0, photos_data.vary, shrink=(1, 4)
    )
    assert [batch.shape for batch, _ in epoch] == [
        (2, 8, 12, 3),
        (2, 2, 3, 3),
        (2, 8, 12, 3),
    ]


def test_multiply_adds_of_each_channel():
    shape = (8, 8, 3)
    by_channel = keras.layers.DepthwiseConv2D(3, 2, "same")
    cnn = keras.Sequential([keras.Input(shape), by_channel])
    assert photos_judged.multiply_adds(cnn, shape) == 16 * 9 * 3


def test_multiply_adds():
    shape = (8, 8, 3)
    pooling = keras_ram.AttentionPooling2D(2)
    cnn = photos_models.make_cnn(photos_models.make_blocks([5]), pooling, 3)
    assert photos_judged.multiply_adds(cnn, shape) == 16 * (48 * 5 + 5 * 3)
    backbone = keras.Sequential([keras.Input(shape), cnn.layers[1], pooling])
    assert photos_judged.multiply_adds(backbone, shape) == 16 * (48 * 5 + 5 * 3)


@pytest.fixture
def seen_nothing(monkeypatch):
    """MobileNet as it is before it learned ImageNet, which is a download."""
    mobile_net = functools.partial(keras.applications.MobileNet, weights=None)
    monkeypatch.setattr(keras.applications, "MobileNet", mobile_net)


def test_the_beginning_is_that_of_a_mobile_net(seen_nothing, rng):
    whole = keras.applications.MobileNet(include_top=False, input_shape=(48, 64, 3))
    blocks = keras.Sequential([keras.Input((48, 64, 3)), *photos_models.begin_blocks()])
    blocks.set_weights(whole.get_weights()[: len(blocks.weights)])
    assert not blocks.trainable_weights
    images = rng.uniform(size=(2, 48, 64, 3)).astype("float32")
    inside = keras.Model(whole.input, whole.get_layer("conv_pw_11_relu").output)
    expected = inside.predict(2 * images - 1, verbose=0)  # as it learned ImageNet
    assert expected.shape == (2, 3, 4, 512)
    found = blocks.predict(images, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_what_was_pretrained_stays(folder, tmp_path, seen_nothing, monkeypatch):
    arguments = ["--data", str(folder), "--output", str(tmp_path / "out")]
    arguments += "--size 32 32 --shrink 1 --epochs 3 --first-epochs 1".split()
    arguments += "--glimpses 2 --pointing-epochs 1 --patch-size 32".split()
    arguments += "--scales 1 --batch-size 8 --verbose 0 --pretrained".split()
    begun = []
    begin = photos_models.begin_blocks

    def begin_blocks():
        blocks = begin()
        weights = [w for block in blocks for w in block.get_weights()]
        begun.extend(keras.tree.map_structure(np.copy, weights))
        return blocks

    monkeypatch.setattr(photos_models, "begin_blocks", begin_blocks)
    photos.main(arguments)
    run = tmp_path / "out/photos-photos-s0"
    model = keras_ram.RAM.from_preset(str(run / "model.keras"))
    assert model.glimpse_sensor.patch_size == 32
    for weight, was in zip(
        model.glimpse_net.backbone.get_weights(), begun, strict=False
    ):
        np.testing.assert_array_equal(weight, was)


def test_trains_and_tells(folder, tmp_path):
    arguments = ["--data", str(folder), "--output", str(tmp_path / "out")]
    arguments += (
        "--size 32 32 --shrink 1 2 --epochs 3 --first-epochs 1 --glimpses 2".split()
    )
    arguments += "--pointing-epochs 2 --filters 4 4 --patch-size 8 --scales 1 4".split()
    arguments += "--batch-size 8 --verbose 0".split()
    photos.main(arguments)
    run = tmp_path / "out/photos-photos-s0"
    result = json.loads((run / "result.json").read_text())
    assert result["class_names"] == ["dark", "light"]
    assert len(result["curves"]["seconds"]) == 3
    assert result["ram"]["seconds"] > sum(result["curves"]["seconds"])
    assert result["cnn"]["seconds"] > 0
    curves = read_curves(run / "pointing.csv")
    assert len(curves["distance"]) == 2 * photos.LOOKS
    assert 0 <= result["ram"]["test"]["touched_when_right"] <= 1
    assert "touched" not in result["cnn"]["test"]  # it looks at all
    model = keras_ram.RAM.from_preset(str(run / "model.keras"))
    assert model.class_names == ["dark", "light"]
    with pytest.raises(SystemExit, match="finished run"):
        photos.main(arguments)
    photos.main([*arguments, "--against", "dark", "--texture"])
    run = tmp_path / "out/photos-photos-against-dark-s0"
    model = keras_ram.RAM.from_preset(str(run / "model.keras"))
    assert model.class_names == ["dark", "not dark"]
    assert model.glimpse_net.backbone.output_shape == (None, 4)  # means
    found = read_curves(run / "pointing.csv")["found"]
    assert all(0 < share <= 0.5 for share in found)  # two glimpses, four quarters
