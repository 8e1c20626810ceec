"""Comparisons that are computed cell by cell, one or all seeds of a row at a time, so that each is computed once."""

import glob
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from veegan_jax.config.build import build
from veegan_jax.config.convert import comparison
from veegan_jax.errors import UserError, one_line, suggestion
from veegan_jax.evaluation import plots
from veegan_jax.evaluation.published import published
from veegan_jax.evaluation.scores import Evaluation
from veegan_jax.evaluation.tables import Group, grouped_table, score_table, score_texts, seeds_note
from veegan_jax.experiments.cells import (
    Cell,
    draw_rows,
    finished,
    locked_cell,
    make_folder,
    read_cell,
    real_scores,
    write_cell,
)
from veegan_jax.experiments.compare import train_or_diverge
from veegan_jax.metrics import COLUMNS
from veegan_jax.storage.files import write_atomically
from veegan_jax.storage.writers import chosen_writers
from veegan_jax.train.compile import select_devices

# The columns of a data set in a table of several.
SHOWN = {
    "ring": ("modes", "high_quality"),
    "grid": ("modes", "high_quality"),
    # By the paper's rule, which no real example meets, and by the calibrated one.
    "synthetic1200": ("modes", "high_quality", "calibrated_modes", "calibrated_high_quality"),
    "stacked_mnist": ("modes", "kl"),
    "cifar10": ("ivom_held_out",),
}


class Unit(NamedTuple):
    """What is computed once: one seed of one row of a comparison, or several that are trained at once.

    Attributes:
        comparison: the name of the comparison, which has the budget in it.
        row: the name of the row.
        config: the config of the row with these seeds alone.
    """

    comparison: str
    row: str
    config: ConfigDict

    @property
    def name(self) -> str:
        """The folder of the run within the workdir; its cell is the file `NAME.json` within the folder of cells."""
        first, last = self.config.seed, self.config.seed + self.config.num_seeds - 1
        return f"{self.comparison}/{self.row}.{f'seed{first}' if first == last else f'seeds{first}-{last}'}"

    def cell(self, folder: Path) -> Path:
        """Returns the file of the cell within the folder of cells."""
        return folder / f"{self.name}.json"


def units(comparisons: Mapping[str, ConfigDict], budget: float = 1.0) -> list[Unit]:
    """Returns what comparisons have to compute: the first seed of every row, then the second, and so on.

    Args:
        comparisons: configs by the names of their cells' folders. A config without rows is one row, its objective.
        budget: the factor on the number of steps.

    Raises:
        UserError: naming the row and the field that is wrong.
    """
    found: list[tuple[int, Unit]] = []
    for name, config in comparisons.items():
        folder = name if budget == 1 else f"{name}-budget{budget:g}"
        for row, fields in (comparison(config) or {config.objective: config}).items():
            for i in range(fields.num_seeds):
                one = _with_seeds(with_budget(fields, budget), fields.seed + i, 1)
                found.append((i, Unit(folder, row, one)))
    return [unit for _, unit in sorted(found, key=lambda pair: pair[0])]


def _with_seeds(config: ConfigDict, first: int, count: int) -> ConfigDict:
    changed = config.copy_and_resolve_references()
    changed.seed, changed.num_seeds = first, count
    return changed


def at_once(todo: Sequence[Unit]) -> list[Unit]:
    """Returns units of one seed each as units that train all seeds of a row which follow one another at once."""
    merged: list[Unit] = []
    for row in dict.fromkeys((unit.comparison, unit.row) for unit in todo):
        for unit in sorted((unit for unit in todo if (unit.comparison, unit.row) == row), key=lambda u: u.config.seed):
            config = merged[-1].config if merged and (merged[-1].comparison, merged[-1].row) == row else None
            if config is not None and config.seed + config.num_seeds == unit.config.seed:
                merged[-1] = unit._replace(config=_with_seeds(config, config.seed, config.num_seeds + 1))
            else:
                merged.append(unit)
    return merged


