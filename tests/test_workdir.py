"""The folder of a run: one process trains there at a time, and what is written there is whole or one error."""

import os
import platform
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.helpers import ROOT, tiny
from veegan_jax.errors import UserError
from veegan_jax.evaluation.scores import Evaluation
from veegan_jax.experiments import run as module
from veegan_jax.experiments.compare import compare
from veegan_jax.experiments.run import train
from veegan_jax.storage.files import append, cannot_write, replacing, sync, write_atomically
from veegan_jax.storage.folder import LOCK, locked

HOLD = """
import sys, time
from pathlib import Path
from veegan_jax.storage.folder import locked
with locked(Path(sys.argv[1])):
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


def test_second_process_is_refused_and_the_first_is_named(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(module, "fused_step", None)  # nothing is compiled
    with pytest.raises(UserError) as refused:
        train(tiny(), tmp_path)
    assert str(refused.value) == (
        f"--workdir {tmp_path} is in use: process {holder.pid} on {platform.node()} trains there; wait until it ends, "
        "stop it, or name another workdir"
    )
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_second_comparison_is_refused_and_a_row_of_one_that_goes_on(tmp_path, holder):
    config = tiny()
    with config.unlocked():
        config.compare = ConfigDict({"gan": {"objective": "gan"}})
    with pytest.raises(UserError, match=f"{tmp_path} is in use: process {holder.pid} "):
        compare(config, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    with locked(tmp_path / "other" / "gan"), pytest.raises(UserError, match=f"gan is in use: process {os.getpid()} "):
        compare(config, tmp_path / "other")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_lock_dies_with_the_process(tmp_path, holder, number):
    holder.send_signal(number)
    holder.wait()
    with locked(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"process {os.getpid()} on {platform.node()}\n"


def test_lock_ends_with_an_error_and_holds_within_one_process_too(tmp_path):
    with pytest.raises(UserError, match=f"process {os.getpid()} on "), locked(tmp_path), locked(tmp_path):
        pass
    with locked(tmp_path / "row"), locked(tmp_path):  # a comparison holds its folder, and each row its own
        pass


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"--workdir {tmp_path}/file/run cannot be written: Not a directory"):
        train(tiny(), tmp_path / "file" / "run")


def test_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "results.json"
    write_atomically(path, "old")
    (tmp_path / "folder" / "results.json.tmp").symlink_to("/dev/full")
    with pytest.raises(UserError) as full:
        write_atomically(path, "new")
    assert str(full.value) == (
        f"{path} could not be written: No space left on device. Mend the disk (space? rights? is the folder still "
        "there?) and run the same command again"
    )
    assert path.read_text() == "old"
    with pytest.raises(ValueError, match="Object arrays"), replacing(path) as file:
        np.savez(file, whole=np.ones(9), never=np.array([None]), allow_pickle=False)
    assert path.read_text() == "old"
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["results.json"]


def test_what_is_appended_to_is_never_begun_in_its_middle(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for write in (lambda: append(path, b"row 2\n"), lambda: sync(path)):
        with pytest.raises(UserError, match=f"{path} could not be written: No such file or directory"):
            write()
    path.write_bytes(b"row 1\n")
    append(path, b"row 2\n")
    sync(path)
    assert path.read_bytes() == b"row 1\nrow 2\n"


def test_reasons_in_the_words_of_libraries_become_those_of_the_system():
    wrapped = RuntimeError("RESOURCE_EXHAUSTED: Error writing local file: [OS error 28: No space left on device]\nat …")
    assert "x could not be written: No space left on device. Mend" in str(cannot_write("x", wrapped))
    assert "x could not be written: odd. Mend" in str(cannot_write("x", ValueError("odd\nand long")))
    assert "x could not be written: KeyError. Mend" in str(cannot_write("x", KeyError()))


def test_workdir_that_vanishes_in_a_run_is_one_line_and_stays_away(tmp_path, monkeypatch):
    """The folder goes after the last checkpoint, while nothing is being saved."""
    saved, real = tmp_path / "run" / "checkpoints" / "8", Evaluation.measure

    def measure(*arguments):
        # The rows of steps 2, 4 and 6 are there.
        if (tmp_path / "run" / "metrics.jsonl").read_bytes().count(b"\n") == 3:
            while not saved.exists():
                time.sleep(0.01)
            shutil.rmtree(tmp_path / "run")
        return real(*arguments)

    monkeypatch.setattr(Evaluation, "measure", measure)
    with pytest.raises(UserError, match=f"{tmp_path}/run/.* could not be written: No such file or directory"):
        train(tiny(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
