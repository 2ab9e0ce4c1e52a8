"""The signature that takes files of images, as they come over the network."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from keras_ram.export import export_saved_model
from PIL import Image
from sklearn.datasets import load_sample_images

from keras_ram.server import OUTPUTS


def encode(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


@pytest.fixture(scope="module", params=[1, 3])
def served(request, make_model, tmp_path_factory):
    """A model and its signature."""
    folder = tmp_path_factory.mktemp("served")
    model = make_model(
        request.param, scales=(1, 2, 8), shares=(0.5,), stop_confidence=0.15
    )
    export_saved_model(model, folder)
    loaded = tf.saved_model.load(folder / "1")
    return model, loaded.signatures["serve_bytes"]


def test_files_of_several_sizes_over_rest(served, rng):
    """Photos and drawings, as TF Serving reads `b64` and makes rows of outputs."""
    model, signature = served
    photos = [Path(name).read_bytes() for name in load_sample_images().filenames]
    pixels = [rng.integers(0, 256, size, "uint8") for size in ((9, 30), (50, 7, 3))]
    files = [*photos, *map(encode, pixels)]
    body = json.dumps(
        {
            "instances": [
                {"image_bytes": {"b64": base64.b64encode(file).decode()}}
                for file in files
            ]
        }
    )
    rows = [
        base64.b64decode(instance["image_bytes"]["b64"])
        for instance in json.loads(body)["instances"]
    ]
    outputs = signature(image_bytes=tf.constant(rows))
    assert set(outputs) == set(OUTPUTS)
    for i, file in enumerate(files):
        # As Keras reads the files of a folder; others round JPEG otherwise.
        image = tf.io.decode_image(file, model.input_spec.axes[-1])
        expected = model.rollout(image[None])
        expected["logits"] = expected["logits"][:, -1]
        for name in ("logits", "locations", "num_glimpses"):
            np.testing.assert_allclose(outputs[name][i], expected[name][0], atol=1e-5)
    assert np.ptp(outputs["logits"], axis=0).max() > 0.05


def test_no_file_and_no_image(served):
    _, signature = served
    nothing = signature(image_bytes=tf.constant([], tf.string))
    assert nothing["logits"].shape == (0, 10)
    assert nothing["locations"].shape == (0, 3, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Unknown image file"):
        signature(image_bytes=tf.constant([b"a cat, I swear"]))


def test_other_depths_and_transparency(served, rng):
    model, signature = served
    grey = rng.integers(0, 256, (20, 30), "uint8")
    deep = encode((grey.astype("uint16") << 8) + 100)
    clear = np.dstack([grey, grey, grey, 255 - grey])
    outputs = signature(image_bytes=tf.constant([encode(grey), deep, encode(clear)]))
    pixels = np.repeat(grey[None, ..., None], model.input_spec.axes[-1], axis=-1)
    for logits in outputs["logits"]:
        np.testing.assert_allclose(logits[None], model(pixels), atol=1e-4)


def test_channels_that_no_file_has(make_model, tmp_path):
    export_saved_model(make_model(channels=2), tmp_path)
    loaded = tf.saved_model.load(tmp_path / "1")
    assert set(loaded.signatures) == {"serving_default", "serve_uint8"}
