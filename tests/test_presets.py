"""Every pretrained classifier, held to the error on its card."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from backends import FEW_STEPS
from PIL import Image

import keras_ram
from keras_ram import datasets
from keras_ram.presets import FOLDER

GOLDENS = Path(__file__).parent / "goldens"
PARTS = ("glimpse_net", "core", "classifier")
PRESETS = sorted(keras_ram.RAM.presets)
SIGNS = "ram_road_signs"
DIGITS = [name for name in PRESETS if name != SIGNS]
# Of the test photos of four classes the first two each, of "Road Sign Detection", CC0.
PHOTOS = sorted((Path(__file__).parent / "photos").glob("*.jpg"))


def read_card(name):
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def look(name, mnist):
    """What a preset says of the first thousand digits, placed as on its card."""
    images, labels = (values[:1000] for values in mnist[2])
    canvas = re.search(
        r"canvases of (\d+)x\1 pixels with (\d+) pieces", read_card(name)
    )
    if canvas:
        size, pieces = map(int, canvas.groups())
        images = datasets.clutter(images, size, pieces, seed=2)
    model = keras_ram.RAM.from_preset(name)
    model.stop_confidence = None
    return model, images, labels, model.predict(images, batch_size=500, verbose=0)


def look_at_signs():
    """What the preset says of photos, each as large as it is."""
    model = keras_ram.RAM.from_preset(SIGNS)
    images = [np.asarray(Image.open(path)) for path in PHOTOS]
    logits = [keras.ops.convert_to_numpy(model(image[None])) for image in images]
    return model, images, np.concatenate(logits)


@pytest.fixture(scope="module", params=DIGITS)
def case(request, mnist):
    return request.param, *look(request.param, mnist)


def on_an_edge(model, images, margin=1e-5):
    """Of which images rounding decides the way: a mean lies between two steps."""
    means = [
        keras.ops.convert_to_numpy(model.rollout(some)["location_means"])
        for some in np.split(images, 4)
    ]
    step = model.location_sampler.step
    from_edge = step * np.abs(np.concatenate(means) / step % 1 - 0.5)
    return from_edge.min(axis=(1, 2)) < margin


def test_there_are_presets_and_each_is_small():
    assert PRESETS
    sizes = [(FOLDER / f"{name}.keras").stat().st_size for name in PRESETS]
    assert max(sizes) < 2.5e6 and sum(sizes) < 12e6


def test_error_on_a_thousand_test_images(case):
    name, model, _, labels, logits = case
    assert model.name == name
    (figure,) = re.findall(r"first 1,000 test images: ([\d.]+)%\. ", read_card(name))
    wrong = np.sum(logits.argmax(axis=1) != labels)
    # One image is 0.1%; a runtime may decide one close call otherwise.
    assert abs(wrong - 10 * float(figure)) <= 1


def test_error_and_glimpses_of_the_stop_that_it_comes_with(case):
    name, model, images, labels, _ = case
    model.stop_confidence = keras_ram.RAM.from_preset(name).stop_confidence
    seen = [model.decide(some) for some in np.split(images, 2)]
    model.stop_confidence = None
    logits, glimpses = (
        np.concatenate([keras.ops.convert_to_numpy(s[key]) for s in seen])
        for key in ("logits", "num_glimpses")
    )
    (figures,) = re.findall(
        r"first 1,000 test images: ([\d.]+)% at a mean of ([\d.]+) glimpses",
        read_card(name),
    )
    wrong = np.sum(logits[:, -1].argmax(axis=1) != labels)
    assert abs(wrong - 10 * float(figures[0])) <= 1
    assert abs(glimpses.mean() - float(figures[1])) < 0.011


def test_same_logits_on_every_backend(case):
    """The goldens come from TensorFlow."""
    name, model, images, _, logits = case
    expected = np.load(GOLDENS / f"{name}.npy")
    undecided = on_an_edge(model, images)
    assert np.mean(undecided) < 0.02
    np.testing.assert_allclose(
        logits[~undecided], expected[~undecided], rtol=0, atol=2e-5
    )


def test_signs_are_named_as_on_the_card():
    """The goldens come from TensorFlow."""
    model, images, logits = look_at_signs()
    assert model.name == SIGNS
    expected = np.load(GOLDENS / f"{SIGNS}.npy")
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3)
    names = [model.classify(image[None])[0]["class"] for image in images]
    assert names == [model.class_names[label] for label in expected.argmax(axis=1)]
    right = sum(path.stem.startswith(n) for path, n in zip(PHOTOS, names, strict=True))
    (figures,) = re.findall(r"(\d+) of these (\d+)", read_card(SIGNS))
    assert (right, len(PHOTOS)) == tuple(map(int, figures))


@pytest.mark.parametrize("name", PRESETS)
def test_files_need_no_custom_objects(name):
    model = keras.saving.load_model(FOLDER / f"{name}.keras", safe_mode=True)
    assert not model.compiled
    assert model.dtype_policy.name == "float32"
    image = np.zeros((1, 50, 40, model.input_spec.axes[-1]))
    assert tuple(model(image).shape) == (1, model.num_classes)
    assert keras_ram.RAM.presets[name]


def test_a_new_classifier_on_all_the_rest(make_model, tmp_path):
    make_model(stop_confidence=0.9).save(tmp_path / "m.keras")
    model = keras_ram.RAM.from_preset(tmp_path / "m.keras")
    other = keras_ram.RAM.from_preset(tmp_path / "m.keras", num_classes=3)
    assert other.num_classes == 3 and other.stop_confidence is None
    assert tuple(other(np.zeros((2, 8, 8, 1))).shape) == (2, 3)
    for part in ("glimpse_net", "core", "location_sampler", "baseline"):
        weights = (getattr(m, part).get_weights() for m in (model, other))
        for one, same in zip(*weights, strict=True):
            np.testing.assert_array_equal(one, same)
    same = keras_ram.RAM.from_preset(tmp_path / "m.keras", num_classes=10)
    assert same.stop_confidence == 0.9


def test_names_tell_the_number_of_classes(make_model, tmp_path):
    digits, names = list("0123456789"), ["cat", "dog"]
    make_model(class_names=digits).save(tmp_path / "m.keras")

    def load(**options):
        return keras_ram.RAM.from_preset(tmp_path / "m.keras", **options)

    assert load().class_names == digits
    assert load(num_classes=2).class_names is None
    other = load(class_names=names)
    assert (other.num_classes, other.class_names) == (2, names)
    same = load(num_classes=10, class_names=digits[::-1])
    assert same.class_names == digits[::-1]
    np.testing.assert_array_equal(
        same.classifier.get_weights()[0], load().classifier.get_weights()[0]
    )
    with pytest.raises(ValueError, match="must hold 3 names.*Received: 2"):
        load(num_classes=3, class_names=names)


def test_what_is_frozen_stays_as_it_came(make_model, batch, tmp_path):
    make_model().save(tmp_path / "m.keras")
    model = keras_ram.RAM.from_preset(tmp_path / "m.keras", num_classes=3)
    model.glimpse_net.trainable = False
    before = {part: getattr(model, part).get_weights() for part in PARTS}
    model.compile(**FEW_STEPS)
    model.fit(batch[0], batch[1] % 3, verbose=0)
    for part, weights in before.items():
        moved = [
            np.abs(now - then).max() > 0
            for now, then in zip(
                getattr(model, part).get_weights(), weights, strict=True
            )
        ]
        assert not any(moved) if part == "glimpse_net" else all(moved)


def test_a_new_classifier_learns_on_what_was_frozen_as_a_whole(
    make_model, batch, tmp_path
):
    model = make_model()
    model.trainable = False
    model.save(tmp_path / "m.keras")
    model = keras_ram.RAM.from_preset(tmp_path / "m.keras", num_classes=3)
    model.compile(**FEW_STEPS)
    model.fit(batch[0], batch[1] % 3, verbose=0)
    assert len(model.trainable_weights) == 2


def test_a_new_classifier_on_no_weights(tmp_path):
    with pytest.warns(UserWarning, match="not yet been built"):
        keras_ram.RAM(3).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="no weights yet"):
        keras_ram.RAM.from_preset(tmp_path / "m.keras", num_classes=5)


def test_a_file_of_ones_own_needs_none_of_what_it_was_compiled_with(
    make_model, tmp_path
):
    def mine(y_true, y_pred):
        return keras.ops.mean(y_pred)

    model = make_model()
    model.compile(metrics=[mine])
    model.save(tmp_path / "mine.keras")
    assert not keras_ram.RAM.from_preset(tmp_path / "mine.keras").compiled


def test_unknown_and_damaged(tmp_path):
    with pytest.raises(ValueError, match=f"Did you mean '{PRESETS[0]}'"):
        keras_ram.RAM.from_preset(PRESETS[0].replace("_", "-"))
    (tmp_path / "m.keras").write_bytes(b"PK" + bytes(100))
    with pytest.raises(ValueError, match="Is the file damaged"):
        keras_ram.RAM.from_preset(tmp_path / "m.keras")
    layers = [keras.Input((2,)), keras.layers.Dense(1)]
    keras.Sequential(layers).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="holds no RAM. Received: Sequential"):
        keras_ram.RAM.from_preset(tmp_path / "other.keras")


def write():
    """Writes what the preset says, on TensorFlow."""
    from conftest import MNIST_DIR

    mnist = datasets.load_mnist(MNIST_DIR)
    for name in DIGITS:
        np.save(GOLDENS / f"{name}.npy", look(name, mnist)[-1])
    np.save(GOLDENS / f"{SIGNS}.npy", look_at_signs()[-1])


if __name__ == "__main__":
    write()
