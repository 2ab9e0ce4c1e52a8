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


@pytest.mark.slow
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


def test_names_from_a_file(file, tmp_path, capsys):
    names = [f"class {number}" for number in range(9)] + ["größer, 中"]
    (tmp_path / "names.txt").write_text("\n".join(names), encoding="utf-8")
    options = ["--class-names", str(tmp_path / "names.txt")]
    assert main([str(file), str(tmp_path / "m"), *options]) == 0
    assert "classes class 0, class 1" in capsys.readouterr().out
    labels = tmp_path / "m/1/assets/labels.txt"
    assert labels.read_text(encoding="utf-8").splitlines() == names
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    assert main([str(file), str(tmp_path / "n"), *options]) == 1
    assert "must hold 10 names, one for each class" in capsys.readouterr().err
    options[1] = str(tmp_path / "nothing.txt")
    assert main([str(file), str(tmp_path / "n"), *options]) == 1
    assert "No such file" in capsys.readouterr().err


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
