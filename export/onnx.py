"""ONNX, for ONNX Runtime and all that reads the format."""

from keras_ram.export.serving import INPUT, OUTPUTS, check, published, serving_function

OPSET = 18  # the highest that tf2onnx writes


def export_onnx(model, path, input_dtype="float32"):
    """Writes an ONNX file.

    Its input is `images`, its outputs are `logits`, `probabilities` and
    `locations`, as for `export_saved_model`; batch, height and width are free.
    What was written is checked, run in ONNX Runtime, and compared with the
    model before it is published.

    Args:
        model: A `keras_ram.RAM` that was built: fitted, called or loaded.
        path: The file to write. Must not exist yet.
        input_dtype: `"float32"` (pixels in [0, 1]) or `"uint8"` (in [0, 255]).

    Returns:
        Float, the largest difference to the model's logits that was seen.

    Raises:
        FileExistsError: If the file exists. It is left as it was.
        RuntimeError: If what was written does not agree with the model.
        ValueError: If the model was not built.
    """
    import onnx
    import onnxruntime
    import tf2onnx

    if input_dtype not in ("float32", "uint8"):
        raise ValueError(
            f'`input_dtype` must be "float32" or "uint8". Received: {input_dtype!r}'
        )
    function = serving_function(model, input_dtype)
    with published(path) as file:
        proto, _ = tf2onnx.convert.from_function(
            function, function.input_signature, opset=OPSET
        )
        _name_dimensions(proto)
        onnx.checker.check_model(proto, full_check=True)
        onnx.save(proto, file)
        session = onnxruntime.InferenceSession(file)

        def run(images):
            outputs = session.run(OUTPUTS, {INPUT: images})
            return dict(zip(OUTPUTS, outputs, strict=True))

        return check(model, run, input_dtype)


def _name_dimensions(proto):
    (images,) = proto.graph.input
    for value in (images, *proto.graph.output):
        names = ("batch", "height", "width") if value is images else ("batch",)
        for dimension, name in zip(
            value.type.tensor_type.shape.dim, names, strict=False
        ):
            dimension.dim_param = name
