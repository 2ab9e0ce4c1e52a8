"""The artifacts, run where users run them."""

import itertools
import json
import subprocess
import sys

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from backends import JIT
from keras_ram.export import export_onnx, export_saved_model

from keras_ram.server import OUTPUTS

SIZES = [(1, 28, 28), (3, 37, 91), (2, 60, 5)]


@pytest.fixture(scope="module")
def model(make_model, digits):
    keras.utils.set_random_seed(0)
    (images, labels), _, _ = digits
    model = make_model(scales=(1, 2), shares=(1,), filters=(4,), location_units=8)
    model.compile(jit_compile=JIT)
    model.fit(images[:256], labels[:256], epochs=2, verbose=0)
    return model


def images_of(size, rng):
    return rng.uniform(size=(*size, 1)).astype("float32")


@pytest.mark.slow
def test_saved_model_without_this_package(model, tmp_path, rng):
    """Loaded by a process that never imports this package."""
    assert export_saved_model(model, tmp_path / "model") < 1e-3
    images = images_of((3, 37, 91), rng)
    np.save(tmp_path / "images.npy", images)
    code = """
import json, sys
import numpy as np, tensorflow as tf
folder = sys.argv[1]
signatures = tf.saved_model.load(folder + "/model/1").signatures
images = np.load(folder + "/images.npy")
floats = signatures["serving_default"](images=tf.constant(images))
pixels = np.round(images * 255).astype("uint8")
integers = signatures["serve_uint8"](images=tf.constant(pixels))
assert "keras_ram" not in sys.modules
np.savez(folder + "/floats.npz", **floats)
np.savez(folder + "/integers.npz", **integers)
print(json.dumps({name: value.shape.as_list() for name, value in floats.items()}))
"""
    process = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout.splitlines()[-1]) == {
        "logits": [3, 10],
        "probabilities": [3, 10],
        "locations": [3, 3, 2],
        "num_glimpses": [3],
        "step_probabilities": [3, 3, 10],
    }
    pixels = np.round(images * 255).astype("uint8")
    for name, inputs in (("floats", images), ("integers", pixels)):
        outputs = np.load(tmp_path / f"{name}.npz")
        rollout = model.rollout(inputs)
        np.testing.assert_allclose(
            outputs["logits"], rollout["logits"][:, -1], atol=1e-4
        )
        np.testing.assert_allclose(
            outputs["locations"], rollout["locations"], atol=1e-4
        )
        np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1, atol=1e-5)


@pytest.fixture(scope="module", params=["float32", "uint8"])
def onnx_file(model, tmp_path_factory, request):
    path = tmp_path_factory.mktemp("onnx") / f"{request.param}.onnx"
    assert export_onnx(model, path, request.param) < 1e-3
    return path


def test_onnx_in_its_runtime(onnx_file, model, rng):
    session = onnxruntime.InferenceSession(onnx_file)
    (images_input,) = session.get_inputs()
    assert images_input.name == "images"
    assert images_input.shape == ["batch", "height", "width", 1]
    outputs = {output.name: output.shape for output in session.get_outputs()}
    assert outputs == {
        "logits": ["batch", 10],
        "probabilities": ["batch", 10],
        "locations": ["batch", 3, 2],
        "num_glimpses": ["batch"],
        "step_probabilities": ["batch", 3, 10],
    }
    assert images_input.type == f"tensor({onnx_file.stem.replace('32', '')})"
    for size in SIZES:
        images = images_of(size, rng)
        if images_input.type == "tensor(uint8)":
            images = (images * 255).astype("uint8")
        logits, locations = session.run(["logits", "locations"], {"images": images})
        rollout = model.rollout(images)
        np.testing.assert_allclose(logits, rollout["logits"][:, -1], atol=1e-4)
        np.testing.assert_allclose(locations, rollout["locations"], atol=1e-4)


