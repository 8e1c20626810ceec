"""The history of a run: when, where and by which command each process trained it, as JSON lines."""

import json
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from veegan_jax.storage.files import append, write_atomically

HISTORY = "history.jsonl"


class History:
    """The part of the history that this process adds: a line when it begins to train, and a line when it ends."""

    def __init__(self, workdir: Path, step: int, made_by: Mapping[str, str]):
        """Writes that training begins in this folder at this step.

        Args:
            workdir: the folder of the run.
            step: the step at which training begins.
            made_by: the versions and the machine, see `storage.versions`.

        Raises:
            UserError: if the file cannot be written.
        """
        self._path, self._began = workdir / HISTORY, time.monotonic()
        if not self._path.exists():
            write_atomically(self._path, "")
        where = {"command": command(sys.argv), "host": platform.node(), "commit": commit()}
        self._write({"began": _now(), "from_step": step, **where, "versions": dict(made_by)})

    def end(self, step: int) -> None:
        """Writes that training ends at this step.

        Raises:
            UserError: if the file cannot be written.
        """
        self._write({"ended": _now(), "to_step": step, "seconds": round(time.monotonic() - self._began, 1)})

    def _write(self, line: Mapping[str, Any]) -> None:
        append(self._path, (json.dumps(line) + "\n").encode())


def read_history(workdir: Path) -> list[dict[str, Any]]:
    """Returns the processes that trained a run, the oldest first, with what is known of their ends.

    A run of an earlier version has none. A damaged line, which a kill may have cut, is left out.
    """
    found: list[dict[str, Any]] = []
    path = workdir / HISTORY
    for line in path.read_text("utf-8", errors="replace").splitlines() if path.exists() else ():
        with suppress(ValueError):
            entry = json.loads(line)
            if "began" in entry:
                found.append(entry)
            elif found:
                found[-1] |= entry
    return found


def command(argv: Sequence[str]) -> str:
    """Returns the command of this process, with the module in the place of the file that Python gives."""
    program = Path(argv[0])
    if program.resolve().parent == Path(__file__).resolve().parents[1]:
        return shlex.join(["python", "-m", "veegan_jax.main", *argv[1:]])
    return shlex.join([program.name if program.name == "veegan-jax" else argv[0], *argv[1:]])


def commit() -> str:
    """Returns the commit from which this package runs, with "+" if files are changed; empty outside of a checkout."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        with suppress(OSError, subprocess.SubprocessError):
            asked = ["git", "-C", str(folder), *arguments]
            return subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        return ""

    found = git("rev-parse", "--short=12", "HEAD") if git("ls-files", "--", __file__) else ""
    return found and found + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
