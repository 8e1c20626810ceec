"""Several processes: what they are told, how they wait and end together, and the same bits as one process."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import ROOT
from tests.test_main import SMALL, assert_rows_are_whole, digests, environment
from veegan_jax.cli import supervise
from veegan_jax.cli.supervise import Heard
from veegan_jax.errors import UserError
from veegan_jax.parallel import processes
from veegan_jax.parallel.processes import Together, together

COORDINATOR = "10.0.0.1:1234"


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)


def test_flags_and_environment_say_who_joins(monkeypatch):
    assert together(False, None, None, None) is None
    assert together(True, None, None, None) == Together(None, None, None)
    assert together(False, COORDINATOR, 3, 2) == Together(COORDINATOR, 3, 2)
    assert together(False, COORDINATOR, 1, 0) is together(False, None, 1, None) is None  # alone
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", COORDINATOR)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
    monkeypatch.setenv("JAX_PROCESS_ID", "0")
    assert together(False, None, None, None) == Together(COORDINATOR, 4, 0)
    assert together(False, None, None, 3) == Together(COORDINATOR, 4, 3)  # flags come first


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
        together(False, *given)


def test_a_variable_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "many")
    with pytest.raises(UserError, match="JAX_NUM_PROCESSES is 'many'; it must be a number"):
        together(False, COORDINATOR, None, 0)


def test_alone_nothing_is_waited_for():
    assert processes.is_primary()
    assert processes.run_on_primary("here", lambda: 3) == 3
    tree = {"a": np.float32(-0.0)}
    assert processes.broadcast(tree) is tree


UNHEALTHY = (
    "UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n1\n3\nThe tasks have crashed."
)
NAMES = {"0": "alpha", "1": "beta", "3": "delta"}


@pytest.mark.parametrize(
    ("code", "heard", "says"),
    [
        (-6, Heard(NAMES, None, UNHEALTHY, False), "process 1 on beta and process 3 on delta died or hangs, and"),
        (-6, Heard(NAMES, None, "Socket closed", False), "process 0 on alpha died or hangs, and process 2 on "),
        (-6, Heard({}, None, "", False), "could not join the others at 10.0.0.1:1234 within 300 s; start all"),
        (-9, Heard(NAMES, None, "", False), " was ended by SIGKILL; start all processes again"),
        (-9, Heard(NAMES, None, "", True), " gave no sign of life for 40 s, and was ended; start all"),
    ],
)
def test_one_line_names_who_is_lost(code, heard, says):
    line = supervise._obituary(Together(COORDINATOR, 4, 2), code, heard)
    assert says in line
    assert "\n" not in line


def supervised(body, *, hung=40, **options):
    """A process that supervises some work."""
    script = (
        "import os, signal, sys, time\nfrom veegan_jax.cli import supervise\n"
        "from veegan_jax.parallel import processes\n"
        f"supervise.HUNG, processes.READING, supervise.READING = {hung}, 1, 1\ndef work(tell):\n{body}\n"
        "sys.exit(supervise.supervised(work, processes.Together('a:1', 2, 1)))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        **options,
    )


# A stream whose first batch does not come, to one of two processes.
STALLED = """
  import jax
  from types import SimpleNamespace
  from veegan_jax.experiments.run import feed
  jax.process_count = lambda: 2
  stream = SimpleNamespace(batches=lambda first, size: iter(lambda: time.sleep(30), 0))
  feed(SimpleNamespace(stream=stream), 2, [])(0)(1)
"""


@pytest.mark.parametrize(
    ("body", "code", "stdout", "stderr"),
    [
        ("  print('table')\n  return 75", 75, "table\n", ""),
        ("  print('error: no', file=sys.stderr)\n  return 2", 2, "", "error: no\n"),
        ("  os.write(2, b'native noise\\n')\n  os.kill(os.getpid(), 9)", 76, "", "process 1 on .* ended by SIGKILL"),
        ("  tell({'hosts': {'0': 'alpha'}})\n  os.abort()", 76, "", "process 0 on alpha died or hangs, and process 1"),
        ("  os.kill(os.getpid(), signal.SIGSTOP)", 76, "", "gave no sign of life for 2 s, and was ended"),
        (STALLED, 76, "", "process 1 on .* waited 1 s for a batch of its data"),
        ("  with processes.reading():\n    pass\n  time.sleep(2)\n  return 0", 0, "", ""),
        ("  supervise.SILENT = 0\n  return 1 / 0", 1, "", "ZeroDivisionError"),
    ],
)  # fmt: skip
def test_supervision(body, code, stdout, stderr):
    process = supervised(body, hung=2 if "STOP" in body else 40)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert out == stdout
    assert re.search(stderr, err) if stderr else err == ""
    assert "native noise" not in err
    assert code != 76 or len(err.splitlines()) == 1


def test_signals_are_forwarded_and_a_child_does_not_outlive_its_parent():
    # Not by `print`, which may not be called from a handler while it is printing.
    body = (
        "  signal.signal(15, lambda *_: (os.write(sys.stdout.fileno(), b'saved\\n'), os._exit(75)))\n"
        "  print(os.getpid(), flush=True)\n"
    )
    process = supervised(body + "  time.sleep(60)")
    process.stdout.readline()
    process.terminate()
    assert process.communicate(timeout=30) == ("saved\n", "")
    assert process.returncode == 75
    process = supervised(body + "  time.sleep(60)")
    child = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while running(child):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def running(pid):
    try:
        return status(pid)[0] != "Z"  # one that nobody has waited for yet
    except (FileNotFoundError, ProcessLookupError):
        return False


def status(pid):
    """What Linux tells of a process after its name: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


# Really two processes of two devices each, started by the launch script.

STEPS = 120
SIZES = [
    f"--config.num_steps={STEPS}", "--config.save_every=20", "--config.eval_every=60", "--config.log_every=10",
    "--config.logical_shards=8",
]  # fmt: skip


@contextlib.contextmanager
def started(workdir, *arguments, devices=2):
    """The launch script, whose output is that of both processes, each line with its number."""
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
    """The process in which process `number` of the run works."""
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


def test_two_processes_lose_one_and_start_again_to_the_bits_of_one(tmp_path):
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

    config = ["--config", str(ROOT / "configs" / "ring.py")]
    command = [sys.executable, "-m", "veegan_jax.main", *config, *SMALL, *SIZES]
    one = subprocess.run(
        [*command, f"--workdir={alone}"], capture_output=True, text=True, env=environment(), check=False
    )
    assert one.returncode == 0, one.stderr
    assert digests(together, STEPS) == digests(alone, STEPS)
    assert_rows_are_whole(together, alone)
    printed = [fingerprint(command, folder) for folder in (together, alone)]
    assert printed[0] == printed[1]
    assert len(printed[0]["params"]) == 64


def fingerprint(command, workdir):
    arguments = ["--mode=fingerprint", f"--workdir={workdir}"]
    found = subprocess.run([*command[:3], *arguments], capture_output=True, text=True, env=environment(), check=True)
    return dict(line.split() for line in found.stdout.splitlines()[1:3])


def test_processes_stop_together_and_save(tmp_path):
    with started(tmp_path, "--config.parallel=shard_map", "--config.num_steps=5000") as process:
        wait_for(process, "step 20/")
        os.kill(child_of(1, tmp_path), signal.SIGTERM)  # one of them is told
        out = process.communicate(timeout=120)[0]
    assert process.returncode == 75, out
    assert out.count("stopped by SIGTERM; the run is saved") == 1
    saved = [int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdecimal()]
    rows = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert max(saved) >= max(rows) >= 20
