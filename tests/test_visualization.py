import subprocess

import numpy as np
import pytest
from keras import ops
from matplotlib import pyplot
from matplotlib.animation import writers
from PIL import Image

import keras_ram
from keras_ram import animate_glimpses, plot_glimpses, plot_location_map


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    pyplot.close("all")


class Stopping(keras_ram.RAM):
    """Is sure of the first image after one glimpse, of the others after all."""

    def rollout(self, images, training=False):
        rollout = super().rollout(images, training)
        taken = np.full(len(images), self.num_glimpses, "int32")
        taken[0] = 1
        return {**rollout, "num_glimpses": ops.convert_to_tensor(taken)}


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
        ({"labels": [3]}, "There must be as many labels as images"),
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


def test_pyplot_knows_the_figures(make_model):
    images = np.zeros((2, 8, 8, 1))
    figures = [plot_glimpses(make_model(), images)]
    figures.append(plot_location_map(make_model(), images))
    assert pyplot.get_fignums() == [figure.number for figure in figures]


@pytest.mark.parametrize("scales", [(1,), (1, 2, 4, 8)])
def test_many_glimpses_go_on_in_further_lines(scales, make_model):
    model = make_model(num_glimpses=16, scales=scales)
    figure = plot_glimpses(model, np.zeros((1, 8, 8, 1)))
    figure.draw_without_rendering()
    assert figure.get_figwidth() < 24 and len(figure.axes) == 17
    boxes = [axis.get_position() for axis in figure.axes]
    assert all(box.x0 >= 0 and box.x1 <= 1 and box.width > 0.02 for box in boxes)
    for i, box in enumerate(boxes):
        others = boxes[:i]
        assert not any(box.shrunk(0.9, 0.9).overlaps(other) for other in others)


def test_small_boxes_have_rings(make_model):
    model = make_model()
    for side, rings in ((40, 0), (1500, 3)):
        axis = plot_glimpses(model, np.zeros((1, side, side, 1))).axes[0]
        path, *markers = axis.lines
        assert len(path.get_xdata()) == 3 and len(markers) == rings
        for box, ring in zip(axis.patches, markers, strict=False):
            middle = np.mean(box.get_bbox().get_points(), axis=0)
            np.testing.assert_allclose(np.ravel(ring.get_data()), middle, atol=1e-3)


@pytest.mark.parametrize("corner", [(-9, -9), (9, 9)])
def test_numbers_beside_rings_stay_on_the_image(corner, make_model):
    model = make_model()
    *others, kernel, _ = model.location_sampler.get_weights()
    model.location_sampler.set_weights([*others, 0 * kernel, np.array(corner)])
    figure = plot_glimpses(model, np.zeros((1, 1500, 1500, 1)))
    figure.draw_without_rendering()
    image = figure.axes[0].get_window_extent()
    for number in figure.axes[0].texts:
        x0, y0, x1, y1 = number.get_window_extent().extents
        assert image.contains(x0, y0) and image.contains(x1, y1)


def test_long_names_are_shortened(make_model):
    names = ["a traffic light far away"] * 10
    figure = plot_glimpses(make_model(), np.zeros((1, 8, 8, 1)), [0], names)
    assert figure.axes[0].get_title() == "image of a traffic light…"


def test_glimpses_not_taken_are_not_drawn():
    model = Stopping(10, num_glimpses=3, patch_size=4)
    figure = plot_glimpses(model, np.zeros((2, 8, 8, 1)))
    assert len(figure.axes) == (1 + 1) + (1 + 3)
    assert [len(figure.axes[i].patches) for i in (0, 2)] == [1, 3]


