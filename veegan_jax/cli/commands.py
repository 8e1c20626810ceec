"""What each `--mode` does: one function a mode. Those that use a trained model are in `model_commands`."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import jax
from ml_collections import ConfigDict
from tabulate import tabulate

from veegan_jax.cli import model_commands
from veegan_jax.cli.options import Options
from veegan_jax.config.build import build_source
from veegan_jax.config.convert import comparison, from_effective
from veegan_jax.errors import UserError, one_line
from veegan_jax.evaluation.published import published
from veegan_jax.evaluation.score import score, score_against
from veegan_jax.experiments.compare import compare, train_row
from veegan_jax.experiments.reproduce import read_cells, reproduce, units, write_tables
from veegan_jax.experiments.run import train
from veegan_jax.inference.model import open_experiment
from veegan_jax.paths import local_path
from veegan_jax.storage import versions
from veegan_jax.storage.checkpoint import fingerprints
from veegan_jax.storage.files import write_atomically
from veegan_jax.storage.folder import stored_config

_log = logging.getLogger("veegan_jax")
# Where a checkout of the project keeps cells, which git then keeps.
USUAL_CELLS = Path("docs/results/cells")


def set_environment(options: Options) -> None:
    """Sets the variables of the environment that the config asks for, before JAX makes its devices."""
    if options.reference or options.mode == "report":
        return
    configs = options.comparisons.values() or [_config(options)]
    runs = [run for config in configs for run in (config, *comparison(config).values())]
    versions.set_xla_env(max(run.logical_shards for run in runs), any(run.deterministic for run in runs))


def train_and_print(options: Options) -> str | None:
    """Trains or resumes one run, or the rows of a comparison, and prints the table.

    Returns:
        The name of the signal that stopped it; None if it is finished.
    """
    config = _config(options)
    if options.row:
        return train_row(config, options.workdir, options.row).stopped_by
    if config.compare and jax.process_count() > 1:
        raise UserError("a comparison is trained by one process; several can train one row of it: --row NAME")
    outcome = (compare if config.compare else train)(config, options.workdir)
    if outcome.short_table is not None:
        all_scores = f"all scores, how they are defined, and published ones: {options.workdir}/results.md"
        print(f"{outcome.short_table}\n\n{all_scores}", flush=True)
        # A comparison's report takes minutes, and other processes would wait for that of theirs.
        if options.report and not config.compare and jax.process_count() == 1:
            _report_if_possible(options)
    return outcome.stopped_by


def _report_if_possible(options: Options) -> None:
    """Writes the report of a run that is finished; an error is a warning, since the run itself has none."""
    try:
        model_commands.report(options, draws=1)  # More take longer than a run is to wait for.
    except Exception as error:
        _log.warning("report.html is not written: %s; --mode report tries again", one_line(error))


def score_samples(options: Options) -> None:
    """Scores samples that any program made, prints the table and writes it beside the samples."""
    assert options.samples is not None
    if options.reference:
        scored = score(options.samples, options.reference)
    else:
        config = _config(options)
        source = build_source(config)
        scored = score_against(source, options.samples, config.data, published(config), config.eval_samples)
    print(scored.table)  # before it is written, because the folder may be read-only
    path = local_path(options.samples, "--samples")
    write_atomically(path.with_name(f"{path.stem}_scores.md"), scored.table + "\n")
    numbers = {name: value for name, value in scored._asdict().items() if name != "table"}
    write_atomically(path.with_name(f"{path.stem}_scores.json"), json.dumps(numbers, indent=2) + "\n")


def print_fingerprint(options: Options) -> None:
    """Prints digests of a checkpoint: two runs have the same digests exactly if they have the same bits."""
    experiment = open_experiment(from_effective(stored_config(options.workdir)), options.workdir)
    step, digests, made_by = fingerprints(experiment, options.workdir, options.step)
    print(f"{options.workdir}, step {step:,}")
    print(tabulate(digests.items(), tablefmt="plain"))
    print(f"made by {', '.join(f'{name} {version}' for name, version in made_by.items() if version)}")


def reproduce_cells(options: Options) -> str | None:
    """Computes the cells of comparisons that are not there, and prints what there is before, and in the end.

    Returns:
        The name of the signal that stopped it; None if nothing did.

    Raises:
        UserError: if a cell could not be computed, once all others are.
    """
    wanted = units(options.comparisons, options.budget)
    folder = _cells_folder(options)
    title = f"table{options.table}" if options.table else ""

    def show() -> None:
        table = write_tables(wanted, options.workdir, folder, options.budget, title)
        there = f"{len(read_cells(wanted, folder).found)} of {len(wanted)} cells are in {folder}"
        print(f"{table}\n\n{there}; tables and curves are in {options.workdir}", flush=True)

    if 0 < len(read_cells(wanted, folder).found) < len(wanted):
        show()
    done = reproduce(wanted, options.workdir, folder, options.row, together=options.together)
    if done.stopped_by:
        return done.stopped_by
    show()
    if done.failed:
        name, reason = next(iter(done.failed.items()))
        raise UserError(f"{len(done.failed)} of {len(wanted)} cells could not be computed or used; {name}: {reason}")
    return None


def _cells_folder(options: Options) -> Path:
    """Returns the folder of cells: the one that is given, or that of a checkout of the project, or else the workdir."""
    if options.cells is not None:
        return local_path(options.cells, "--cells")
    return USUAL_CELLS if USUAL_CELLS.is_dir() else options.workdir


# The function of each mode; it returns the name of the signal that stopped it, if any.
COMMANDS: dict[str, Callable[[Options], str | None]] = {
    "train": train_and_print,
    "evaluate": model_commands.evaluate,
    "sample": model_commands.sample,
    "reconstruct": model_commands.reconstruct,
    "encode": model_commands.encode,
    "interpolate": model_commands.interpolate,
    "export": model_commands.export,
    "report": model_commands.report,
    "missing": model_commands.show_missing,
    "score": score_samples,
    "reproduce": reproduce_cells,
    "fingerprint": print_fingerprint,
}


def _config(options: Options) -> ConfigDict:
    return options.config or from_effective(stored_config(options.workdir))
