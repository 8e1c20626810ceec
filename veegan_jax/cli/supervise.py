"""The parent of one process of several: it says in one line what happened to its child, which does the work."""

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
from typing import Any, NamedTuple

import jax

from veegan_jax.parallel.processes import EXIT_LOST, HUNG, JOINING, READING, SILENT, STUCK, Together

Tell = Callable[[Mapping[str, Any]], None]


class Heard(NamedTuple):
    """What a parent has heard of its child.

    Attributes:
        hosts: of the processes, by their ids; empty before they have joined.
        code: the exit code that the child has told, if it has.
        noise: what JAX's native code printed last.
        hung: whether the child gave no sign of life, and was ended.
    """

    hosts: Mapping[str, str]
    code: int | None
    noise: str
    hung: bool


def supervised(work: Callable[[Tell], int], given: Together) -> int:
    """Runs the work of one process in a child, and says in one line if it or another process is lost.

    Args:
        work: which begins by joining, with the function that it is given; it returns an exit code, after it has printed
            what is to be said of it.
        given: how this process joins.

    Returns:
        The exit code of the work, or `EXIT_LOST`.
    """
    (pulse, beat), (noise, sink), (ready, forwarding) = os.pipe(), os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)  # the terminal's signals come through the parent
        for fd in (pulse, noise, forwarding):
            os.close(fd)
        os.read(ready, 1)  # until the parent forwards signals
        _work(work, beat, sink)
    for fd in (beat, sink, ready):
        os.close(fd)
    interrupts: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, functools.partial(_forward, child, interrupts))
    os.close(forwarding)
    heard = _listen(child, pulse, noise)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = code if heard.code is None else heard.code
    if code == -signal.SIGKILL and len(interrupts) > 1:
        return 130
    if code >= 0 and code not in (EXIT_LOST, STUCK):
        return code
    print(f"error: {_obituary(given, code, heard)}", file=sys.stderr)
    return EXIT_LOST


def _forward(child: int, interrupts: list[int], number: int, frame: FrameType | None) -> None:
    """Signals are the child's to act on; a second Ctrl-C ends it."""
    interrupts += [number] if number == signal.SIGINT else []
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL if len(interrupts) > 1 else number)


def _listen(child: int, pulse: int, noise: int) -> Heard:
    """Until the child ends."""
    told, printed, silent, open_ = b"", b"", 0, {pulse, noise}
    while open_ and silent <= HUNG:
        ready = select.select(list(open_), [], [], 1.0)[0]
        for pipe in ready:
            data = os.read(pipe, 2**16)
            open_ -= set() if data else {pipe}
            if pipe == pulse:
                told += data.replace(b"\0", b"")
            else:
                printed = (printed + data)[-(2**16) :]
        # In turns, not by a clock: a parent that was stopped together with its child has not heard it either.
        silent = 0 if pulse in ready else silent + (not ready)
        if silent > HUNG:
            os.kill(child, signal.SIGKILL)
    facts: dict[str, Any] = {}
    for line in told.splitlines():
        facts |= json.loads(line)
    return Heard(facts.get("hosts", {}), facts.get("code"), printed.decode(errors="replace"), silent > HUNG)


def _obituary(given: Together, code: int, heard: Heard) -> str:
    """What happened, and what to do."""
    number = "" if given.process_id is None else f" {given.process_id}"
    here = f"process{number} on {platform.node()}"
    if heard.hung:
        what = f"{here} gave no sign of life for {HUNG} s, and was ended"
    elif code == STUCK:
        what = f"{here} waited {READING} s for a batch of its data, and was ended"
    elif code not in (-signal.SIGABRT, EXIT_LOST):
        what = f"{here} was ended by {signal.Signals(-code).name}"
    elif not heard.hosts:
        where = given.coordinator or "its coordinator"
        return f"{here} could not join the others at {where} within {JOINING} s; start all processes together"
    else:
        silent = re.search(r"unhealthy[^\n]*:\n((?:\d+[\s,]+)+)", heard.noise)
        lost = silent[1].replace(",", " ").split() if silent else ["0"]  # who coordinates, if no one is named
        names = " and ".join(f"process {i} on {heard.hosts.get(i, 'another host')}" for i in lost)
        what = f"{names} died or hangs, and {here} ended too"
    return f"{what}; start all processes again, with the same commands: the run goes on from its last checkpoint"


def _work(work: Callable[[Tell], int], beat: int, sink: int) -> None:
    """The child: does the work, and does not return."""
    # Python's own output goes where it went; what native code prints as it fails is the parent's to explain.
    sys.stdout, sys.stderr = (os.fdopen(os.dup(fd), "w", buffering=1) for fd in (1, 2))
    for fd in (1, 2):
        os.dup2(sink, fd)
    threading.Thread(target=_beat, args=(beat,), daemon=True).start()

    def tell(facts: Mapping[str, Any]) -> None:
        os.write(beat, json.dumps(facts).encode() + b"\n")

    code = 1
    try:
        code = work(tell)
    except Exception:
        # Either another process is lost, of which JAX ends this one in a moment, or the error is our own.
        report = traceback.format_exc()
        time.sleep(2 * SILENT)
        sys.stderr.write(report)
    tell({"code": code})
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.distributed.is_initialized():
        with contextlib.suppress(Exception):
            jax.distributed.shutdown()  # when all are here
    os._exit(code)  # without the handlers by which JAX would wait for the others


def _beat(beat: int) -> None:
    """Gives signs of life, and ends with the parent."""
    while True:
        try:
            os.write(beat, b"\0")
        except OSError:
            os._exit(EXIT_LOST)
        time.sleep(1)