def test_an_animation_shows_glimpse_after_glimpse(make_model, rng, tmp_path):
    model = make_model(scales=(1, 2))
    images = rng.uniform(size=(3, 12, 20, 1)).astype("float32")
    look = model.rollout(images)
    animation = animate_glimpses(model, images, labels=[1, 2, 3], columns=2)
    animation.save(tmp_path / "look.gif", writer="pillow")
    with Image.open(tmp_path / "look.gif") as film:
        durations = []
        for frame in range(film.n_frames):
            film.seek(frame)
            durations.append(film.info["duration"])
    assert durations == [700, 700, 2100]
    for step in (1, 2, 3):
        animation.show(step)
        for i, (above, below) in enumerate(animation.axes):
            guess = int(ops.argmax(look["logits"][i, step - 1]))
            assert above.get_title().startswith(f"{step}: {guess} (")
            # The finest patch of each, and all patches of the last.
            assert len(above.patches) == step + 1
            at = look["locations"][i : i + 1, step - 1]
            patches = ops.convert_to_numpy(model.glimpse_sensor(images[i : i + 1], at))
            fine, coarse = patches[0, ..., 0]
            shown = below.images[0].get_array()
            np.testing.assert_allclose(shown[:, :4], fine, atol=1e-5)
            np.testing.assert_allclose(shown[:, 5:], coarse, atol=1e-5)


@pytest.mark.skipif(
    not writers.is_available("ffmpeg"), reason="no ffmpeg, which writes films"
)
def test_a_film_has_the_frames_of_the_animation(make_model, rng, tmp_path):
    images = rng.uniform(size=(2, 12, 20, 1)).astype("float32")
    animation = animate_glimpses(make_model(), images)
    animation.save(tmp_path / "look.mp4")
    decode = "ffmpeg -loglevel error -i look.mp4 -f rawvideo -pix_fmt rgb24 -".split()
    film = subprocess.run(decode, cwd=tmp_path, capture_output=True, check=True).stdout
    frames = np.frombuffer(film, "uint8").reshape(5, 270, 400, 3)
    for frame, step in zip(frames, (1, 2, 3, 3, 3), strict=True):
        animation.show(step)
        animation.figure.canvas.draw()
        shown = np.asarray(animation.figure.canvas.buffer_rgba())[..., :3]
        assert np.abs(shown - frame.astype(float)).mean() < 2  # of 255


def test_an_animation_stops_where_the_model_did(tmp_path):
    model = Stopping(10, num_glimpses=3, patch_size=4)
    animation = animate_glimpses(model, np.zeros((2, 8, 8, 1)))
    animation.show(3)
    titles = [above.get_title() for above, _ in animation.axes]
    assert titles[0].startswith("1: ") and titles[1].startswith("3: ")
    animation.save(tmp_path / "look.gif", writer="pillow")


def test_a_notebook_shows_an_animation_once(make_model):
    animation = animate_glimpses(make_model(), np.zeros((1, 8, 8, 1)))
    assert "<img" in animation._repr_html_()
    assert not pyplot.get_fignums()


@pytest.mark.parametrize("options", [{"seconds": 0}, {"columns": 0}])
def test_an_animation_refuses_wrong_options(options, make_model):
    with pytest.raises(ValueError, match=next(iter(options))):
        animate_glimpses(make_model(), np.zeros((1, 8, 8, 1)), **options)


def test_a_map_counts_every_image_once_a_glimpse(rng):
    model = Stopping(10, num_glimpses=3, patch_size=4, location_stddev=0.5, seed=0)
    images = rng.uniform(size=(50, 9, 9, 1)).astype("float32")
    figure = plot_location_map(model, images, batch_size=20, cells=4)
    *maps, _ = figure.axes  # and the bar of the colours
    locations = ops.convert_to_numpy(model.rollout(images)["locations"])
    for step, axis in enumerate(maps):
        x, y = np.floor((locations[:, step] + 1) / 2 * 4).astype(int).T
        # Three batches, of each of which the first image takes one glimpse.
        seen = [i for i in range(50) if step == 0 or i % 20]
        expected = np.zeros((4, 4))
        for i in seen:
            expected[y[i], x[i]] += 1 / 50
        shown = axis.images[0].get_array().filled(0)
        np.testing.assert_allclose(shown, expected, atol=1e-12)
    titles = [axis.get_title() for axis in maps]
    assert titles == ["glimpse 1", "glimpse 2 of 94%", "glimpse 3 of 94%"]
