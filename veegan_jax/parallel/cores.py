"""The cores of this machine. This module imports no JAX."""

import os


def num_cpus() -> int:
    """Returns the number of cores that this process may use, which a container or a scheduler may limit."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