def test_nothing_random_is_in_the_onnx_file(onnx_file):
    nodes = onnx.load(onnx_file).graph.node
    (loop,) = [node for node in nodes if node.op_type == "Loop"]
    operations = {node.op_type for node in [*nodes, *loop.attribute[0].g.node]}
    assert "MatMul" in operations or "Gemm" in operations
    assert not [name for name in operations if "random" in name.lower()]


def test_nothing_random_is_in_the_saved_model(model, tmp_path):
    export_saved_model(model, tmp_path / "m")
    loaded = tf.saved_model.load(tmp_path / "m" / "1")
    for signature in loaded.signatures.values():
        # What the signature calls is in functions of the graph.
        definition = signature.graph.as_graph_def()
        nodes = [*definition.node]
        for function in definition.library.function:
            nodes += function.node_def
        operations = {node.op for node in nodes}
        assert "MatMul" in operations
        assert not [name for name in operations if "random" in name.lower()]


def check_against(model, run, rng, sizes=SIZES):
    for size in sizes:
        images = images_of(size, rng)
        outputs, rollout = run(images), model.rollout(images)
        assert set(outputs) == set(OUTPUTS)
        np.testing.assert_allclose(
            outputs["step_probabilities"],
            keras.ops.softmax(rollout["logits"]),
            atol=1e-4,
        )
        np.testing.assert_allclose(
            outputs["logits"], rollout["logits"][:, -1], atol=1e-4
        )
        np.testing.assert_allclose(
            outputs["locations"], rollout["locations"], atol=1e-4
        )


@pytest.fixture
def restored(model, tmp_path):
    """A model that was just loaded and never called."""
    model.save(tmp_path / "m.keras")
    return keras.saving.load_model(tmp_path / "m.keras")


def test_keras_saved_model(restored, model, tmp_path, rng):
    restored.export(tmp_path / "m", "tf_saved_model", False)
    signature = tf.saved_model.load(tmp_path / "m").signatures["serving_default"]
    check_against(model, lambda images: signature(images=tf.constant(images)), rng)


