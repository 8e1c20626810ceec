"""Which processes train one run together. This module imports no JAX, so that a parent of such a process is light."""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from veegan_jax.errors import UserError

# A child calls this function to report facts, which JSON can hold, to its parent.
Report = Callable[[Mapping[str, Any]], None]

# The exit code of a child that waited too long for its data; its parent alone sees this code.
EXIT_STUCK = 70

# All processes must have joined within this many seconds of the first.
JOINING_SECONDS = 300


class ProcessGroup(NamedTuple):
    """How this process joins the others that train the same run. JAX asks the cluster for the first three if None.

    Attributes:
        coordinator: `HOST:PORT` of process 0.
        num_processes: the number of processes.
        process_id: the number of this process, from 0.
        heartbeat_seconds: JAX takes a process for dead when that process has been silent for this long.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    heartbeat_seconds: int = 20

    @property
    def hanging_seconds(self) -> int:
        """A child that has been silent for this long is ended by its parent."""
        return 2 * self.heartbeat_seconds

    @property
    def reading_seconds(self) -> float:
        """A process that has waited for one batch of its data for this long is ended, since all others wait for it."""
        return 1.5 * self.heartbeat_seconds


def process_group(distributed: bool, given: ProcessGroup) -> ProcessGroup | None:
    """Returns the group that flags or, where a flag is absent, the environment describe; None for a single process.

    Args:
        distributed: whether JAX finds out what is not given: on TPU VMs, GKE, SLURM and Open MPI it can.
        given: the values of the flags. JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID replace None.

    Raises:
        UserError: naming the flag or variable that is missing or wrong.
    """
    group = given._replace(
        coordinator=given.coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS"),
        num_processes=_number("JAX_NUM_PROCESSES", given.num_processes),
        process_id=_number("JAX_PROCESS_ID", given.process_id),
    )
    if group.num_processes == 1:
        return None
    named = {"coordinator": "HOST:PORT of process 0", "num_processes": "how many", "process_id": "which, from 0"}
    missing = [f"--{name} ({meaning})" for name, meaning in named.items() if getattr(group, name) is None]
    if len(missing) == len(named):
        return group if distributed else None
    if missing and not distributed:
        raise UserError(f"a run of several processes needs {', '.join(missing)} too, or --distributed")
    if not missing:
        _check(group)
    return group


def _check(group: ProcessGroup) -> None:
    assert group.coordinator is not None
    assert group.num_processes is not None
    assert group.process_id is not None
    if not re.fullmatch(r"\S+:\d+", group.coordinator):
        raise UserError(f"--coordinator is {group.coordinator!r}; it must be HOST:PORT of process 0")
    if group.num_processes < 1:
        raise UserError(f"--num_processes is {group.num_processes}; it must be at least 1")
    if not 0 <= group.process_id < group.num_processes:
        raise UserError(
            f"--process_id is {group.process_id}; of {group.num_processes} processes it must be 0 to "
            f"{group.num_processes - 1}"
        )


def _number(variable: str, given: int | None) -> int | None:
    if given is not None or not (text := os.environ.get(variable, "")):
        return given
    try:
        return int(text)
    except ValueError as error:
        raise UserError(f"{variable} is {text!r}; it must be a number") from error
