"""A comparison: several methods on the same data, nets, budget and seeds, as one table."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from veegan_jax.config.build import build
from veegan_jax.config.convert import comparison, effective, read_json
from veegan_jax.errors import NonFiniteError, UserError, suggestion
from veegan_jax.evaluation.scores import Evaluation
from veegan_jax.evaluation.tables import table
from veegan_jax.experiments.run import Outcome, train
from veegan_jax.parallel import processes
from veegan_jax.storage.files import write_atomically
from veegan_jax.storage.folder import CONFIG, check_or_write_config, locked, stored_config
from veegan_jax.train.compile import select_devices

RESULTS, DIVERGED = "results.json", "diverged.json"


def compare(config: ConfigDict, workdir: Path) -> Outcome:
    """Trains each row of a comparison in a folder of its own, and writes one table of them all.

    A finished row is read, not trained again. A row whose losses stop being finite is reported as diverged, and the
    other rows are trained all the same.

    Raises:
        UserError: if any row's config, or a folder, is wrong or in use, before anything is compiled.
    """
    rows = comparison(config)
    evaluations = {name: Evaluation(build(row)) for name, row in rows.items()}
    for row in rows.values():
        select_devices(row)
    with locked(workdir):
        for name, row in rows.items():
            contents = evaluations[name].experiment.source.contents
            check_or_write_config(workdir / name, effective(row), contents)
        results = {}
        for name, row in rows.items():
            if (found := finished(workdir / name, row)) is None:
                outcome = _train(row, workdir / name)
                # No row needs another row's programs, and Linux grants a process only a limited number of memory maps.
                jax.clear_caches()
                if outcome.stopped_by:
                    return outcome
                found = finished(workdir / name, row)
            results[name] = found or {}
            print(f"{name}: {results[name].get('diverged') or 'done'}", flush=True)
        return Outcome(config.num_steps, _write_table(next(iter(evaluations.values())), results, workdir), None)


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
    return _train(rows[name], workdir / name)


def finished(folder: Path, config: ConfigDict) -> dict[str, Any] | None:
    """Returns the results of a row that has been trained to the end, or has diverged; None if it has not."""
    if not (folder / CONFIG).exists() or stored_config(folder) != json.loads(json.dumps(effective(config))):
        return None
    for path in (folder / RESULTS, folder / DIVERGED):
        # Without whole results the row resumes from its last checkpoint, and is measured again.
        with suppress(UserError):
            results = read_json(path)
            if "diverged" in results or results.get("step") == config.num_steps:
                return results
    return None


def _write_table(evaluation: Evaluation, results: Mapping[str, Mapping[str, Any]], workdir: Path) -> str:
    """Writes the results of all rows, and returns their table."""
    scores = {name: found.get("replicas", []) for name, found in results.items()}
    # The score of the prior itself is known only to rows that have a reconstructor, so all rows' ceilings are merged.
    real = {name: value for found in results.values() for name, value in found.get("real", {}).items()}
    markdown = table(evaluation, scores, real)
    if diverged := [f"{name}: {found['diverged']}" for name, found in results.items() if "diverged" in found]:
        markdown += "\n\nDiverged: " + "; ".join(diverged) + "."
    write_atomically(workdir / RESULTS, json.dumps({"rows": scores, "real": real}, indent=2) + "\n")
    write_atomically(workdir / "results.md", markdown + "\n")
    return markdown


def _train(config: ConfigDict, folder: Path) -> Outcome:
    """Trains a row; a row that diverges leaves a file that says so."""
    try:
        return train(config, folder)
    except NonFiniteError as error:
        if processes.is_primary():
            write_atomically(folder / DIVERGED, json.dumps({"diverged": str(error).partition(";")[0]}) + "\n")
        return Outcome(config.num_steps, None, None)
