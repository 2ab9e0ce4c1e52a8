"""An artifact appears as a whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from keras_ram.export import check, export_onnx, export_saved_model


@pytest.fixture
def model(make_model):
    return make_model(num_glimpses=1)


def test_a_link_is_replaced_and_not_followed(model, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").touch()
    (tmp_path / "ram").mkdir()
    (tmp_path / "ram/1").symlink_to(tmp_path / "elsewhere")
    export_saved_model(model, tmp_path / "ram", overwrite=True)
    assert [path.name for path in (tmp_path / "ram").iterdir()] == ["1"]
    assert (tmp_path / "ram/1/saved_model.pb").exists()
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["kept"]


def test_a_folder_is_not_replaced_by_a_file(model, tmp_path):
    with pytest.raises(IsADirectoryError, match="`path` must be a file"):
        export_onnx(model, tmp_path, overwrite=True)


@pytest.mark.parametrize("export", [export_onnx, export_saved_model])
def test_overwrite_replaces(export, model, tmp_path):
    export(model, tmp_path / "m")
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export(model, tmp_path / "m")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == times
    before = {p: p.stat().st_ino for p in tmp_path.rglob("*") if p.is_file()}
    export(model, tmp_path / "m", overwrite=True)
    after = {p: p.stat().st_ino for p in tmp_path.rglob("*") if p.is_file()}
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


KILLED = """
import os, signal, sys
import keras, tensorflow as tf
from keras_ram.export import export_saved_model, saved_model
saved_model.check = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
export_saved_model(keras.saving.load_model(sys.argv[1]), sys.argv[2], overwrite=True)
"""


@pytest.mark.slow
def test_a_killed_export_leaves_what_stood_there(model, tmp_path):
    """Killed when everything is written and nothing published."""
    model.save(tmp_path / "m.keras")
    export_saved_model(model, tmp_path / "m")
    stood = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    process = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "m.keras", tmp_path / "m"]
    )
    assert process.returncode == -signal.SIGKILL
    assert {p: p.read_bytes() for p in stood} == stood
    tf.saved_model.load(tmp_path / "m/1")
    # The next export sweeps what the killed one left.
    export_saved_model(model, tmp_path / "m", overwrite=True)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["1"]


def test_a_replacement_killed_between_two_renames_is_taken_back(model, tmp_path):
    export_saved_model(model, tmp_path / "m")
    os.rename(tmp_path / "m/1", tmp_path / "m/.1.replaced")
    with pytest.raises(FileExistsError):
        export_saved_model(model, tmp_path / "m")
    tf.saved_model.load(tmp_path / "m/1")


def test_a_full_disk_publishes_nothing(model, tmp_path, monkeypatch):
    # The real one fails in the same call.
    def no_space(proto, file):
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("onnx.save", no_space)
    with pytest.raises(OSError, match="No space left"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_new_version_stands_beside_the_old(model, tmp_path):
    for version in (1, 2):
        export_saved_model(model, tmp_path / "m", version)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["1", "2"]


@pytest.mark.parametrize("export", [export_onnx, export_saved_model])
def test_a_failed_check_publishes_nothing(export, model, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "TYPICAL", 0.0)
    with pytest.raises(RuntimeError, match="Nothing was published"):
        export(model, tmp_path / "m")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
