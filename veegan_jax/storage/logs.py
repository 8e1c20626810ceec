"""What a run writes while it trains: a progress line, JSON lines, and what the writers of its config make of them."""

import json
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from veegan_jax.metrics import COLUMNS, Column
from veegan_jax.storage.files import append, sync, write_atomically
from veegan_jax.storage.writers import Latents, Start, Writer, chosen_writers
from veegan_jax.storage.writers.base import SPEED

ROWS = "metrics.jsonl"
# The file that keeps what is printed while a run is trained, and the columns that a line of progress has.
CONSOLE, WIDTH = "log.txt", 80


class Rows:
    """The file `metrics.jsonl`: one row for each logged step, each whole or absent."""

    def __init__(self, workdir: Path, step: int):
        """Opens the file of a run that is at `step`; rows of later steps and a torn last row are removed."""
        self.path = workdir / ROWS
        kept = [row for row in read_rows(workdir) if row["step"] <= step]
        self.last_step = int(kept[-1]["step"]) if kept else 0
        write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    def write(self, row: Mapping[str, float]) -> None:
        """Appends a row. A value that is not a number is written as null, since JSON has no other word for it."""
        plain = {name: value if math.isfinite(value) else None for name, value in row.items()}
        append(self.path, json.dumps(plain).encode() + b"\n")
        self.last_step = int(row["step"])


def read_rows(workdir: Path) -> list[dict[str, float]]:
    """Returns the whole rows of `metrics.jsonl`, in order."""
    path, rows = workdir / ROWS, []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with suppress(ValueError):  # A kill can tear a row, and a power cut can leave garbage.
            row = json.loads(line)
            if isinstance(row, dict) and "step" in row:
                rows.append(row)
    return rows


class Pace:
    """How fast a run is: the rate of its steps alone, and the time that is left, in which measuring counts too.

    A call of the step that compiles counts in neither.
    """

    def __init__(self, step: int, num_steps: int):
        """Begins at a step of a run that ends at step `num_steps`."""
        self._step, self._num_steps = step, num_steps
        self._steps, self._seconds = 0, 0.0
        self._begun: deque[float | None] = deque()
        self._ended: float | None = None
        self._first_end = 0.0

    def begin(self, *, compiles: bool) -> None:
        """Notes that a call of the step begins, while the call before may still be computed."""
        self._begun.append(None if compiles else time.monotonic())

    def end(self, step: int) -> None:
        """Notes that the oldest call of those that have begun is computed, and has reached a step."""
        now, begun = time.monotonic(), self._begun.popleft() if self._begun else None
        if self._ended is None:
            self._first_end = now
        elif begun is not None:
            self._steps += step - self._step
            self._seconds += now - max(begun, self._ended)
        self._step, self._ended = step, now

    @property
    def steps_per_second(self) -> float:
        """The rate of steps; NaN before a call that compiles nothing."""
        return self._steps / max(self._seconds, 1e-9) if self._steps else math.nan

    def __str__(self) -> str:
        """The rate and the time that is left, as `12.3 steps/s  04:56 left`; empty where they are not known."""
        if not self._steps:
            return ""
        rate = self.steps_per_second
        shown = f"{rate:.1f} steps/s" if rate >= 1 else f"{1 / rate:.1f} s/step"
        passed = time.monotonic() - self._first_end
        seconds = round((self._num_steps - self._step) * passed / self._steps)
        left = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}".removeprefix("0:")
        return f"{shown}  {left} left"