def with_budget(config: ConfigDict, budget: float) -> ConfigDict:
    """Returns a config with a number of steps that is multiplied by a factor, and all that is a share of the training.

    These are the steps between two measurements, rows and checkpoints, the schedule of the penalties, and the half-life
    of the moving average. Learning-rate schedules follow the number of steps by themselves.
    """
    scaled = config.copy_and_resolve_references()

    def times(value: int) -> int:
        return max(1, round(value * budget))

    for name in ("num_steps", "log_every", "eval_every", "save_every"):
        scaled[name] = times(config[name])
    if config.penalty.anneal_steps:
        scaled.penalty.anneal_steps = times(config.penalty.anneal_steps)
    scaled.ema_half_life = config.ema_half_life * budget
    return scaled


class Cells(NamedTuple):
    """The cells of some units that are there, and why others cannot be used, by the names of the units.

    Units of one seed each may share the cell of a run that trained several seeds at once.
    """

    found: dict[str, Cell]
    unusable: dict[str, str]


def read_cells(wanted: Iterable[Unit], folder: Path) -> Cells:
    """Reads the cells of units of one seed each in a folder of cells."""
    cells, shared = Cells({}, {}), dict[str, Cell | None]()
    for unit in wanted:
        try:
            cell = read_cell(unit.cell(folder), unit.config)
            if cell is None and (together := _shared(unit, folder)):
                if together.name not in shared:
                    shared[together.name] = read_cell(together.cell(folder), together.config)
                cell = shared[together.name]
            if cell:
                cells.found[unit.name] = cell
        except UserError as error:
            cells.unusable[unit.name] = str(error)
    return cells


def _shared(unit: Unit, folder: Path) -> Unit | None:
    """Returns the unit of several seeds, this one's among them, that has a file in the folder; None if none has."""
    for path in sorted((folder / unit.comparison).glob(f"{glob.escape(unit.row)}.seeds*.json")):
        if numbers := re.fullmatch(r"seeds(\d+)-(\d+)", path.stem.removeprefix(f"{unit.row}.")):
            first, last = map(int, numbers.groups())
            if first <= unit.config.seed <= last:
                return unit._replace(config=_with_seeds(unit.config, first, last - first + 1))
    return None


class Reproduced(NamedTuple):
    """How computing cells ended.

    Attributes:
        failed: why a cell is not there, by the name of its unit.
        elsewhere: the process that computes a cell now, by the name of the cell's unit.
        stopped_by: the signal that stopped it, if one did.
    """

    failed: dict[str, str]
    elsewhere: dict[str, str]
    stopped_by: str | None


def reproduce(
    wanted: Sequence[Unit], workdir: Path, folder: Path, row: str = "", *, together: bool = False
) -> Reproduced:
    """Computes the cells that are not there. A cell that fails or diverges does not stop the others.

    The traceback of an error that the user cannot mend is printed, too.

    A cell that cannot be used, because its file is damaged or is that of another config, is named and left as it is.
    Other processes may compute other cells of the same folder at the same time.

    Args:
        wanted: what is to be computed, in this order.
        workdir: the folder in which each unit has its run, which resumes from its checkpoints.
        folder: the folder of cells.
        row: the only row to compute; empty for all rows.
        together: whether the seeds of a row are trained at once, as one cell.

    Raises:
        UserError: if there is no such row, or the folder of cells cannot be written.
    """
    if row and row not in (rows := {unit.row for unit in wanted}):
        raise UserError(f"--row is {row!r}; {suggestion(row, rows)}")
    cells = read_cells(wanted, folder)
    todo = [unit for unit in wanted if unit.name not in cells.found and row in ("", unit.row)]
    for unit in todo:
        make_folder(unit.cell(folder))
    failed, elsewhere = dict(cells.unusable), dict[str, str]()
    rows_to_check = {(unit.comparison, unit.row): unit.config for unit in todo if unit.name not in failed}
    wrong = {row: _what_is_wrong(config) for row, config in rows_to_check.items()}
    failed |= {unit.name: reason for unit in todo if (reason := wrong.get((unit.comparison, unit.row)))}
    for name, reason in failed.items():
        _say(f"{name}: {reason}")
    todo = [unit for unit in todo if unit.name not in failed]
    for unit in at_once(todo) if together else todo:
        try:
            with _locked(unit, folder) as holder:
                if holder:
                    elsewhere[unit.name] = holder
                    _say(f"{unit.name}: {holder} computes it")
                elif stopped_by := _compute(unit, workdir, folder):
                    return Reproduced(failed, elsewhere, stopped_by)
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            reason = one_line(error)
            failed |= {one.name: reason for one in _singly(unit)}
            _say(f"{unit.name}: {reason}")
    return Reproduced(failed, elsewhere, None)


