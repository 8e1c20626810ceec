"""The parent of one process of several: what it says of a child that ends, hangs, or is stopped."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_main import environment
from veegan_jax.cli.supervise import ChildStatus, failure_message
from veegan_jax.parallel.process_group import ProcessGroup

UNHEALTHY = (
    "UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n1\n3\nThe tasks have crashed."
)
NAMES = {"0": "alpha", "1": "beta", "3": "delta"}
COORDINATOR = "10.0.0.1:1234"


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        (-6, ChildStatus(NAMES, None, UNHEALTHY, False), "process 1 on beta and process 3 on delta died or hangs, and"),
        (-6, ChildStatus(NAMES, None, "Socket closed", False), "process 0 on alpha died or hangs, and process 2 on "),
        (-6, ChildStatus({}, None, "", False), "could not join the others at 10.0.0.1:1234 within 300 s; start all"),
        (-9, ChildStatus(NAMES, None, "", False), " was ended by SIGKILL; start all processes again"),
        (-9, ChildStatus(NAMES, None, "", True), " gave no sign of life for 40 s, and was ended; start all"),
        (70, ChildStatus(NAMES, None, "", False), " waited 30 s for a batch of its data, and was ended; start all"),
    ],
)
def test_one_line_names_who_is_lost(code, status, says):
    line = failure_message(ProcessGroup(COORDINATOR, 4, 2), code, status)
    assert says in line
    assert "\n" not in line


def supervised(body, *, heartbeat=20, imports="", **options):
    """Starts a process that supervises some work, whose body is indented by four spaces."""
    script = f"""
import os, signal, sys, time
from veegan_jax.cli.supervise import run_supervised
from veegan_jax.parallel.process_group import ProcessGroup
{imports}
group = ProcessGroup("a:1", 2, 1, {heartbeat})

def work(report):
{body}

sys.exit(run_supervised(work, group))
"""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        **options,
    )


def ended(process, code):
    """The output of a process, after checks of its exit code and of what it must never print."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "native noise" not in err
    assert code != 76 or len(err.splitlines()) == 1
    return out, err


@pytest.mark.parametrize(
    ("body", "code", "stdout", "stderr"),
    [
        ("    print('table')\n    return 75", 75, "table\n", ""),
        ("    print('error: no', file=sys.stderr)\n    return 2", 2, "", "error: no\n"),
        (
            "    os.write(2, b'native noise\\n')\n    os.kill(os.getpid(), 9)",
            76,
            "",
            "process 1 on .* ended by SIGKILL",
        ),
        (
            "    report({'hosts': {'0': 'alpha'}})\n    os.abort()",
            76,
            "",
            "process 0 on alpha died or hangs, and proce",
        ),
    ],
)
def test_the_exit_code_and_output_of_the_child_come_through(body, code, stdout, stderr):
    out, err = ended(supervised(body), code)
    assert out == stdout
    assert re.search(stderr, err) if stderr else err == ""


def test_a_child_that_hangs_is_ended():
    process = supervised("    os.kill(os.getpid(), signal.SIGSTOP)", heartbeat=1)
    assert "gave no sign of life for 2 s, and was ended" in ended(process, 76)[1]


def test_an_error_of_the_program_is_shown_after_jax_has_had_its_time():
    assert "ZeroDivisionError" in ended(supervised("    return 1 / 0", heartbeat=2), 1)[1]


# The imports take longer than a heartbeat, so that they come before the child.
READING = """
import jax
from types import SimpleNamespace
from veegan_jax.parallel import processes
from veegan_jax.train.feed import Batches
"""


def test_a_process_whose_first_batch_does_not_come_is_ended():
    body = """
    processes._group = group
    jax.process_count = lambda: 2
    stream = SimpleNamespace(batches=lambda first, size: iter(lambda: time.sleep(30), 0))
    Batches(SimpleNamespace(stream=stream), 2, [], 0).take(1)
"""
    process = supervised(body, heartbeat=2, imports=READING)
    assert re.search("process 1 on .* waited 3 s for a batch of its data", ended(process, 76)[1])


def test_a_batch_that_has_come_ends_nothing():
    body = "    processes._group = group\n    with processes.reading():\n        pass\n    time.sleep(2)\n    return 0"
    assert ended(supervised(body, heartbeat=1, imports=READING), 0) == ("", "")


# The handler does not call `print`, which must not be called while the program is printing. The sleeps are short, since
# a signal that comes just before a sleep, or to another thread, is handled after the sleep.
SAVES = """
    signal.signal(15, lambda *_: (os.write(sys.stdout.fileno(), b'saved\\n'), os._exit(75)))
    print(os.getpid(), flush=True)
    while True:
        time.sleep(0.1)
"""
# Whoever starts the tests may ignore signals, as `nohup` does, and a process inherits that.
HEEDED = "for number in (1, 10, 15): signal.signal(number, signal.SIG_DFL)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_forwarded_and_notices_as_sigterm(number):
    process = supervised(SAVES, imports=HEEDED)
    process.stdout.readline()
    process.send_signal(number)
    assert ended(process, 75) == ("saved\n", "")


def test_a_child_does_not_outlive_its_parent():
    process = supervised(SAVES)
    child = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while running(child):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def running(pid):
    try:
        return status(pid)[0] != "Z"  # a zombie has ended, and its parent has not waited for it yet
    except (FileNotFoundError, ProcessLookupError):
        return False


def status(pid):
    """What Linux says of a process after its name: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
