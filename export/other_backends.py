"""Export from JAX and PyTorch: TensorFlow loads the model's file and writes it."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from keras_ram.validation import check_file


def export_saved_model(model, path, version=1, overwrite=False):
    """Writes `path/version/`, as on the TensorFlow backend.

    The model is saved to a temporary `.keras` file, and a process on the
    TensorFlow backend exports that.

    Args:
        model, path, version, overwrite: As on the TensorFlow backend.

    Returns:
        Float, the largest difference to the model's logits that was seen.

    Raises:
        ImportError: If TensorFlow is not installed.
        RuntimeError: If nothing was exported; it tells why.
    """
    return _export(model, path, overwrite, "--version", str(version))


def export_onnx(model, path, input_dtype="float32", overwrite=False):
    """Writes an ONNX file, as on the TensorFlow backend.

    Args:
        model, path, input_dtype, overwrite: As on the TensorFlow backend.

    Returns, Raises:
        As `export_saved_model`, and an `IsADirectoryError` if `path` is a folder.
    """
    check_file("path", path)  # into a folder the command would write a file
    options = ("--format", "onnx", "--input-dtype", input_dtype)
    return _export(model, path, overwrite, *options)


def _export(model, path, overwrite, *options):
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            "Artifacts are written by TensorFlow. Install it with "
            "`pip install 'keras_ram[export]'`."
        )
    path = Path(path)  # a file, even with a slash at its end
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        process = subprocess.run(
            [
                *(sys.executable, "-m", "keras_ram.export", file, path, *options),
                *(["--overwrite"] if overwrite else []),
            ],
            env={**os.environ, "KERAS_BACKEND": "tensorflow"},
            capture_output=True,
            text=True,
        )
    if process.returncode:
        *_, reason = process.stderr.strip().split("\n")
        raise RuntimeError(reason or f"The exporter ended with {process.returncode}.")
    return float(process.stdout.split()[-1])