@pytest.mark.filterwarnings("ignore::FutureWarning:keras.src.export")
def test_keras_onnx(restored, model, tmp_path, rng):
    restored.export(tmp_path / "m.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    names = [output.name for output in session.get_outputs()]

    def run(images):
        return dict(zip(names, session.run(None, {"images": images}), strict=True))

    check_against(model, run, rng)


def test_keras_litert(restored, model, tmp_path, rng):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    restored.export(tmp_path / "m.tflite", format="litert", verbose=False)
    runner = interpreter.Interpreter(str(tmp_path / "m.tflite")).get_signature_runner()
    check_against(model, lambda images: runner(images=images), rng)


def test_keras_openvino(restored, model, tmp_path, rng):
    openvino = pytest.importorskip("openvino")
    restored.export(tmp_path / "m.xml", format="openvino", verbose=False)
    # Some processors would compute in half precision by default.
    compiled = openvino.Core().compile_model(
        str(tmp_path / "m.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )

    def run(images):
        return {next(iter(k.names)): v for k, v in compiled({"images": images}).items()}

    check_against(model, run, rng)


def test_a_half_precision_model_is_exported_in_float32(make_model, tmp_path, rng):
    model = make_model(dtype="mixed_bfloat16", core="lstm", filters=(4,))
    export_onnx(model, tmp_path / "m.onnx")
    float_model = make_model(core="lstm", filters=(4,))
    float_model.set_weights(model.get_weights())
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    types = {output.name: output.type for output in session.get_outputs()}
    assert types.pop("num_glimpses") == "tensor(int32)"
    assert set(types.values()) == {"tensor(float)"}
    images = images_of((3, 20, 30), rng)
    (logits,) = session.run(["logits"], {"images": images})
    np.testing.assert_allclose(
        logits, float_model.predict(images, verbose=0), atol=1e-4
    )


def test_artifacts_hold_the_names_of_the_classes(make_model, tmp_path):
    names = ["cat", "great tit"]
    model = make_model(num_classes=2, class_names=names, stop_confidence=0.9)
    model.image_sizes = ((8, 9), (30, 20))
    export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["keras_ram.class_names"]) == names
    assert json.loads(metadata["keras_ram.stop_confidence"]) == 0.9
    assert json.loads(metadata["keras_ram.num_glimpses"]) == 3
    assert json.loads(metadata["keras_ram.image_sizes"]) == [[8, 9], [30, 20]]
    export_saved_model(model, tmp_path / "ours")
    model.export(tmp_path / "keras", "tf_saved_model", False)
    for folder in (tmp_path / "ours/1", tmp_path / "keras"):
        assert (folder / "assets/labels.txt").read_text() == "cat\ngreat tit\n"
        told = json.loads((folder / "assets/model.json").read_text())
        assert told["image_sizes"] == [[8, 9], [30, 20]]
        assert told["stop_confidence"] == 0.9
        assert told["class_names"] == names
    # Part of what is loaded, so it goes along when that is saved again.
    loaded = tf.saved_model.load(tmp_path / "ours/1")
    tf.saved_model.save(loaded, tmp_path / "again", signatures=loaded.signatures)
    assert (tmp_path / "again/assets/labels.txt").is_file()


def test_metadata_tells_how_to_use_the_file(onnx_file, model):
    session = onnxruntime.InferenceSession(onnx_file)
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["keras_ram.name"] == model.name
    assert json.loads(metadata["keras_ram.scales"]) == [1, 2]
    assert json.loads(metadata["keras_ram.num_classes"]) == 10
    assert json.loads(metadata["keras_ram.stop_confidence"]) is None
    assert json.loads(metadata["keras_ram.image_sizes"]) == [[8, 8], [8, 8]]
    assert "keras_ram.class_names" not in metadata
    interval = "[0, 255]" if onnx_file.stem == "uint8" else "[0, 1]"
    assert interval in metadata["keras_ram.input"]


def test_other_channels_are_refused_by_saved_models(model, tmp_path):
    export_saved_model(model, tmp_path / "ours")
    model.export(tmp_path / "keras", "tf_saved_model", False)
    for folder in (tmp_path / "ours" / "1", tmp_path / "keras"):
        loaded = tf.saved_model.load(folder)
        signatures = dict(loaded.signatures)
        signatures.pop("serve_bytes", None)  # which decodes to what the model has
        for channels, (name, signature) in itertools.product(
            (2, 3, 4), signatures.items()
        ):
            dtype = "uint8" if "uint8" in name else "float32"
            with pytest.raises(tf.errors.InvalidArgumentError, match="expected shape"):
                signature(images=tf.zeros((3, 20, 30, channels), dtype))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_other_channels_are_refused_by_onnx(channels, onnx_file):
    session = onnxruntime.InferenceSession(onnx_file)
    images = np.zeros((3, 20, 30, channels), onnx_file.stem)
    with pytest.raises(Exception, match="Got invalid dimensions for input: images"):
        session.run(None, {"images": images})


def test_no_image_at_all(model, onnx_file, tmp_path):
    none = np.zeros((0, 20, 30, 1), onnx_file.stem)
    session = onnxruntime.InferenceSession(onnx_file)
    assert session.run(["logits"], {"images": none})[0].shape == (0, 10)
    assert model(none).shape == (0, 10)


def test_artifacts_stop_when_the_model_is_sure(model, tmp_path, rng):
    images = images_of((40, 9, 13), rng)
    logits = model.rollout(images)["logits"][:, :2].numpy()
    tops = keras.ops.convert_to_numpy(keras.ops.max(keras.ops.softmax(logits), axis=-1))
    model.stop_confidence = float(np.median(tops))
    try:
        expected = model.rollout(images)
        assert 3 > np.mean(expected["num_glimpses"]) > 1
        export_saved_model(model, tmp_path / "m")
        export_onnx(model, tmp_path / "m.onnx")
        names = ["logits", "locations", "num_glimpses"]
        session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
        signature = tf.saved_model.load(tmp_path / "m/1").signatures["serving_default"]
        loaded = signature(images=tf.constant(images))
        for seen in (
            dict(zip(names, session.run(names, {"images": images}), strict=True)),
            {name: loaded[name].numpy() for name in names},
        ):
            np.testing.assert_array_equal(
                seen["num_glimpses"], expected["num_glimpses"]
            )
            np.testing.assert_allclose(
                seen["locations"], expected["locations"], atol=1e-4
            )
            np.testing.assert_allclose(
                seen["logits"], expected["logits"][:, -1], atol=1e-4
            )
    finally:
        model.stop_confidence = None


@pytest.mark.slow
def test_artifacts_do_not_grow_with_the_glimpses(make_model, tmp_path):
    nodes = []
    for number in (8, 64):
        export_onnx(make_model(num_glimpses=number), tmp_path / f"{number}.onnx")
        graph = onnx.load(tmp_path / f"{number}.onnx").graph
        (loop,) = [node for node in graph.node if node.op_type == "Loop"]
        nodes.append((len(graph.node), len(loop.attribute[0].g.node)))
    assert nodes[0] == nodes[1]


def test_adapters_are_merged(make_model, tmp_path, rng):
    images = images_of((3, 20, 30), rng)
    model, float_model = make_model(dtype="mixed_bfloat16"), make_model()
    dense = model.glimpse_net.merge
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(rng.normal(size=dense.lora_kernel_b.shape))
    export_onnx(model, tmp_path / "m.onnx")
    float_model.set_weights([w for w in model.weights if "lora" not in w.name])
    a, b = (w.numpy() for w in (dense.lora_kernel_a, dense.lora_kernel_b))
    merged = float_model.glimpse_net.merge.kernel
    merged.assign(merged.numpy() + dense.lora_alpha / 2 * a @ b)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (logits,) = session.run(["logits"], {"images": images})
    # They are merged in the precision of the model, here bfloat16.
    np.testing.assert_allclose(logits, float_model(images), atol=0.02)
    merged.assign(merged.numpy() - dense.lora_alpha / 2 * a @ b)
    assert np.abs(logits - float_model(images)).max() > 0.2


def test_the_graph_has_the_name_of_the_model(onnx_file, model):
    proto = onnx.load(onnx_file)
    assert proto.graph.name == model.name
    assert (proto.producer_name, proto.model_version) == ("keras_ram", 1)


@pytest.mark.parametrize("export", [export_onnx, export_saved_model])
def test_only_a_ram_is_exported(export, model, tmp_path):
    around = keras.Sequential([keras.layers.Rescaling(1 / 255), model])
    with pytest.raises(ValueError, match="Only a `keras_ram.RAM` is exported"):
        export(around, tmp_path / "m")


def test_a_model_without_weights(tmp_path):
    import keras_ram

    with pytest.raises(ValueError, match="The model has no weights yet"):
        export_onnx(keras_ram.RAM(10), tmp_path / "m.onnx")


def test_unknown_input_dtype(model, tmp_path):
    with pytest.raises(
        ValueError, match="`input_dtype` must be one of 'float32', 'uint8'"
    ):
        export_onnx(model, tmp_path / "m.onnx", "int8")


def test_relative_locations_and_inhibition_of_return(make_model, tmp_path, rng):
    model = make_model(
        num_glimpses=4,
        scales=(1, 4),
        relative_locations=True,
        inhibition_of_return=True,
    )
    kernel = model.location_sampler.mean.kernel
    kernel.assign(10 * kernel)  # far from where it looks
    images = images_of((5, 60, 40), rng)
    expected = keras.ops.convert_to_numpy(model.rollout(images)["locations"])
    assert np.abs(np.diff(expected, axis=1)).max() > 0.3
    export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (found,) = session.run(["locations"], {"images": images})
    np.testing.assert_allclose(found, expected, atol=1e-5)
    export_saved_model(model, tmp_path / "m")
    serve = tf.saved_model.load(tmp_path / "m/1").signatures["serving_default"]
    np.testing.assert_allclose(
        serve(tf.constant(images))["locations"], expected, atol=1e-5
    )
