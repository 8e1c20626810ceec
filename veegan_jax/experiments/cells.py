"""Cells: what a finished run of one row of a comparison has found, as a small file that is kept in git."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ml_collections import ConfigDict

from veegan_jax.config.convert import differences, effective, from_effective, read_json
from veegan_jax.errors import UserError, one_line
from veegan_jax.evaluation import plots
from veegan_jax.evaluation.curves import curve, mean_curve
from veegan_jax.evaluation.scores import Scores
from veegan_jax.metrics import COLUMNS
from veegan_jax.storage.files import cannot_write, write_atomically
from veegan_jax.storage.folder import CONFIG, DIVERGED, PLACEMENT_FIELDS, lock, stored_config
from veegan_jax.storage.logs import read_rows
from veegan_jax.storage.versions import versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = "results.json"
LOCKS = ".locks"
# The fields that change no score of a run's last step: where it is computed, and what is logged and kept on the way.
NEUTRAL_FIELDS = (
    *PLACEMENT_FIELDS,
    *("steps_per_call", "log_every", "save_every", "keep_latest", "keep_best", "best_metric"),
)
# The significant digits of a curve, which is there to be drawn.
DIGITS = 4


class Cell(NamedTuple):
    """A finished run of one row of a comparison, of one seed or of several at once.

    Attributes:
        config: the fields of the run, all of them, since defaults may change from version to version.
        seeds: the seeds of the replicas.
        step: the last step; where the run has diverged, the steps that were asked for.
        diverged: why the run was given up, as "loss/gen is nan at step 3"; empty if it has finished.
        replicas: the scores of each replica; none if the run has diverged.
        real: the scores of as many real examples; empty if the run has diverged.
        samples: the number of samples in a measurement; 0 if the run has diverged.
        notes: how scores are measured and defined.
        curve: scores and losses at the steps that were measured, the mean where there are several replicas.
        seconds: the time of all steps, without compiling and measuring; None where it is not known.
        versions: the versions and the machine that the training ended with.
    """

    config: dict[str, Any]
    seeds: list[int]
    step: int
    diverged: str
    replicas: list[Scores]
    real: Scores
    samples: int
    notes: list[str]
    curve: dict[str, list[float | None]]
    seconds: float | None
    versions: dict[str, str]

    def with_seeds(self, seeds: Sequence[int]) -> "Cell":
        """Returns the cell with the replicas of some of its seeds alone; the curve stays that of all."""
        # A cell that has diverged has no replicas.
        replicas = [replica for seed, replica in zip(self.seeds, self.replicas, strict=False) if seed in seeds]
        return self._replace(seeds=list(seeds), replicas=replicas)


def finished(folder: Path, config: ConfigDict) -> Cell | None:
    """Returns the cell of a row that is trained to the end in this folder, or has diverged; None if it has not."""
    if not (folder / CONFIG).exists() or stored_config(folder) != json.loads(json.dumps(effective(config))):
        return None
    for path in (folder / RESULTS, folder / DIVERGED):
        # Without whole results the row resumes from its last checkpoint, and is measured again.
        with suppress(UserError):
            results = read_json(path)
            if "diverged" in results or results.get("step") == config.num_steps:
                return _cell(folder, config, results)
    return None


def _cell(folder: Path, config: ConfigDict, results: Mapping[str, Any]) -> Cell:
    """Returns the cell of a row from its results, or from the file that says that it has diverged."""
    rows = read_rows(folder)
    rates = [rate for row in rows if (rate := row.get("steps_per_second"))]
    fields = effective(config)
    return Cell(
        config=fields,
        seeds=list(range(config.seed, config.seed + config.num_seeds)),
        step=config.num_steps,
        diverged=results.get("diverged", ""),
        replicas=results.get("replicas", []),
        real=results.get("real", {}),
        samples=results.get("samples", 0),  # The results of version 0.1.0 say neither this nor how they were measured.
        notes=results.get("notes", []),
        curve=_measured(rows, {*COLUMNS, *results.get("real", {})}),
        seconds=round(config.num_steps / rates[-1], 1) if rates else None,
        # Older results do not say by what they were made.
        versions={name: value for name, value in (results.get("versions") or versions(fields)).items() if value},
    )


def _measured(rows: Sequence[Mapping[str, float]], scores: set[str]) -> dict[str, list[float | None]]:
    """Returns the curve of all that was logged at the steps where any of these scores was measured, rounded."""
    measured = [
        {name: value for name, value in row.items() if value is not None and name != "steps_per_second"}
        for row in rows
        if any(row.get(name) is not None for name in scores)
    ]
    rounded = [{name: float(f"{value:.{DIGITS}g}") for name, value in row.items()} for row in measured]
    return curve([{**fewer, "step": row["step"]} for row, fewer in zip(measured, rounded, strict=True)])


def write_cell(path: Path, cell: Cell) -> None:
    """Writes a cell, one line an attribute.

    Raises:
        UserError: if the file cannot be written.
    """
    lines = (f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in cell._asdict().items())
    write_atomically(path, "{\n" + ",\n".join(lines) + "\n}\n", shared=True)


def read_cell(path: Path, config: ConfigDict) -> Cell | None:
    """Returns the cell of a config from its file; None if there is no file.

    Raises:
        UserError: if the file is damaged, or holds the cell of another config.
    """
    if not path.exists():
        return None
    try:
        found = read_json(path)
        if set(found) != set(Cell._fields):
            raise UserError(f"its names are {', '.join(sorted(found)) or 'none'}; a cell has {', '.join(Cell._fields)}")
        stored = effective(from_effective(found["config"]))
    except (UserError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path} is damaged, or of another version: {one_line(error)}; restore it, or delete it to compute it anew"
        ) from error
    given = effective(config)
    if differing := differences(given, {**stored, **{name: given[name] for name in NEUTRAL_FIELDS}}):
        more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        raise UserError(
            f"{path} is of another config ({differing[0]}{more}); delete it to compute it anew, or name another folder "
            "by --cells"
        )
    return Cell(**found)


def make_folder(path: Path) -> None:
    """Makes the folder of a cell's file, with room for locks, before anything is computed.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        (path.parent / LOCKS).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise cannot_write(path.parent, error) from error


@contextmanager
def locked_cell(path: Path) -> Iterator[str]:
    """Locks the cell of a file, whose folder is made, as `storage.folder.lock` does.

    The lock lies beside the cells, which processes share, and not in the folder of a run, which is each machine's own.

    Raises:
        OSError: if the folder cannot be written.
    """
    with lock(path.parent / LOCKS / path.stem) as holder:
        yield holder


def real_scores(cells: Iterable[Cell]) -> Scores:
    """Returns the scores of real data.

    All cells' are merged, since the score of the prior itself is known only to rows that have a reconstructor.
    """
    return {name: value for cell in cells for name, value in cell.real.items()}


def draw_rows(rows: Mapping[str, Sequence[Cell]]) -> "Figure":
    """Draws the scores of each row over the steps, as mean ± standard error, from the row's cells."""
    curves = {name: [cell.curve for cell in cells if cell.curve["step"]] for name, cells in rows.items()}
    real = real_scores(cell for cells in rows.values() for cell in cells)
    return plots.draw_curves({name: mean_curve(found) for name, found in curves.items() if found}, real)