def _say(line: str) -> None:
    print(line, flush=True)


def _what_is_wrong(config: ConfigDict) -> str:
    """Returns what is wrong with a row's config or data, before anything is compiled; empty if nothing is."""
    try:
        Evaluation(build(config))
        select_devices(config)
        chosen_writers(config.writers)
    except UserError as error:
        return one_line(error)
    return ""


@contextmanager
def _locked(unit: Unit, folder: Path) -> Iterator[str]:
    """Locks the cell of each seed of a unit, so that no other process computes one of them in either form.

    Yields who holds one of the locks if another process does, and else an empty text.
    """
    with ExitStack() as locks:
        holders = [locks.enter_context(locked_cell(one.cell(folder))) for one in _singly(unit)]
        yield next(filter(None, holders), "")


def _singly(unit: Unit) -> list[Unit]:
    """Returns the units of one seed each that a unit stands for."""
    first = unit.config.seed
    return [unit._replace(config=_with_seeds(unit.config, first + i, 1)) for i in range(unit.config.num_seeds)]


def _compute(unit: Unit, workdir: Path, folder: Path) -> str | None:
    """Trains a unit, unless its run is finished or its cell is there by now, and writes the cell.

    Returns:
        The signal that stopped it, if one did.
    """
    path, run = unit.cell(folder), workdir / unit.name
    if read_cell(path, unit.config) is None:
        if (cell := finished(run, unit.config)) is None:
            _say(f"{unit.name}: {unit.config.num_steps:,} steps")
            outcome = train_or_diverge(unit.config, run, unit.row)
            # No unit needs another unit's programs, and Linux grants a process only a limited number of memory maps.
            jax.clear_caches()
            if outcome.stopped_by:
                return outcome.stopped_by
            cell = finished(run, unit.config)
        assert cell is not None
        write_cell(path, cell)
        _say(f"{unit.name}: {cell.diverged or 'done'}, {path}")
    return None


def write_tables(wanted: Sequence[Unit], workdir: Path, folder: Path, budget: float, title: str) -> str:
    """Writes the table and the curves of each comparison into the workdir, from cells alone, and returns the table.

    Several comparisons have one table together as well, which is then returned, and written as `TITLE.md`.

    Raises:
        UserError: if a file cannot be written.
    """
    cells = read_cells(wanted, folder).found
    names = dict.fromkeys(unit.comparison for unit in wanted)
    for name in names:
        own = [unit for unit in wanted if unit.comparison == name]
        (workdir / name).mkdir(parents=True, exist_ok=True)
        markdown = comparison_table(own, cells, budget)
        write_atomically(workdir / name / "results.md", markdown + "\n", shared=True)
        if any(unit.name in cells for unit in own) and plots.installed():
            plots.save(draw_rows(by_row(own, cells)), workdir / name / "curves.png", shared=True)
    if title:
        markdown = joint_table(wanted, cells, budget)
        write_atomically(workdir / f"{title}.md", markdown + "\n", shared=True)
    return markdown


def by_row(wanted: Iterable[Unit], cells: Mapping[str, Cell]) -> dict[str, list[Cell]]:
    """Returns the cells of each row with the wanted seeds alone, each once; none for a row that is not computed."""
    rows: dict[str, dict[int, tuple[Cell, list[int]]]] = {unit.row: {} for unit in wanted}
    for unit in wanted:
        if cell := cells.get(unit.name):
            rows[unit.row].setdefault(id(cell), (cell, []))[1].append(unit.config.seed)
    return {row: [cell.with_seeds(seeds) for cell, seeds in found.values()] for row, found in rows.items()}


