"""Exports a trained model from a shell.

python -m keras_ram.export model.keras served/ram
python -m keras_ram.export model.keras ram.onnx --format onnx
"""

import argparse
import signal
import sys
from pathlib import Path

from keras_ram.export import export_onnx, export_saved_model

import keras_ram


def main(arguments=None):
    """Exports, and prints what was written.

    Returns:
        Int, the exit code: 0, or 1 if nothing was exported. Wrong arguments
        exit with 2.
    """
    options = parse_arguments(arguments)
    try:
        model = keras_ram.RAM.from_preset(options.model)
        if options.class_names:
            text = options.class_names.read_text(encoding="utf-8-sig")
            model.class_names = text.splitlines()
        if options.format == "onnx":
            path = Path(options.output)
            if path.is_dir() or options.output.endswith("/"):
                path = path / f"{model.name}.onnx"
            difference = export_onnx(
                model, path, options.input_dtype, options.overwrite
            )
        else:
            path = Path(options.output, str(options.version))
            difference = export_saved_model(
                model, options.output, options.version, options.overwrite
            )
    except Exception as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    report(model, path, options, difference)
    return 0


def parse_arguments(arguments):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_ram.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="a `.keras` file, or the name of a preset")
    parser.add_argument(
        "output",
        help="for saved_model the folder of its versions; for onnx the file, or a "
        "folder, which ends in /",
    )
    parser.add_argument(
        "--format", choices=("saved_model", "onnx"), default="saved_model"
    )
    parser.add_argument("--version", type=int, default=1, help="of the SavedModel")
    parser.add_argument(
        "--input-dtype",
        choices=("float32", "uint8"),
        default="float32",
        help="of the ONNX file; a SavedModel takes both",
    )
    parser.add_argument(
        "--class-names",
        type=Path,
        metavar="FILE",
        help="the names of the classes, one a line, in place of the model's own",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what is there"
    )
    return parser.parse_args(arguments)


def report(model, path, options, difference):
    """Prints files and sizes, inputs and outputs, and the check's result."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    for file in files:
        if file.is_file():
            print(f"{file}  {file.stat().st_size:,} bytes")
    channels, steps = model.input_spec.axes[-1], model.num_glimpses
    dtype = options.input_dtype if options.format == "onnx" else "float32 or uint8"
    print(f"input   images (batch, height, width, {channels}) {dtype}")
    if options.format == "saved_model" and channels in (1, 3):
        print("input   image_bytes (batch,) JPEG or PNG files, of any size each")
    if model.class_names:
        print(f"classes {', '.join(model.class_names)}")
    print(f"output  logits (batch, {model.num_classes}) float32")
    of_sets = ", each class by itself" if model.multi_label else ""
    print(f"output  probabilities (batch, {model.num_classes}) float32{of_sets}")
    print(f"output  locations (batch, {steps}, 2) float32")
    print("output  num_glimpses (batch,) int32")
    print(f"output  step_probabilities (batch, {steps}, {model.num_classes}) float32")
    print(f"largest difference to the model's logits: {difference:.1e}")


if __name__ == "__main__":
    # An exception, so that a half-written artifact is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
