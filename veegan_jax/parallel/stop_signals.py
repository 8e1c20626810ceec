"""The signals that ask a program to stop, and those that it can handle. This module imports no JAX."""

import signal
import threading
from collections.abc import Sequence

# What a person, an operating system or a scheduler sends at once: Ctrl-C sends SIGINT.
_REQUESTS = (signal.SIGTERM, signal.SIGINT)
# What announces an end: SIGHUP that a terminal is closed, the others that the time of a job is nearly up. Windows has
# none of them.
_NOTICES = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
NOTICES = tuple(getattr(signal, name) for name in _NOTICES if hasattr(signal, name))
STOPPING: tuple[signal.Signals, ...] = (*_REQUESTS, *NOTICES)


def handled(numbers: Sequence[signal.Signals] = STOPPING) -> list[signal.Signals]:
    """Returns those of the signals that can be handled here, after letting them through if they were blocked.

    Python lets the main thread alone handle signals, so that there are none in a thread of a notebook or a service. A
    notice that is ignored, as `nohup` arranges it for SIGHUP, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    if hasattr(signal, "pthread_sigmask"):  # Windows has no masks, which a process inherits from whoever starts it.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    return [number for number in numbers if number in _REQUESTS or signal.getsignal(number) != signal.SIG_IGN]
