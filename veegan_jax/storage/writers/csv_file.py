"""The rows of a run as `metrics.csv`, for spreadsheets."""

import csv
import io
import math
from collections.abc import Mapping, Sequence

from veegan_jax.storage.files import append, sync, write_atomically
from veegan_jax.storage.writers.base import Start, Writer

CSV = "metrics.csv"


class Csv(Writer):
    """The file `metrics.csv`: a heading, and one line for each row of `metrics.jsonl`.

    A cell is empty where a step has no value, or one that is not finite. `metrics.jsonl` is what counts: the file is
    made from it when a run is resumed, so that no line is torn, lost or there twice, and when a new column appears,
    as the first scores do.
    """

    def __init__(self, start: Start):
        """Writes the rows until now."""
        self._path, self._rows = start.workdir / CSV, start.rows
        self._write_all()

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """Appends a line, or writes the file again, with one column more."""
        whole = {"step": step, **row}
        if whole.keys() <= set(self._columns):
            append(self._path, _lines([[_cell(whole.get(name)) for name in self._columns]]).encode())
        else:
            self._write_all()

    def sync(self) -> None:
        """Returns when the file is on disk."""
        sync(self._path)

    def _write_all(self) -> None:
        rows = self._rows()
        self._columns = list(dict.fromkeys(name for row in rows for name in row))
        body = [[_cell(row.get(name)) for name in self._columns] for row in rows]
        write_atomically(self._path, _lines([self._columns, *body]) if rows else "")


def _cell(value: float | None) -> str:
    return str(value) if value is not None and math.isfinite(value) else ""


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
