"""What `GlimpseBoard` writes, read back as TensorBoard reads it."""

import io

import keras
import numpy as np
import pytest
from backends import FEW_STEPS, JIT
from keras import ops
from matplotlib import pyplot
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras_ram
from keras_ram.callbacks import GlimpseBoard

SIGNS = {
    "spread_over_images",
    "step_length",
    "share_on_border",
    "reward_spread",
    "reward_lost",
    "baseline_explains",
}


@pytest.fixture
def compiled(make_model):
    model = make_model()
    model.compile(baseline="learned", jit_compile=JIT, **FEW_STEPS)
    return model


def read(folder):
    """All events by tag: numbers and histograms are tensors."""
    keep_all = {"tensors": 0, "images": 0}
    events = EventAccumulator(str(folder / "glimpses"), keep_all)
    events.Reload()
    tags = events.Tags()
    return {
        **{tag: events.Tensors(tag) for tag in tags["tensors"]},
        **{tag: events.Images(tag) for tag in tags["images"]},
    }


def test_tensorboard_reads_what_was_written(compiled, batch, tmp_path):
    open_before = pyplot.get_fignums()
    images, labels = batch
    board = GlimpseBoard(tmp_path, images, labels, picture_every=2, pictures=3)
    history = compiled.fit(images, labels, epochs=3, callbacks=[board], verbose=0)
    events = read(tmp_path)
    for name in SIGNS:
        written = events[f"glimpses/{name}"]
        values = [event.tensor_proto.float_val[0] for event in written]
        assert [event.step for event in written] == [0, 1, 2]
        np.testing.assert_allclose(values, history.history[name], rtol=1e-6)
    signs = keras_ram.vital_signs(compiled, images)
    for name, value in signs.items():  # they are those of the model after the epoch
        np.testing.assert_allclose(value, history.history[name][-1], rtol=1e-5)
    for tag in ("glimpses/look", "glimpses/map"):
        assert [event.step for event in events[tag]] == [0, 2]
        event = events[tag][0]
        picture = Image.open(io.BytesIO(event.encoded_image_string))
        assert picture.size == (event.width, event.height)
    histograms = [tag for tag in events if tag.startswith("locations/")]
    assert len(histograms) == 3 * 2
    buckets = ops.convert_to_numpy(
        np.frombuffer(
            events["locations/glimpse_3_x"][-1].tensor_proto.tensor_content, "float64"
        ).reshape(-1, 3)
    )
    assert buckets[:, 2].sum() == len(images)
    assert pyplot.get_fignums() == open_before


def test_training_goes_on_as_without_it(make_model, batch, tmp_path):
    images, labels = batch
    weights = []
    for callbacks in ([], [GlimpseBoard(tmp_path, images, labels)]):
        keras.utils.set_random_seed(0)
        model = make_model()
        model.compile(jit_compile=JIT, **FEW_STEPS)
        model.fit(images, labels, epochs=2, callbacks=callbacks, verbose=0)
        weights.append(model.get_weights())
    for without, with_it in zip(*weights, strict=True):
        np.testing.assert_array_equal(without, with_it)


def test_without_labels(compiled, batch, tmp_path):
    images, labels = batch
    board = GlimpseBoard(tmp_path, images)
    compiled.fit(images, labels, callbacks=[board], verbose=0)
    assert not {"glimpses/reward_spread", "glimpses/reward_lost"} & set(read(tmp_path))
    assert "glimpses/look" in read(tmp_path)


def test_refuses_what_does_not_fit(compiled, batch, tmp_path):
    images, labels = batch
    with pytest.raises(ValueError, match="picture_every"):
        GlimpseBoard(tmp_path, images, picture_every=0)
    with pytest.raises(ValueError, match="Add a channel axis"):
        GlimpseBoard(tmp_path, images[..., 0])
    board = GlimpseBoard(tmp_path, images, labels + 5)
    with pytest.raises(ValueError, match=r"Labels must be in \[0, 9\]"):
        compiled.fit(images, labels, callbacks=[board], verbose=0)
