"""The folder of a run: one process trains there at a time."""

import os
import platform
import signal
import subprocess
import sys

import pytest

from tests.helpers import ROOT, tiny
from veegan_jax import train as module
from veegan_jax.errors import UserError
from veegan_jax.train import train
from veegan_jax.workdir import LOCK, held

HOLD = """
import sys, time
from pathlib import Path
from veegan_jax.workdir import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that trains in `tmp_path`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, env=environment)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_second_process_is_refused_and_told_of_the_first(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(module, "fused_step", None)  # nothing is compiled
    with pytest.raises(UserError) as refused:
        train(tiny(), tmp_path)
    assert str(refused.value) == (
        f"--workdir {tmp_path} is in use: process {holder.pid} on {platform.node()} trains there; wait until it ends, "
        "stop it, or name another workdir"
    )
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_lock_dies_with_the_process(tmp_path, holder, number):
    holder.send_signal(number)
    holder.wait()
    with held(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"process {os.getpid()} on {platform.node()}\n"


def test_lock_ends_with_an_error_and_holds_within_one_process_too(tmp_path):
    with pytest.raises(UserError, match=f"process {os.getpid()} on "), held(tmp_path), held(tmp_path):
        pass
    with held(tmp_path / "row"), held(tmp_path):  # a comparison holds its folder, and each row its own
        pass


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"--workdir {tmp_path}/file/run cannot be written: Not a directory"):
        train(tiny(), tmp_path / "file" / "run")
