"""The signals that ask a program to stop, and those that it can handle. This module imports no JAX."""

import signal
import threading
from collections.abc import Sequence

# A terminal or a connection that is closed sends SIGHUP, which Windows does not have.
HANGUP = getattr(signal, "SIGHUP", None)
# A scheduler sends SIGTERM, and a person Ctrl-C.
STOPPING: tuple[signal.Signals, ...] = tuple(filter(None, (signal.SIGTERM, signal.SIGINT, HANGUP)))


def handled(numbers: Sequence[signal.Signals] = STOPPING) -> list[signal.Signals]:
    """Returns those of the signals that can be handled here, after letting them through if they were blocked.

    Python lets the main thread alone handle signals, so that there are none in a thread of a notebook or a service.
    SIGHUP that is ignored, as `nohup` arranges it, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    if hasattr(signal, "pthread_sigmask"):  # Windows has no masks, which a process inherits from whoever starts it.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    return [number for number in numbers if number != HANGUP or signal.getsignal(number) != signal.SIG_IGN]
