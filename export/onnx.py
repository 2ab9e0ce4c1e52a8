"""ONNX, for ONNX Runtime and all that reads the format."""

import json

from keras_ram.export.check import check, signature
from keras_ram.export.publication import published

from keras_ram.extras import extra
from keras_ram.server import OUTPUTS, Server, describe
from keras_ram.validation import check_choice, check_file

OPSET = 18  # the highest that tf2onnx writes
SCALING = {
    "float32": "images: float32 in [0, 1], channels last; divide bytes by 255",
    "uint8": "images: uint8 in [0, 255], channels last; the model scales them",
}


def export_onnx(model, path, input_dtype="float32", overwrite=False):
    """Writes an ONNX file.

    Its input is `images`. Its outputs are those of `export_saved_model`: `logits`,
    `probabilities`, `locations`, `num_glimpses` and `step_probabilities`. Batch,
    height and width are free.
    The file's metadata tell the settings of the model, the names of its classes, the
    sizes of the training images and how to scale pixels; what is no string is JSON.
    What was written is checked, run in ONNX Runtime, and compared with the
    model before it is published.

    Args:
        model: A `keras_ram.RAM` that was built: fitted, called or loaded.
        path: The file to write.
        input_dtype: `"float32"` (pixels in [0, 1]) or `"uint8"` (in [0, 255]).
        overwrite: Bool. Replace the file if it exists.

    Returns:
        Float, the largest difference to the model's logits that was seen.

    Raises:
        FileExistsError: If the file exists. It is left as it was.
        IsADirectoryError: If `path` is a folder.
        RuntimeError: If what was written does not agree with the model.
        ValueError: If the model was not built.

    Example:

    >>> import os, tempfile
    >>> from keras_ram.export import export_onnx
    >>> model = keras_ram.RAM(num_classes=10, num_glimpses=2)
    >>> model.build((None, 28, 28, 1))
    >>> export_onnx(model, os.path.join(tempfile.mkdtemp(), "ram.onnx")) < 0.1
    True
    """
    with extra("export"):
        import onnx
        import onnxruntime
        import tf2onnx
        from keras_ram.export.onnx_loops import hoist_invariants
        from tf2onnx.optimizer import ConstFoldOptimizer, IdentityOptimizer

    check_choice("input_dtype", input_dtype, tuple(SCALING))
    check_file("path", path)
    server = Server(model)
    with published(path, overwrite) as file:
        # These two leave weights as quantizers need them. What the other ten do,
        # runtimes do as well when they load the file; they made it no faster, and
        # took two thirds of the conversion's time.
        proto, _ = tf2onnx.convert.from_keras(
            server,
            signature(server, input_dtype),
            OPSET,
            optimizers={
                "fold_constants": ConstFoldOptimizer,
                "remove_identity": IdentityOptimizer,
            },
        )
        hoist_invariants(proto.graph)
        _name(proto, model)
        onnx.helper.set_model_props(proto, _metadata(model, input_dtype))
        onnx.checker.check_model(proto, full_check=True)
        onnx.save(proto, file)
        session = onnxruntime.InferenceSession(file)

        def run(images):
            outputs = session.run(OUTPUTS, {"images": images})
            return dict(zip(OUTPUTS, outputs, strict=True))

        return check(server, [run], input_dtype)


def _metadata(model, input_dtype):
    values = {**describe(model), "input": SCALING[input_dtype]}
    if not model.class_names:
        del values["class_names"]
    return {
        f"keras_ram.{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }


def _name(proto, model):
    proto.producer_name, proto.model_version = "keras_ram", 1
    proto.graph.name = model.name
    (images,) = proto.graph.input
    for value in (images, *proto.graph.output):
        names = ("batch", "height", "width") if value is images else ("batch",)
        for dimension, name in zip(
            value.type.tensor_type.shape.dim, names, strict=False
        ):
            dimension.dim_param = name
