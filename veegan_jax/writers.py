"""What a run tells the world while it goes on: a progress line, JSON lines and TensorBoard events."""

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

ROWS = "metrics.jsonl"


class Rows:
    """`metrics.jsonl`: one row per logged step, each whole or absent."""

    def __init__(self, workdir: Path, step: int):
        """Opens the file after `step`: later rows, of steps that will be taken again, and a torn last row go."""
        self._path = workdir / ROWS
        kept = [row for row in read_rows(workdir) if row["step"] <= step]
        scratch = self._path.with_suffix(".tmp")
        scratch.write_text("".join(json.dumps(row) + "\n" for row in kept))
        os.replace(scratch, self._path)
        self._file = self._path.open("a")

    def write(self, row: Mapping[str, float]) -> None:
        """Appends a row. Not-a-number is written as null, which is JSON."""
        plain = {name: value if math.isfinite(value) else None for name, value in row.items()}
        self._file.write(json.dumps(plain) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_rows(workdir: Path) -> list[dict[str, float]]:
    """The whole rows of `metrics.jsonl`, in order."""
    path, rows = workdir / ROWS, []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break  # the process was killed while it wrote this row
    return rows


class Writer:
    """Everything that is written of a run between `step` and `num_steps`."""

    def __init__(self, workdir: Path, step: int, num_steps: int):
        self._rows = Rows(workdir, step)
        self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1)
        self._start, self._num_steps, self._started = step, num_steps, time.monotonic()
        terminal = sys.stderr.isatty()
        self._bar = tqdm(total=num_steps, initial=step, unit="step", dynamic_ncols=True) if terminal else None
        self._losses: dict[str, float] = {}
        self._scores: dict[str, float] = {}

    def advance(self, step: int) -> None:
        """Moves the bar to `step`."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def write(self, step: int, losses: Mapping[str, float], scores: Mapping[str, float]) -> None:
        """Writes one row, and shows it beside the last scores measured."""
        self._losses, self._scores = dict(losses) or self._losses, dict(scores) or self._scores
        rate = (step - self._start) / max(time.monotonic() - self._started, 1e-9)
        row = {**losses, **scores}
        self._rows.write({"step": step, "steps_per_second": round(rate, 2), **row})
        for name, value in row.items():
            self._events.add_scalar(name, value, step)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in {**self._losses, **self._scores}.items())
        if self._bar is not None:
            self._bar.set_postfix_str(shown)
        else:
            left = tqdm.format_interval((self._num_steps - step) / max(rate, 1e-9))
            print(
                f"step {step}/{self._num_steps}  {rate:.1f} steps/s  {left} left  {shown}", file=sys.stderr, flush=True
            )

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Adds a uint8 image `[H, W, 3]` to the TensorBoard events."""
        self._events.add_image(name, image, step, dataformats="HWC")

    def say(self, line: str) -> None:
        """Prints a line without breaking the bar."""
        tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        """Flushes and closes everything."""
        if self._bar is not None:
            self._bar.close()
        self._rows.close()
        self._events.close()
