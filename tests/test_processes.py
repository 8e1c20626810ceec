"""Several processes: how they join and wait for one another, end together, and compute the bits of one process."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import ROOT
from tests.test_main import SMALL, assert_rows_are_whole, digests, environment
from tests.test_supervise import status
from veegan_jax.errors import UserError
from veegan_jax.parallel import processes
from veegan_jax.parallel.process_group import ProcessGroup, process_group

COORDINATOR = "10.0.0.1:1234"


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)


def test_flags_and_environment_say_who_joins(monkeypatch):
    assert process_group(False, ProcessGroup()) is None
    assert process_group(True, ProcessGroup()) == ProcessGroup()
    assert process_group(False, ProcessGroup(COORDINATOR, 3, 2)) == ProcessGroup(COORDINATOR, 3, 2)
    assert process_group(False, ProcessGroup(COORDINATOR, 1, 0)) is None  # a single process
    assert process_group(False, ProcessGroup(num_processes=1)) is None
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", COORDINATOR)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
    monkeypatch.setenv("JAX_PROCESS_ID", "0")
    assert process_group(False, ProcessGroup()) == ProcessGroup(COORDINATOR, 4, 0)
    assert process_group(False, ProcessGroup(process_id=3)) == ProcessGroup(COORDINATOR, 4, 3)  # flags come first


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            (COORDINATOR, None, None),
            r"needs --num_processes \(how many\), --process_id \(which, from 0\) too, or --dist",
        ),
        ((None, 2, 0), r"needs --coordinator \(HOST:PORT of process 0\) too"),
        (("10.0.0.1", 2, 0), "--coordinator is '10.0.0.1'; it must be HOST:PORT"),
        ((COORDINATOR, 0, 0), "--num_processes is 0; it must be at least 1"),
        ((COORDINATOR, 2, 2), "--process_id is 2; of 2 processes it must be 0 to 1"),
        ((COORDINATOR, 2, -1), "--process_id is -1"),
    ],
)
def test_half_a_cluster_is_refused(given, says):
    with pytest.raises(UserError, match=says):
        process_group(False, ProcessGroup(*given))


def test_a_variable_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "many")
    with pytest.raises(UserError, match="JAX_NUM_PROCESSES is 'many'; it must be a number"):
        process_group(False, ProcessGroup(COORDINATOR, None, 0))


def test_all_limits_follow_the_heartbeat():
    group = ProcessGroup(heartbeat_seconds=20)
    assert (group.reading_seconds, group.hanging_seconds) == (30, 40)


def test_a_single_process_waits_for_nothing():
    assert processes.is_primary()
    assert processes.run_on_primary("here", lambda: 3) == 3
    tree = {"a": np.float32(-0.0)}
    assert processes.broadcast(tree) is tree


# The rest starts two processes of two devices each, by the launch script.

STEPS = 120
SIZES = [
    f"--config.num_steps={STEPS}", "--config.save_every=20", "--config.eval_every=60", "--config.log_every=10",
    "--config.logical_shards=8", "--heartbeat_seconds=5",
]  # fmt: skip


@contextlib.contextmanager
def started(workdir, *arguments, devices=2):
    """Starts the launch script, whose output is that of both processes, each line after the number of its process."""
    config = str(ROOT / "configs" / "ring.py")
    command = [ROOT / "launch" / "local.sh", "2", config, f"--devices={devices}", *SMALL, *SIZES]
    process = subprocess.Popen(
        [*command, f"--workdir={workdir}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment(), "PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=90)


def wait_for(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return
    pytest.fail("".join(lines))


def child_of(number, workdir):
    """The child in which process `number` of the run does its work."""
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            variables = Path(f"/proc/{entry}/environ").read_text()
            arguments = Path(f"/proc/{entry}/cmdline").read_text()
            above = Path(f"/proc/{status(entry)[1]}/cmdline").read_text()
        except OSError:
            continue
        if f"JAX_PROCESS_ID={number}\0" in variables and str(workdir) in arguments and "veegan_jax.main" in above:
            return int(entry)
    raise AssertionError(f"process {number} has no child")


@pytest.mark.slow  # Seven real processes: only here is a run of two of them killed, and compared with a run of one.
def test_two_processes_of_which_one_is_killed_resume_to_the_bits_of_one_process(fork_server, tmp_path):
    together, alone = tmp_path / "together", tmp_path / "alone"
    with started(together) as process:
        wait_for(process, "step 70/")
        os.kill(child_of(1, together), signal.SIGKILL)
        out = process.communicate(timeout=120)[0]
    assert process.returncode == 76, out
    assert re.search(r"\[0\] error: process 1 on \S+ died or hangs, and process 0 on", out), out
    assert re.search(r"\[1\] error: process 1 on \S+ was ended by SIGKILL; start all processes again", out), out
    assert "Traceback" not in out

    newest = max((path for path in (together / "checkpoints").iterdir()), key=lambda path: int(path.name))
    for file in (newest / "state").rglob("d/*"):
        file.write_bytes(b"damaged as well")
    with started(together, devices=4) as process:  # eight in all
        out = process.communicate(timeout=300)[0]
    assert process.returncode == 0, out
    assert re.search(rf"\[0\] warning: {newest} is damaged: .*; step {int(newest.name) - 20} is used instead", out), out
    assert re.search(rf"resuming at step {int(newest.name) - 20}, to step 120, on 8 cpu devices of 2 processes", out)
    assert out.count("veegan, step 120") == 1
    assert "[1]" not in out

    run(fork_server, f"--config={ROOT / 'configs' / 'ring.py'}", *SMALL, *SIZES, f"--workdir={alone}")
    assert digests(together, STEPS) == digests(alone, STEPS)
    assert_rows_are_whole(together, alone)
    printed = [fingerprint(fork_server, folder) for folder in (together, alone)]
    assert printed[0] == printed[1]
    assert len(printed[0]["params"]) == 64


def run(fork_server, *arguments):
    """The output of one process."""
    done = fork_server("veegan_jax.main", arguments, cwd=ROOT, env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def fingerprint(fork_server, workdir):
    printed = run(fork_server, "--mode=fingerprint", f"--workdir={workdir}")
    return dict(line.split() for line in printed.splitlines()[1:3])


@pytest.mark.slow  # Four real processes: only here does a signal to one of two stop and save both.
def test_processes_stop_together_and_save(tmp_path):
    with started(tmp_path, "--config.parallel=shard_map", "--config.num_steps=5000") as process:
        wait_for(process, "step 20/")
        os.kill(child_of(1, tmp_path), signal.SIGTERM)  # one of the two gets it
        out = process.communicate(timeout=120)[0]
    assert process.returncode == 75, out
    assert out.count("stopped by SIGTERM; the run is saved") == 1
    saved = [int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdecimal()]
    rows = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert max(saved) >= max(rows) >= 20
