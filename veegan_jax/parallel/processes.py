"""Several processes that train one run: how they join, share what process 0 has, and wait for one another."""

import contextlib
import os
import platform
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from veegan_jax.errors import UserError
from veegan_jax.parallel.process_group import EXIT_STUCK, JOINING_SECONDS, ProcessGroup, Report

Result = TypeVar("Result")

# The other processes wait for this long while process 0 measures and writes: a week, which is to say without a limit.
WAITING_SECONDS = 7 * 24 * 3600

# The group that this process has joined.
_group = ProcessGroup()


def join(group: ProcessGroup, report: Report) -> None:
    """Joins the other processes, before any device is used, and reports the names of their hosts.

    Args:
        group: how to join.
        report: is called with `{"hosts": {process: host}}` once all processes are there.

    Raises:
        UserError: if JAX does not know the cluster.
    """
    global _group
    try:
        jax.distributed.initialize(
            group.coordinator,
            group.num_processes,
            group.process_id,
            initialization_timeout=JOINING_SECONDS,
            heartbeat_timeout_seconds=group.heartbeat_seconds,
            shutdown_timeout_seconds=group.heartbeat_seconds,
        )
    except (ValueError, TypeError) as error:  # JAX's detection raises these; an error of the network ends the process
        raise UserError(
            f"--distributed: JAX finds no cluster here ({error}); give --coordinator, --num_processes and --process_id"
        ) from error
    _group = group
    name = np.frombuffer(platform.node().encode()[:64].ljust(64), np.uint8)
    names = multihost_utils.process_allgather(name).reshape(-1, 64)
    report({"hosts": {str(i): bytes(row).decode(errors="replace").strip() for i, row in enumerate(names)}})


def is_primary() -> bool:
    """Returns whether this process is process 0, which reads and writes files."""
    return jax.process_index() == 0


def broadcast(tree: Any) -> Any:
    """Returns process 0's tree of arrays, to the bit; the trees of the others give shapes and dtypes only."""
    if jax.process_count() == 1:
        return tree
    # The arrays travel as bytes: JAX sends them by a sum, which would make 0.0 of −0.0.
    raw = jax.tree.map(lambda leaf: np.frombuffer(np.asarray(leaf).tobytes(), np.uint8), tree)
    sent = multihost_utils.broadcast_one_to_all(raw)
    return jax.tree.map(lambda b, leaf: np.asarray(b).view(leaf.dtype).reshape(np.shape(leaf)), sent, tree)


def run_on_primary(what: str, work: Callable[[], Result]) -> Result | None:
    """Runs some work on process 0 while the others wait; returns the result on process 0, and None on the others.

    Args:
        what: a name that no other call has; it is the barrier's, and messages show it.
        work: takes no arguments and may take as long as it needs.

    Raises:
        UserError: on all processes, if the work raises one or an OSError.
    """
    if jax.process_count() == 1:
        return work()
    import orbax.checkpoint as ocp

    result, failed = None, None
    if is_primary():
        try:
            result = work()
        except (UserError, OSError) as error:
            failed = error
    # The barrier is no collective of the devices, because such a collective would not wait as long.
    everyone = set(range(jax.process_count()))
    wait = ocp.multihost.get_barrier_sync_fn(processes=everyone)
    wait(key=f"veegan_jax: {what}", timeout_ms=WAITING_SECONDS * 1000)
    if broadcast(np.bool_(failed is not None)):
        raise failed or UserError(f"process 0 failed ({what}); its own output says why")
    return result


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Ends this process if the block takes longer than the group's `reading_seconds`: all others wait for it."""
    limit = threading.Timer(_group.reading_seconds, os._exit, [EXIT_STUCK])
    limit.start()
    try:
        yield
    finally:
        limit.cancel()


def stop_asked(call: int) -> bool:
    """Returns whether all processes have to stop, because one of them got SIGTERM (a preemption notice).

    Args:
        call: the number of calls of the step so far, by which JAX lets all processes stop after the same call.
    """
    return bool(multihost_utils.reached_preemption_sync_point(call))