class RunLog:
    """Everything that is written of a run between `step` and `num_steps`.

    The methods raise UserError, naming the file, where one cannot be written.
    """

    def __init__(
        self,
        workdir: Path,
        step: int,
        num_steps: int,
        headline: Sequence[Column] = (),
        writers: str = "tensorboard",
        config: Mapping[str, Any] = MappingProxyType({}),
    ):
        """Opens the files.

        Args:
            workdir: the folder of the run.
            step: the step that the run has reached.
            num_steps: the last step of the run.
            headline: the scores that are shown in the terminal; all are written.
            writers: the names of the writers, joined by commas.
            config: the fields of the run.
        """
        from tqdm import tqdm

        self._headline, self._console = tuple(headline), workdir / CONSOLE
        if not self._console.exists():
            write_atomically(self._console, "")
        self._rows = Rows(workdir, step)
        start = Start(workdir, step, num_steps, config, partial(read_rows, workdir))
        self._writers: list[Writer] = []
        with ExitStack() as opened:  # A writer that cannot be opened closes those before it.
            for make in chosen_writers(writers):
                self._writers.append(make(start))
                opened.callback(self._writers[-1].close)
            self._opened = opened.pop_all()
        self._num_steps, self.pace = num_steps, Pace(step, num_steps)
        # The bar's own rate would count compiling and measuring.
        form = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
        terminal = sys.stderr.isatty()
        self._bar = tqdm(total=num_steps, initial=step, bar_format=form, dynamic_ncols=True) if terminal else None
        self._compiled: set[int] = set()

    @property
    def last_step(self) -> int:
        """The step of the last row; 0 if there is none."""
        return self._rows.last_step

    def advance(self, step: int) -> None:
        """Notes that `step` is reached, and moves the progress bar there."""
        self.pace.end(step)
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    @contextmanager
    def calling(self, num_steps: int) -> Iterator[None]:
        """Notes a call of the step while it begins; the first call of each length compiles, which takes long."""
        compiles = num_steps not in self._compiled
        self._compiled.add(num_steps)
        if compiles:
            self.say(f"compiling a call of {num_steps:,} step{'s' if num_steps > 1 else ''}")
        self.pace.begin(compiles=compiles)
        began = time.monotonic()
        yield
        if compiles:
            self.say(f"compiled in {time.monotonic() - began:.1f} s")

    def write(self, step: int, row: Mapping[str, float]) -> None:
        """Writes the losses and scores of a step, and shows the losses, and the scores on a line of their own."""
        whole = {SPEED: round(self.pace.steps_per_second, 3), **row}
        self._rows.write({"step": step, **whole})
        for writer in self._writers:
            writer.scalars(step, whole)
        losses = [f"{n.removeprefix('loss/')} {v:.4g}" for n, v in row.items() if n.partition("/se")[0] not in COLUMNS]
        parts = [f"step {step}/{self._num_steps}", *filter(None, [str(self.pace)]), *losses]
        while len(line := "  ".join(parts)) > WIDTH and len(parts) > 2:
            parts.pop()
        if losses and self._bar is not None:
            self._bar.set_postfix_str("  ".join(parts[1:]))
            self._keep(line)
        elif losses:
            self.say(line)
        if scores := [f"{c.title} {_with_error(row, c.name)}" for c in self._headline if c.name in row]:
            self.say(f"step {step}: {', '.join(scores)}")

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Gives the writers a picture of a step, uint8 `[H, W, 3]`, before the step's row."""
        for writer in self._writers:
            writer.picture(step, name, pixels)

    def text(self, name: str, markdown: str) -> None:
        """Gives the writers a text on what this process trains."""
        for writer in self._writers:
            writer.text(name, markdown)

    def real(self, scores: Mapping[str, float]) -> None:
        """Gives the writers the scores of real data."""
        for writer in self._writers:
            writer.real(scores)

    def latents(self, draw: Callable[[], Latents]) -> None:
        """Gives the writers the latents of the last step, which are computed if a writer shows them."""
        for writer in self._writers:
            writer.latents(draw)

    def say(self, line: str) -> None:
        """Prints a line without breaking the progress bar, and keeps it in the file of the console."""
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)
        sys.stderr.flush()
        self._keep(line)

    def _keep(self, line: str) -> None:
        append(self._console, f"{line}\n".encode())

    def sync(self) -> None:
        """Returns when everything written until now is on disk."""
        sync(self._rows.path)
        for writer in self._writers:
            writer.sync()

    def close(self) -> None:
        """Ends the progress bar and what writers have begun."""
        if self._bar is not None:
            self._bar.close()
        self._opened.close()


def _with_error(row: Mapping[str, float], name: str) -> str:
    """Returns a score of a row as a text, with ± its standard error if there are several seeds."""
    error = f" ± {row[f'{name}/se']:.2g}" if f"{name}/se" in row else ""
    return f"{row[name]:.4g}{error}"
