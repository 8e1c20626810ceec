"""What a run writes while it trains: a progress line, JSON lines and TensorBoard events."""

import json
import math
import struct
import sys
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from veegan_jax.storage.files import append, sync, write_atomically

ROWS = "metrics.jsonl"


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


class Events:
    """TensorBoard's events, as `tensorboard/events.out.tfevents.NUMBER`: one file for each start of the run.

    Readers take the files in the order of their names (numbers give that order, and clocks that jump would not), and
    drop from the earlier files whatever is later than the step at which a file begins. Nothing is written in the
    background, so that an error is raised where it happens.
    """

    def __init__(self, workdir: Path, step: int):
        """Begins a file after `step`."""
        folder = workdir / "tensorboard"
        numbers = [int(path.suffix[1:]) for path in folder.glob("events.*") if path.suffix[1:].isdecimal()]
        self.path = folder / f"events.out.tfevents.{max(numbers, default=-1) + 1:010d}"
        write_atomically(self.path, "")
        # tensorboardX imports PyTorch where that is installed, so commands that write no events do not import it.
        from tensorboardX.proto.event_pb2 import SessionLog

        self._put(file_version="brain.Event:2")
        self._put(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, row: Mapping[str, float], step: int) -> None:
        """Adds scalars."""
        from tensorboardX import summary
        from tensorboardX.proto.summary_pb2 import Summary

        values = [value for name, score in row.items() for value in summary.scalar(name, score).value]
        self._put(step=step, summary=Summary(value=values))

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Adds a uint8 image `[H, W, 3]`."""
        from tensorboardX import summary

        self._put(step=step, summary=summary.image(name, image, dataformats="HWC"))

    def _put(self, **fields: Any) -> None:
        """Appends a record of an event: length, checksum of the length, data, checksum of the data."""
        from tensorboardX.proto.event_pb2 import Event

        data = Event(wall_time=time.time(), **fields).SerializeToString()
        length = struct.pack("<Q", len(data))
        append(self.path, b"".join((length, _checksum(length), data, _checksum(data))))


def _checksum(data: bytes) -> bytes:
    from tensorboardX.record_writer import masked_crc32c

    return struct.pack("<I", masked_crc32c(data))


class Writer:
    """Everything that is written of a run between `step` and `num_steps`.

    The methods raise UserError, naming the file, where one cannot be written.
    """

    def __init__(self, workdir: Path, step: int, num_steps: int, unshown: Collection[str] = ()):
        """Opens the files; the values whose names are `unshown` are written, and not shown in the terminal."""
        from tqdm import tqdm

        self._unshown = frozenset(unshown)
        self._rows, self._events = Rows(workdir, step), Events(workdir, step)
        self._start, self._num_steps, self._started = step, num_steps, time.monotonic()
        terminal = sys.stderr.isatty()
        self._bar = tqdm(total=num_steps, initial=step, unit="step", dynamic_ncols=True) if terminal else None
        self._shown: dict[str, float] = {}

    @property
    def last_step(self) -> int:
        """The step of the last row; 0 if there is none."""
        return self._rows.last_step

    def advance(self, step: int) -> None:
        """Moves the progress bar to `step`."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def write(self, step: int, row: Mapping[str, float]) -> None:
        """Writes the losses and scores of a step, and shows them beside the last value of every other name."""
        from tqdm import tqdm

        self._shown |= {name: value for name, value in row.items() if name.partition("/se")[0] not in self._unshown}
        rate = (step - self._start) / max(time.monotonic() - self._started, 1e-9)
        self._rows.write({"step": step, "steps_per_second": round(rate, 2), **row})
        self._events.write(row, step)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in self._shown.items())
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
        """Prints a line without breaking the progress bar."""
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)

    def sync(self) -> None:
        """Returns when everything written until now is on disk."""
        sync(self._rows.path)
        sync(self._events.path)

    def close(self) -> None:
        """Ends the progress bar."""
        if self._bar is not None:
            self._bar.close()
