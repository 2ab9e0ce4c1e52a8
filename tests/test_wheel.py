"""What is built holds all that users need, and works far from a checkout."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import keras_ram

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
FOLDERS = ("keras_ram", "export", "tests")
FILES = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg")
NEWCOMER = """
import importlib.metadata
import sys
import numpy as np
import keras_ram
from keras_ram.export import export_onnx, export_saved_model

assert keras_ram.__file__.startswith(sys.prefix), keras_ram.__file__
assert keras_ram.__version__ == importlib.metadata.version("keras_ram")
model = keras_ram.RAM.from_preset("ram_mnist")
images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1), "uint8")
keras_ram.plot_glimpses(model, images).savefig("glimpses.png")
export_saved_model(model, "served")
export_onnx(model, "ram.onnx")
"""


def run(*command, **options):
    process = subprocess.run(command, capture_output=True, text=True, **options)
    assert process.returncode == 0, process.stderr
    return process.stdout


def build(kind, tree, folder):
    """As `pip` does, with the setuptools that is installed."""
    code = f"import setuptools.build_meta as b; print(b.build_{kind}({str(folder)!r}))"
    *_, name = run(sys.executable, "-c", code, cwd=tree).split()
    return folder / name


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, ignore=ignore)
    for name in FILES:
        shutil.copy(ROOT / name, tree)
    return build("sdist", tree, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(sdist):
    """Built from the sdist, which therefore holds all that it takes."""
    shutil.unpack_archive(sdist, sdist.parent, filter="data")
    tree = sdist.with_name(sdist.name.removesuffix(".tar.gz"))
    return build("wheel", tree, sdist.parent)


def package_files(*suffixes):
    return {
        path.relative_to(ROOT).as_posix()
        for folder in ("keras_ram", "export")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes
    }


def test_the_sdist_holds_the_package(sdist):
    with tarfile.open(sdist) as archive:
        names = [member.name.partition("/")[2] for member in archive if member.isfile()]
    assert package_files(".py", ".keras", ".md") | {"LICENSE"} <= set(names)
    assert not [name for name in names if "test" in name]


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    metadata = f"keras_ram-{keras_ram.__version__}.dist-info/"
    assert any(name.startswith(metadata) and "LICENSE" in name for name in names)
    installed = {
        name.replace("export/", "keras_ram/export/", 1)
        for name in package_files(".py", ".keras", ".md")
    }
    assert {name for name in names if not name.startswith(metadata)} == installed


def test_a_newcomer_uses_the_wheel(wheel, tmp_path):
    env = tmp_path / "env"
    run(sys.executable, "-m", "venv", "--without-pip", env)
    python = env / "bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-index", "--no-deps", wheel)
    # What it depends on is not installed twice. Of this suite's packages the
    # environment sees all but those that are edited in a checkout.
    (site,) = env.glob("lib/python*/site-packages")
    paths = [path for path in sys.path if path.endswith("-packages")]
    (site / "dependencies.pth").write_text("\n".join(paths))
    run(python, "-c", NEWCOMER, cwd=tmp_path)
    assert (tmp_path / "glimpses.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "served/1/saved_model.pb").is_file()
    assert (tmp_path / "ram.onnx").is_file()
