"""Signals that ask a run to stop."""

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Any

import jax

from veegan_jax.parallel import processes
from veegan_jax.parallel.stop_signals import NOTICES, STOPPING, handled


class StopSignals:
    """Turns the first of some signals into a request to stop after the call in progress; a second request kills.

    The signals are SIGTERM, Ctrl-C, and the notices SIGHUP, SIGUSR1, SIGUSR2 and SIGXCPU, which may be repeated. A line
    says at once that the request is heeded, because a call can take minutes where steps are slow.
    Several processes all stop after the same call when one of them gets SIGTERM: JAX informs the others.
    """

    def __init__(self, steps_per_call: int) -> None:
        self._steps = steps_per_call
        self.received: str | None = None
        self._previous: dict[int, Any] = {}
        self._together = jax.process_count() > 1
        self._calls = 0

    def __enter__(self) -> "StopSignals":
        for number in handled([signal.SIGINT] if self._together else STOPPING):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._together:
            os.kill(os.getpid(), signal.SIGTERM)  # JAX listens for SIGTERM, and not for Ctrl-C.
        else:
            self.received = signal.Signals(number).name
            _say(f"{self.received}: stopping after the call in progress, of at most {self._steps} steps, to save")
        for other, handler in self._previous.items():
            # A shell and the system may both say that a terminal is closed, so that a second notice must not kill.
            signal.signal(other, signal.SIG_IGN if other in NOTICES else handler)

    def asked(self) -> bool:
        """Returns whether to stop now; to be called once before each call of the step."""
        if self._together and processes.stop_asked(self._calls):
            self.received = signal.SIGTERM.name
        self._calls += 1
        return self.received is not None

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    """Writes a line to stderr past Python's buffer, in which the signal may have come between two letters."""
    with suppress(OSError):  # The terminal may be what was closed.
        os.write(2, f"{line}\n".encode())
