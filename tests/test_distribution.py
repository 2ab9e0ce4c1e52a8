"""More than one device: the same weights as on one, for the same global batch."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from backends import BACKEND

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "clients" / "data_parallel.py"
tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="of tf.distribute")


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, SCRIPT, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes, first_epoch=0):
    for process in processes:
        output, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-2000:]
        assert output.startswith(f"epoch {first_epoch}\n")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The weights after training on one device."""
    path = tmp_path_factory.mktemp("one") / "weights.npz"
    finish(start("one", path))
    return np.load(path)


def assert_same(path, expected):
    weights = np.load(path)
    assert weights.files == expected.files
    for name in expected.files:
        np.testing.assert_allclose(weights[name], expected[name], rtol=0, atol=1e-6)


@tensorflow
def test_mirrored_strategy(expected, tmp_path):
    finish(start("mirrored", tmp_path / "weights.npz"))
    assert_same(tmp_path / "weights.npz", expected)


def start_workers(folder, kill):
    """Two processes; the second one dies if `kill`."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for free in sockets:
        free.close()
    processes = []
    for index in range(2):
        config = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
        }
        arguments = [folder / f"weights{index}.npz", folder / f"backup{index}"]
        if kill and index == 1:
            arguments.append("kill")
        processes.append(start("multiworker", *arguments, TF_CONFIG=json.dumps(config)))
    return processes


@tensorflow
def test_workers_resume_after_one_was_killed(expected, tmp_path):
    survivor, victim = start_workers(tmp_path, kill=True)
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    survivor.kill()
    survivor.communicate()
    assert not list(tmp_path.glob("weights*"))
    assert list((tmp_path / "backup1").iterdir())
    finish(*start_workers(tmp_path, kill=False), first_epoch=1)
    for index in range(2):
        assert_same(tmp_path / f"weights{index}.npz", expected)


@pytest.mark.skipif(BACKEND != "jax", reason="Keras has it on JAX")
def test_data_parallel(expected, tmp_path):
    path = tmp_path / "weights.npz"
    finish(
        start(
            "dataparallel",
            path,
            XLA_FLAGS="--xla_force_host_platform_device_count=2",
        )
    )
    assert_same(path, expected)
