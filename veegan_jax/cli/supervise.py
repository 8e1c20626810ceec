"""The parent of one process of several. Its child does the work; it says in one line what happened to the child.

JAX ends a process from native code, by SIGABRT and with pages of output, as soon as another process of the run is lost.
Only a parent can turn that into one line and an exit code. The parent imports no JAX.
"""

import contextlib
import functools
import json
import os
import platform
import re
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from veegan_jax.cli.exit_codes import EXIT_INTERRUPTED, EXIT_LOST
from veegan_jax.cli.streams import Stream
from veegan_jax.parallel.process_group import EXIT_STUCK, JOINING_SECONDS, ProcessGroup, Report
from veegan_jax.parallel.stop_signals import NOTICES, handled


class ChildStatus(NamedTuple):
    """What a parent has heard from its child.

    Attributes:
        hosts: the hosts of the processes, by process number; empty before all have joined.
        code: the exit code that the child has reported; None if it has reported none.
        native_stderr: the end of what JAX's native code has printed.
        hung: whether the child was silent for too long, and was ended.
    """

    hosts: Mapping[str, str]
    code: int | None
    native_stderr: str
    hung: bool


def run_supervised(work: Callable[[Report], int], group: ProcessGroup) -> int:
    """Runs the work of one process in a child, and says in one line if this or another process is lost.

    Args:
        work: joins the group, passing on the `Report` that it is given, and returns an exit code, after it has printed
            what there is to say about that code.
        group: how this process joins the others.

    Returns:
        The exit code of the work, or `EXIT_LOST`.
    """
    (heartbeat, heartbeat_in), (native_stderr, native_stderr_in) = os.pipe(), os.pipe()
    ready, ready_in = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)  # the terminal sends its signals to the parent alone, which forwards them
        for fd in (heartbeat, native_stderr, ready_in):
            os.close(fd)
        os.read(ready, 1)  # returns when the parent has closed its end: from then on it forwards signals
        _run_child(work, group, heartbeat_in, native_stderr_in)
    for fd in (heartbeat_in, native_stderr_in, ready):
        os.close(fd)
    interrupts: list[int] = []
    for number in handled():
        signal.signal(number, functools.partial(_forward, child, interrupts))
    os.close(ready_in)
    status = _listen(child, heartbeat, native_stderr, group.hanging_seconds)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = code if status.code is None else status.code
    if code == -signal.SIGKILL and len(interrupts) > 1:
        return EXIT_INTERRUPTED
    if code >= 0 and code not in (EXIT_LOST, EXIT_STUCK):
        return code
    print(f"error: {failure_message(group, code, status)}", file=sys.stderr)
    return EXIT_LOST


def _forward(child: int, interrupts: list[int], number: int, frame: FrameType | None) -> None:
    """Leaves signals to the child, which gets a notice as SIGTERM; a second Ctrl-C ends the child."""
    interrupts += [number] if number == signal.SIGINT else []
    passed_on = signal.SIGTERM if number in NOTICES else number
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL if len(interrupts) > 1 else passed_on)


def _listen(child: int, heartbeat: int, native_stderr: int, limit: int) -> ChildStatus:
    """Returns when the child has ended, or has been ended because it was silent for more than `limit` seconds."""
    reports, printed, silent, open_ = b"", b"", 0, {heartbeat, native_stderr}
    while open_ and silent <= limit:
        ready = select.select(list(open_), [], [], 1.0)[0]
        for pipe in ready:
            data = os.read(pipe, 2**16)
            open_ -= set() if data else {pipe}
            if pipe == heartbeat:
                reports += data.replace(b"\0", b"")
            else:
                printed = (printed + data)[-(2**16) :]
        # Turns of this loop are counted, and no clock is read: a parent that was stopped together with its child has
        # not heard the child either.
        silent = 0 if heartbeat in ready else silent + (not ready)
        if silent > limit:
            os.kill(child, signal.SIGKILL)
    facts: dict[str, Any] = {}
    for line in reports.splitlines():
        facts |= json.loads(line)
    return ChildStatus(facts.get("hosts", {}), facts.get("code"), printed.decode(errors="replace"), silent > limit)


def failure_message(group: ProcessGroup, code: int, status: ChildStatus) -> str:
    """Returns one line: which process was lost, and what to do.

    Args:
        group: how this process joined the others.
        code: the exit code of the child; the negative number of the signal that ended it.
        status: what the parent has heard from the child.
    """
    number = "" if group.process_id is None else f" {group.process_id}"
    here = f"process{number} on {platform.node()}"
    if status.hung:
        what = f"{here} gave no sign of life for {group.hanging_seconds} s, and was ended"
    elif code == EXIT_STUCK:
        what = f"{here} waited {group.reading_seconds:g} s for a batch of its data, and was ended"
    elif code not in (-signal.SIGABRT, EXIT_LOST):
        what = f"{here} was ended by {signal.Signals(-code).name}"
    elif not status.hosts:
        where = group.coordinator or "its coordinator"
        return f"{here} could not join the others at {where} within {JOINING_SECONDS} s; start all processes together"
    else:
        silent = re.search(r"unhealthy[^\n]*:\n((?:\d+[\s,]+)+)", status.native_stderr)
        # Where JAX names no process, process 0 is lost, because it is the one that coordinates.
        lost = silent[1].replace(",", " ").split() if silent else ["0"]
        names = " and ".join(f"process {i} on {status.hosts.get(i, 'another host')}" for i in lost)
        what = f"{names} died or hangs, and {here} ended too"
    return f"{what}; start all processes again, with the same commands: the run resumes from its last checkpoint"


def _run_child(work: Callable[[Report], int], group: ProcessGroup, heartbeat: int, native_stderr: int) -> NoReturn:
    """Does the work in the child, and ends it."""
    # Python's own output goes where it went before. What native code prints as it fails goes to the parent.
    sys.stdout, sys.stderr = (Stream(os.dup(fd), stream.encoding) for fd, stream in ((1, sys.stdout), (2, sys.stderr)))
    for fd in (1, 2):
        os.dup2(native_stderr, fd)
    threading.Thread(target=_send_heartbeats, args=(heartbeat,), daemon=True).start()

    def report(facts: Mapping[str, Any]) -> None:
        os.write(heartbeat, json.dumps(facts).encode() + b"\n")

    code = 1
    try:
        code = work(report)
    except Exception:
        # If another process is lost, JAX ends this one within this time, and the parent names the process that is lost.
        # Otherwise the error is the program's own, and is shown.
        lines = traceback.format_exc()
        time.sleep(2 * group.heartbeat_seconds)
        sys.stderr.write(lines)
    report({"code": code})
    sys.stdout.flush()
    sys.stderr.flush()
    jax = sys.modules.get("jax")
    if jax and jax.distributed.is_initialized():
        with contextlib.suppress(Exception):
            jax.distributed.shutdown()  # waits until all processes are here
    os._exit(code)  # skips the exit handlers by which JAX would wait for the others


def _send_heartbeats(heartbeat: int) -> None:
    """Gives a sign of life every second, and ends this process when its parent has ended."""
    while True:
        try:
            os.write(heartbeat, b"\0")
        except OSError:
            os._exit(EXIT_LOST)
        time.sleep(1)
