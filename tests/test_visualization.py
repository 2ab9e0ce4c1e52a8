import numpy as np
import pytest
from keras import ops

from keras_ram import plot_glimpses


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_boxes_and_patches_are_what_the_model_saw(dtype, channels, make_model, rng):
    model = make_model(channels=channels, scales=(2, 1), num_glimpses=3)
    images = rng.integers(0, 256, (2, 12, 20, channels)).astype("uint8")
    if dtype == "float32":
        images = (images / 255).astype("float32")
    names = list("abcdefghij")
    tensor = ops.convert_to_tensor(images)
    figure = plot_glimpses(model, tensor, labels=[0, 1], class_names=np.array(names))
    assert len(figure.axes) == 2 * 4
    locations = ops.convert_to_numpy(model.rollout(images)["locations"])
    floats = images / 255 if dtype == "uint8" else images
    for i, axes in enumerate(np.reshape(figure.axes, (2, 4))):
        boxes = axes[0].patches
        assert len(boxes) == 3
        for box, (x, y) in zip(boxes, locations[i], strict=True):
            # Four pixels wide, for the finest scale; edges at p - 0.5.
            left, top = (x + 1) / 2 * 20 - 2 - 0.5, (y + 1) / 2 * 12 - 2 - 0.5
            np.testing.assert_allclose(
                box.get_bbox().bounds, (left, top, 4, 4), atol=1e-5
            )
        for step, axis in enumerate(axes[1:]):
            at = locations[i : i + 1, step]
            patches = ops.convert_to_numpy(
                model.glimpse_sensor(floats[i : i + 1].astype("float32"), at)
            )[0]
            shown = axis.images[0].get_array()
            shown = np.reshape(shown, (4, 4 + 1 + 4, channels))
            np.testing.assert_allclose(shown[:, :4], patches[0], atol=1e-5)
            np.testing.assert_allclose(shown[:, 5:], patches[1], atol=1e-5)
            guess = names[int(ops.argmax(model.rollout(images)["logits"][i, step]))]
            assert axis.get_title().startswith(f"{step + 1}: {guess} (")


@pytest.mark.parametrize(
    "options,message",
    [
        ({"labels": np.eye(10)[:2]}, "There must be one integer for each image"),
        ({"labels": [3]}, "There must be one integer for each image"),
        ({"labels": [3, 10]}, r"Labels must be in \[0, 9\]"),
        ({"class_names": ["a", "b"]}, "There must be 10 names, one for each class"),
    ],
)
def test_refuses_labels_and_names_that_do_not_fit(options, message, make_model):
    with pytest.raises(ValueError, match=message):
        plot_glimpses(make_model(), np.zeros((2, 8, 8, 1)), **options)


def test_white_is_not_whiter_than_white(make_model, caplog):
    model = make_model(channels=3, scales=(1, 2.3))
    plot_glimpses(model, np.ones((3, 9, 9, 3), "float32"))
    assert not caplog.records  # of Matplotlib, which clips


def test_refuses_images_without_channels(make_model):
    with pytest.raises(ValueError, match="Add a channel axis"):
        plot_glimpses(make_model(), np.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match="Images must have 1 or 3 channels"):
        plot_glimpses(make_model(channels=2), np.zeros((2, 8, 8, 2)))
