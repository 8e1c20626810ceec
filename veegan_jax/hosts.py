"""Several processes that train one run: how they join, wait for one another, and end together.

The state is the same on all of them, so process 0 alone reads and writes files, and gives the others what it has read:
no file system need be shared. Each process works in a child, which JAX ends in a way of its own when another process is
lost; the parent says in one line what happened.
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
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from veegan_jax.errors import UserError

Result = TypeVar("Result")
Tell = Callable[[Mapping[str, Any]], None]
# The exit code of a process whose run another process has ended, or that was ended itself: all of them have to be
# started again (sysexits.h's EX_PROTOCOL).
EXIT_LOST = 76
# That of a child which waits for its data, to its parent alone.
_STUCK = 70
# Seconds: until a process that sends JAX no sign of life is taken for dead; until a child from which its parent hears
# nothing is ended; for a batch of data to be read; for all processes to join; for process 0 to measure and write.
SILENT, HUNG, READING, JOINING, WAITING = 20, 40, 30, 300, 7 * 24 * 3600


class Together(NamedTuple):
    """How a process joins the others. What is None, JAX finds out from the cluster.

    Attributes:
        coordinator: `HOST:PORT` of process 0.
        num_processes: how many there are.
        process_id: which this is, from 0.
    """

    coordinator: str | None
    num_processes: int | None
    process_id: int | None


def together(
    distributed: bool, coordinator: str | None, num_processes: int | None, process_id: int | None
) -> Together | None:
    """What the flags ask for, or where they are not given the environment; None for one process alone.

    Args:
        distributed: whether JAX shall find out what is not given: on TPU VMs, GKE, SLURM and Open MPI it can.
        coordinator: see `Together`; JAX_COORDINATOR_ADDRESS.
        num_processes: see `Together`; JAX_NUM_PROCESSES.
        process_id: see `Together`; JAX_PROCESS_ID.

    Raises:
        UserError: naming the flag or variable that is missing or wrong.
    """
    given = Together(
        coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS"),
        _number("num_processes", num_processes),
        _number("process_id", process_id),
    )
    if given.num_processes == 1:
        return None
    if all(value is None for value in given):
        return given if distributed else None
    named = {"coordinator": "HOST:PORT of process 0", "num_processes": "how many", "process_id": "which, from 0"}
    if missing := [f"--{name} ({meaning})" for name, meaning in named.items() if getattr(given, name) is None]:
        if distributed:
            return given
        raise UserError(f"a run of several processes needs {', '.join(missing)} too, or --distributed")
    assert given.coordinator is not None
    assert given.num_processes is not None
    assert given.process_id is not None
    if not re.fullmatch(r"\S+:\d+", given.coordinator):
        raise UserError(f"--coordinator is {given.coordinator!r}; it must be HOST:PORT of process 0")
    if given.num_processes < 1:
        raise UserError(f"--num_processes is {given.num_processes}; it must be at least 1")
    if not 0 <= given.process_id < given.num_processes:
        raise UserError(
            f"--process_id is {given.process_id}; of {given.num_processes} processes it must be 0 to "
            f"{given.num_processes - 1}"
        )
    return given


def _number(name: str, given: int | None) -> int | None:
    variable = f"JAX_{name.upper()}"
    if given is not None or not (text := os.environ.get(variable, "")):
        return given
    try:
        return int(text)
    except ValueError as error:
        raise UserError(f"{variable} is {text!r}; it must be a number") from error


# Within the work.


def join(given: Together, tell: Tell) -> None:
    """Joins the other processes, before any device is used, and tells the parent who they are.

    Raises:
        UserError: if the cluster is not one that JAX knows.
    """
    try:
        jax.distributed.initialize(
            *given, initialization_timeout=JOINING, heartbeat_timeout_seconds=SILENT, shutdown_timeout_seconds=SILENT
        )
    except (ValueError, TypeError) as error:  # of detection; errors of the network end the process
        raise UserError(
            f"--distributed: JAX finds no cluster here ({error}); give --coordinator, --num_processes and --process_id"
        ) from error
    name = np.frombuffer(platform.node().encode()[:64].ljust(64), np.uint8)
    names = multihost_utils.process_allgather(name).reshape(-1, 64)
    tell({"hosts": {str(i): bytes(row).decode(errors="replace").strip() for i, row in enumerate(names)}})


def first() -> bool:
    """Whether this process is the one that reads and writes files."""
    return jax.process_index() == 0


def from_first(tree: Any) -> Any:
    """A tree of arrays as process 0 has them, to the bit; those of the others count by shape and dtype only."""
    if jax.process_count() == 1:
        return tree
    # As bytes: the sum by which JAX sends them makes 0.0 of −0.0.
    raw = jax.tree.map(lambda leaf: np.frombuffer(np.asarray(leaf).tobytes(), np.uint8), tree)
    sent = multihost_utils.broadcast_one_to_all(raw)
    return jax.tree.map(lambda b, leaf: np.asarray(b).view(leaf.dtype).reshape(np.shape(leaf)), sent, tree)


def on_first(what: str, work: Callable[[], Result]) -> Result | None:
    """Runs something on process 0 while the others wait; returns its result there, and None to them.

    Args:
        what: a name that no other such place and step has.
        work: which takes as long as it takes.

    Raises:
        UserError: on all of them, if it raises one.
    """
    if jax.process_count() == 1:
        return work()
    result, failed = None, None
    if first():
        try:
            result = work()
        except (UserError, OSError) as error:
            failed = error
    # Not in a collective of the devices, which would not wait as long.
    everyone = set(range(jax.process_count()))
    ocp.multihost.get_barrier_sync_fn(processes=everyone)(key=f"veegan_jax: {what}", timeout_ms=WAITING * 1000)
    if from_first(np.bool_(failed is not None)):
        raise failed or UserError(f"process 0 failed ({what}); its own output says why")
    return result


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Ends the process if what is within takes longer than `READING`: all others wait for it."""
    limit = threading.Timer(READING, os._exit, [_STUCK])
    limit.start()
    try:
        yield
    finally:
        limit.cancel()


def stop_asked(call: int) -> bool:
    """Whether all processes have to stop, after as many calls, since one of them got SIGTERM (a preemption notice)."""
    return bool(multihost_utils.reached_preemption_sync_point(call))


# Around the work.


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
    if code >= 0 and code not in (EXIT_LOST, _STUCK):
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
    elif code == _STUCK:
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
