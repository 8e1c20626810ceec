"""What a run tells the world while it goes on: a progress line, JSON lines and TensorBoard events."""

import json
import math
import struct
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c
from tqdm import tqdm

from veegan_jax.storage.files import append, sync, write_atomically

ROWS = "metrics.jsonl"


class Rows:
    """`metrics.jsonl`: one row per logged step, each whole or absent."""

    def __init__(self, workdir: Path, step: int):
        """Opens the file after `step`: later rows, of steps that will be taken again, and a torn last row go."""
        self.path = workdir / ROWS
        kept = [row for row in read_rows(workdir) if row["step"] <= step]
        write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    def write(self, row: Mapping[str, float]) -> None:
        """Appends a row. Not-a-number is written as null, which is JSON."""
        plain = {name: value if math.isfinite(value) else None for name, value in row.items()}
        append(self.path, json.dumps(plain).encode() + b"\n")


def read_rows(workdir: Path) -> list[dict[str, float]]:
    """The whole rows of `metrics.jsonl`, in order."""
    path, rows = workdir / ROWS, []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with suppress(ValueError):  # torn by a kill, or garbage after a power cut
            row = json.loads(line)
            if isinstance(row, dict) and "step" in row:
                rows.append(row)
    return rows


class Events:
    """TensorBoard's events, as `tensorboard/events.out.tfevents.NUMBER`: a file for each start of the run.

    Readers take the files in the order of their names (which numbers give, and clocks that jump would not), and forget
    of the files before what is later than the step at which this one begins. Nothing is written in the background, so
    that an error comes to light where it happens.
    """

    def __init__(self, workdir: Path, step: int):
        """Begins a file after `step`."""
        folder = workdir / "tensorboard"
        numbers = [int(path.suffix[1:]) for path in folder.glob("events.*") if path.suffix[1:].isdecimal()]
        self.path = folder / f"events.out.tfevents.{max(numbers, default=-1) + 1:010d}"
        write_atomically(self.path, "")
        self._put(Event(file_version="brain.Event:2"))
        self._put(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))

    def write(self, row: Mapping[str, float], step: int) -> None:
        """Adds scalars."""
        values = [value for name, score in row.items() for value in summary.scalar(name, score).value]
        self._put(Event(step=step, summary=Summary(value=values)))

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Adds a uint8 image `[H, W, 3]`."""
        self._put(Event(step=step, summary=summary.image(name, image, dataformats="HWC")))

    def _put(self, event: Event) -> None:
        """Appends a record: length, its checksum, data, their checksum."""
        event.wall_time = time.time()
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        append(self.path, b"".join((length, _checksum(length), data, _checksum(data))))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))


class Writer:
    """Everything that is written of a run between `step` and `num_steps`.

    Its methods raise UserError, naming the file, where one cannot be written.
    """

    def __init__(self, workdir: Path, step: int, num_steps: int):
        self._rows, self._events = Rows(workdir, step), Events(workdir, step)
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
        self._events.write(row, step)
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
        self._events.picture(name, image, step)

    def say(self, line: str) -> None:
        """Prints a line without breaking the bar."""
        tqdm.write(line, file=sys.stderr)

    def sync(self) -> None:
        """Returns when everything written so far is on disk."""
        sync(self._rows.path)
        sync(self._events.path)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()