def comparison_table(wanted: Sequence[Unit], cells: Mapping[str, Cell], budget: float) -> str:
    """Returns all scores of one comparison, beside real data and published figures, as Markdown."""
    rows = by_row(wanted, cells)
    everything = [cell for found in rows.values() for cell in found]
    scores = {
        f"{row}{_how_many(row, found, wanted)}": [replica for cell in found for replica in cell.replicas]
        for row, found in rows.items()
    }
    real = real_scores(everything)
    config, num = wanted[0].config, max((cell.samples for cell in everything), default=0)
    notes = [*_protocol(wanted, everything), _budget_note(budget), *_diverged(wanted, cells)]
    others = published(config)
    shown = dict.fromkeys((*real, *(name for row in others.values() for name in row)))
    columns = [COLUMNS[name] for name in shown if name in COLUMNS]
    return score_table(config.data, columns, {**scores, "real data": [real] if real else []}, notes, num, others)


def joint_table(wanted: Sequence[Unit], cells: Mapping[str, Cell], budget: float) -> str:
    """Returns the main scores of several comparisons side by side, each row above published figures, as Markdown."""
    groups, notes = [], dict[str, list[str]]()
    for name in dict.fromkeys(unit.comparison for unit in wanted):
        own = [unit for unit in wanted if unit.comparison == name]
        rows, config = by_row(own, cells), own[0].config
        everything = [cell for found in rows.values() for cell in found]
        real, num = real_scores(everything), max((cell.samples for cell in everything), default=0)
        texts = {}
        for row, found in rows.items():
            replicas = [replica for cell in found for replica in cell.replicas]
            shown = score_texts(replicas, num) if replicas else dict.fromkeys(SHOWN[config.data], "")
            how_many = _how_many(row, found, own)
            texts[row] = {column: f"{text}{how_many}".strip() for column, text in shown.items()}
        columns = [COLUMNS[column] for column in SHOWN[config.data]]
        groups.append(Group(config.data, columns, texts, score_texts([real], num) if real else {}, published(config)))
        for note in (*_protocol(own, everything), *_diverged(own, cells)):
            notes.setdefault(note, []).append(config.data)
    merged = [note if len(data) == len(groups) else f"{', '.join(data)}: {note}" for note, data in notes.items()]
    return grouped_table(groups, [*merged, _budget_note(budget)])


def _how_many(row: str, found: Sequence[Cell], wanted: Sequence[Unit]) -> str:
    """Returns how much of a row is computed, as a text to add to it; empty where all seeds are, and none diverged."""
    wanted_seeds = {unit.config.seed for unit in wanted if unit.row == row}
    planned, done = len(wanted_seeds), sum(len(cell.seeds) for cell in found)
    diverged = sum(len(cell.seeds) for cell in found if cell.diverged)
    if not found:
        return " (not run)"
    parts = [f"{done} of {planned} seeds"] if done < planned else []
    return f" ({', '.join([*parts, *([f'{diverged} diverged'] if diverged else [])])})" if parts or diverged else ""


def _protocol(wanted: Sequence[Unit], cells: Sequence[Cell]) -> list[str]:
    """Returns how long a comparison trains, its seeds, and how it is measured, as the notes of a table."""
    lengths: dict[str, list[str]] = {}
    for row, config in {unit.row: unit.config for unit in wanted}.items():
        lengths.setdefault(f"{config.num_steps:,} steps of {config.batch_size} examples", []).append(row)
    trained = [length if len(lengths) == 1 else f"{', '.join(rows)}: {length}" for length, rows in lengths.items()]
    measured = next((cell.notes for cell in cells if cell.notes), [])
    return [*trained, seeds_note(sorted({unit.config.seed for unit in wanted})), *measured]


def _budget_note(budget: float) -> str:
    return "" if budget == 1 else f"budget: {100 * budget:g} % of the steps"


def _diverged(wanted: Sequence[Unit], cells: Mapping[str, Cell]) -> list[str]:
    """Returns one note on the units that diverged, and why; none if no unit did."""
    reasons = [
        f"{unit.row} with seed {unit.config.seed} ({cells[unit.name].diverged})"
        for unit in wanted
        if unit.name in cells and cells[unit.name].diverged
    ]
    return [f"diverged: {', '.join(reasons)}"] if reasons else []
