"""Several processes that train one run: how they join and wait for one another."""

import contextlib
import os
import platform
import re
import threading
from collections.abc import Callable, Iterator, Mapping
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
STUCK = 70


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


def is_primary() -> bool:
    """Whether this process is the one that reads and writes files."""
    return jax.process_index() == 0


def broadcast(tree: Any) -> Any:
    """A tree of arrays as process 0 has them, to the bit; those of the others count by shape and dtype only."""
    if jax.process_count() == 1:
        return tree
    # As bytes: the sum by which JAX sends them makes 0.0 of −0.0.
    raw = jax.tree.map(lambda leaf: np.frombuffer(np.asarray(leaf).tobytes(), np.uint8), tree)
    sent = multihost_utils.broadcast_one_to_all(raw)
    return jax.tree.map(lambda b, leaf: np.asarray(b).view(leaf.dtype).reshape(np.shape(leaf)), sent, tree)


def run_on_primary(what: str, work: Callable[[], Result]) -> Result | None:
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
    if is_primary():
        try:
            result = work()
        except (UserError, OSError) as error:
            failed = error
    # Not in a collective of the devices, which would not wait as long.
    everyone = set(range(jax.process_count()))
    ocp.multihost.get_barrier_sync_fn(processes=everyone)(key=f"veegan_jax: {what}", timeout_ms=WAITING * 1000)
    if broadcast(np.bool_(failed is not None)):
        raise failed or UserError(f"process 0 failed ({what}); its own output says why")
    return result


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Ends the process if what is within takes longer than `READING`: all others wait for it."""
    limit = threading.Timer(READING, os._exit, [STUCK])
    limit.start()
    try:
        yield
    finally:
        limit.cancel()


def stop_asked(call: int) -> bool:
    """Whether all processes have to stop, after as many calls, since one of them got SIGTERM (a preemption notice)."""
    return bool(multihost_utils.reached_preemption_sync_point(call))
