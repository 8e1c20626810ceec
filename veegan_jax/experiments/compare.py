"""A comparison: several methods on the same data, nets, budget and seeds, as one table."""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from veegan_jax.config.build import build
from veegan_jax.config.convert import comparison, effective
from veegan_jax.errors import NonFiniteError, UserError, suggestion
from veegan_jax.evaluation import plots
from veegan_jax.evaluation.scores import Evaluation
from veegan_jax.evaluation.tables import WIDTH, Tables, tables
from veegan_jax.experiments.cells import RESULTS, Cell, draw_rows, finished, real_scores
from veegan_jax.experiments.run import Outcome, train
from veegan_jax.parallel import processes
from veegan_jax.storage.files import write_atomically
from veegan_jax.storage.folder import DIVERGED, check_or_write_config, locked
from veegan_jax.storage.writers import chosen_writers
from veegan_jax.train.compile import select_devices


def compare(config: ConfigDict, workdir: Path) -> Outcome:
    """Trains each row of a comparison in a folder of its own, and writes one table and one picture of them all.

    A finished row is read, not trained again. A row whose losses stop being finite is reported as diverged, and the
    other rows are trained all the same.

    Raises:
        UserError: if any row's config, or a folder, is wrong or in use, before anything is compiled.
    """
    rows = comparison(config)
    evaluations = {name: Evaluation(build(row)) for name, row in rows.items()}
    for row in rows.values():
        select_devices(row)
        chosen_writers(row.writers)
    with locked(workdir):
        for name, row in rows.items():
            contents = evaluations[name].experiment.source.contents
            check_or_write_config(workdir / name, effective(row), contents)
        cells = {}
        for name, row in rows.items():
            if (cell := finished(workdir / name, row)) is None:
                outcome = train_or_diverge(row, workdir / name, name)
                # No row needs another row's programs, and Linux grants a process only a limited number of memory maps.
                jax.clear_caches()
                if outcome.stopped_by:
                    return outcome
                cell = finished(workdir / name, row)
            assert cell is not None
            cells[name] = cell
            print(f"{name}: {cell.diverged or 'done'}", flush=True)
        table, short_table = _write_table(next(iter(evaluations.values())), cells, workdir)
        return Outcome(config.num_steps, table, None, short_table)


def train_row(config: ConfigDict, workdir: Path, name: str) -> Outcome:
    """Trains one row of a comparison, in the folder where `compare` then finds it finished.

    Raises:
        UserError: if there is no such row, or its config or folder is wrong.
    """
    rows = comparison(config)
    if name not in rows:
        raise UserError(f"--row is {name!r}; {suggestion(name, rows) if rows else 'this config compares nothing'}")
    if processes.broadcast(np.bool_(finished(workdir / name, rows[name]) is not None)):
        return Outcome(config.num_steps, None, None)
    return train_or_diverge(rows[name], workdir / name, name)


def train_or_diverge(config: ConfigDict, folder: Path, name: str) -> Outcome:
    """Trains the row of this name, which is finished then unless a signal stops it.

    If it diverges, a file in its folder says so. JSON has no numbers that are not finite, so a model with such a score
    has diverged too.
    """
    try:
        outcome = train(config, folder, name)
        reason = "" if outcome.stopped_by else f"a score of step {config.num_steps} is not finite"
    except NonFiniteError as error:
        outcome, reason = Outcome(config.num_steps, None, None), str(error).partition(";")[0]
    if reason and processes.is_primary() and finished(folder, config) is None:
        write_atomically(folder / DIVERGED, json.dumps({"diverged": reason}) + "\n")
    return outcome


def _write_table(evaluation: Evaluation, cells: Mapping[str, Cell], workdir: Path) -> Tables:
    """Writes the results and the curves of all rows, and returns their table."""
    scores = {name: cell.replicas for name, cell in cells.items()}
    real = real_scores(cells.values())
    table, short_table = tables(evaluation, scores, real)
    if diverged := [f"{name}: {cell.diverged}" for name, cell in cells.items() if cell.diverged]:
        note = "Diverged: " + "; ".join(diverged) + "."
        table, short_table = f"{table}\n\n{note}", f"{short_table}\n\n{textwrap.fill(note, WIDTH)}"
    write_atomically(workdir / RESULTS, json.dumps({"rows": scores, "real": real}, indent=2) + "\n")
    write_atomically(workdir / "results.md", table + "\n")
    if plots.installed():
        plots.save(draw_rows({name: [cell] for name, cell in cells.items()}), workdir / "curves.png")
    return Tables(table, short_table)
