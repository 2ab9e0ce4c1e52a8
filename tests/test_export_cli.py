"""`python -m keras_ram.export`."""

import re
import subprocess
import sys

import onnxruntime
import pytest
from keras_ram.export.__main__ import main


@pytest.fixture(scope="module")
def file(make_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "m.keras"
    make_model().save(path)
    return path


def test_onnx_from_a_shell(file, tmp_path):
    options = [file, tmp_path, "--format", "onnx", "--input-dtype", "uint8"]
    process = subprocess.run(
        [sys.executable, "-m", "keras_ram.export", *options],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    (written,) = tmp_path.iterdir()
    (images,) = onnxruntime.InferenceSession(written).get_inputs()
    assert images.type == "tensor(uint8)"
    size = f"{written.stat().st_size:,} bytes"
    for text in (str(written), size, "input   images", "output  logits", "largest"):
        assert text in process.stdout


def test_saved_model_and_a_refusal(file, tmp_path, capsys):
    arguments = [str(file), str(tmp_path / "m"), "--version", "3"]
    assert main(arguments) == 0
    assert str(tmp_path / "m/3/saved_model.pb") in capsys.readouterr().out
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("error: There is something at")
    assert main([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize(
    "model,message",
    [
        ("ram_nothing", "error: There is no preset and no file 'ram_nothing'"),
        (__file__, "error: .* could not be loaded. Is the file damaged"),
    ],
)
def test_errors_are_one_line(model, message, tmp_path, capsys):
    assert main([model, str(tmp_path / "m")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(message, line)
    assert not (tmp_path / "m").exists()


def test_wrong_arguments_and_help(capsys):
    for arguments, code in ((["--format", "coreml"], 2), (["--help"], 0)):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == code
    assert "--overwrite" in capsys.readouterr().out
