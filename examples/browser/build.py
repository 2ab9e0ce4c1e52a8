"""Builds a page on which a visitor watches pretrained classifiers look.

python examples/browser/build.py OUT
python -m http.server --directory OUT   # or any other static server

OUT then holds the page, ONNX Runtime for browsers, the presets as ONNX, and 200
digits of the MNIST test set (or, without MNIST, of scikit-learn's digits). It needs
no other host, works from a sub-path, and is kept by the browser for use without
network. npm, which comes with Node, fetches ONNX Runtime.
"""

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras_ram.export import export_onnx

import keras_ram
from keras_ram import datasets

HERE = Path(__file__).parent
RUNTIME = "onnxruntime-web@1.30.0"
RUNTIME_FILES = {
    "ort.wasm.bundle.min.mjs": "ort.js",  # a name that every server knows
    "ort-wasm-simd-threaded.wasm": "ort.wasm.gz",
}
SCRIPTS = ("app.js", "drawing.js", "image.js", "model.js", "pointer.js")
PAGE = ("index.html", "style.css", *SCRIPTS)
# Preset -> side of the canvas and pieces on it, as in its training.
PRESETS = {
    "ram_cluttered_mnist_100": (100, 8),
    "ram_cluttered_mnist_60": (60, 4),
    "ram_translated_mnist_60": (60, 0),
    "ram_mnist": (28, 0),
}
NUM_DIGITS = 200


def main(arguments=None):
    """Builds, and prints what a visitor downloads."""
    options = parse_arguments(arguments)
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    copy_runtime(out)
    source = write_digits(out / "digits.bin", options.data_dir)
    presets = [write_preset(out, name) for name in options.presets]
    for name in PAGE:
        shutil.copy(HERE / name, out)
    first = [*PAGE, *RUNTIME_FILES.values(), "digits.bin", presets[0]["file"]]
    every = [*first, *(preset["file"] for preset in presets[1:])]
    site = {
        "presets": presets,
        "digits": {"count": NUM_DIGITS, "source": source},
        "runtime": RUNTIME,
        "first_bytes": size(out, first),
        "bytes": size(out, every),
    }
    (out / "site.json").write_text(json.dumps(site, indent=1), encoding="utf-8")
    write_service_worker(out, ["./", "site.json", *every])
    print(f"{out}: {site['first_bytes'] / 1e6:.1f} MB to begin with,", end=" ")
    print(f"{site['bytes'] / 1e6:.1f} MB with all presets")


def parse_arguments(arguments):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the page")
    parser.add_argument(
        "--presets",
        nargs="+",
        choices=PRESETS,
        default=list(PRESETS),
        help="the first is shown first",
    )
    parser.add_argument(
        "--data-dir", type=Path, help="folder of MNIST's idx files, if at hand"
    )
    return parser.parse_args(arguments)


def copy_runtime(out):
    """Fetches ONNX Runtime for browsers, and copies the smallest of its builds."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(
            "error: npm fetches ONNX Runtime, and is missing: install Node"
        )
    with tempfile.TemporaryDirectory() as folder:
        pack = [npm, "pack", RUNTIME, "--ignore-scripts", "--prefer-offline"]
        process = subprocess.run(pack, cwd=folder, capture_output=True, text=True)
        if process.returncode:
            raise SystemExit(f"error: npm could not fetch {RUNTIME}:\n{process.stderr}")
        (package,) = Path(folder).glob("*.tgz")
        with tarfile.open(package) as files:
            for name, copy in RUNTIME_FILES.items():
                data = files.extractfile(f"package/dist/{name}").read()
                write(out / copy, data)


def write(path, data):
    """Writes bytes, packed if the name says so: not every server packs."""
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def write_digits(path, data_dir):
    """Writes labels and pixels of test digits, and tells where they come from."""
    try:
        images, labels = datasets.load_mnist(data_dir)[2]
        source = "the MNIST test set"
    except (FileNotFoundError, ImportError):
        images, labels = enlarged(*datasets.load_digits()[2])
        source = "scikit-learn's digits"
    pixels = images[:NUM_DIGITS].tobytes()
    path.write_bytes(labels[:NUM_DIGITS].astype("uint8").tobytes() + pixels)
    return source


def enlarged(images, labels):
    """Digits of 8x8 pixels as MNIST would hold them: 20x20, in a frame."""
    images = keras.ops.image.resize(images, (20, 20), data_format="channels_last")
    images = np.pad(
        keras.ops.convert_to_numpy(images), ((0, 0), (4, 4), (4, 4), (0, 0))
    )
    return np.round(255 * images).astype("uint8"), labels


def write_preset(out, name):
    """Writes a preset as ONNX, and tells the page what it has to know of it."""
    model = keras_ram.RAM.from_preset(name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export_onnx(model, file, input_dtype="uint8")
        write(out / f"{name}.onnx.gz", file.read_bytes())
    canvas, pieces = PRESETS[name]
    return {
        "name": name,
        "about": keras_ram.RAM.presets[name],
        "file": f"{name}.onnx.gz",
        "size": canvas,
        "pieces": pieces,
        "num_glimpses": model.num_glimpses,
        "patch_size": model.glimpse_sensor.patch_size,
        "scales": model.glimpse_sensor.scales,
        "class_names": [str(label) for label in range(model.num_classes)],
    }


def write_service_worker(out, files):
    """Writes the service worker, which differs wherever a file differs."""
    contents = [(out / name).read_bytes() for name in files if name != "./"]
    version = hashlib.sha256(b"".join(contents)).hexdigest()[:16]
    top = (
        f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(files)};\n"
    )
    worker = (HERE / "sw.js").read_text(encoding="utf-8")
    (out / "sw.js").write_text(top + worker, encoding="utf-8")


def size(out, files):
    """Bytes of some files."""
    return sum((out / name).stat().st_size for name in files)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
