"""What each `--mode` does: one function a mode."""

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from tabulate import tabulate

from veegan_jax.config.build import build_source
from veegan_jax.config.convert import comparison, differences, effective, from_effective
from veegan_jax.errors import UserError
from veegan_jax.evaluation import plots, report, tables
from veegan_jax.evaluation.missing import JUDGED, Judged, Missing, Reconstruction, judge, missing
from veegan_jax.evaluation.published import published
from veegan_jax.evaluation.regions import verdict
from veegan_jax.evaluation.score import score, score_against
from veegan_jax.evaluation.scores import Evaluation
from veegan_jax.experiments.compare import compare, train_row
from veegan_jax.experiments.reproduce import read_cells, reproduce, units, write_tables
from veegan_jax.experiments.run import train
from veegan_jax.inference.model import Run, load_with, open_experiment
from veegan_jax.paths import local_path
from veegan_jax.storage import versions
from veegan_jax.storage.checkpoint import fingerprints
from veegan_jax.storage.files import replacing, write_array, write_atomically
from veegan_jax.storage.folder import stored_config

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Where a checkout of the project keeps cells, which git then keeps.
USUAL_CELLS = Path("docs/results/cells")


class Options(NamedTuple):
    """What the command line says to the function of a mode.

    Attributes:
        mode: the name of the mode.
        config: the experiment; None to take the config of the run in the workdir.
        workdir: the run's folder.
        step: the checkpoint to use: 'latest', 'best' or a number.
        num: the number of examples to sample, reconstruct or invert.
        seed: the seed of what is sampled or reconstructed.
        row: the only row of a comparison to train; empty for all rows.
        samples: the file or folder of samples to score; None in other modes.
        reference: the real data to score samples against; None to take those of the config.
        comparisons: the configs of the comparisons to reproduce by their names; none in other modes.
        table: the table of the paper to reproduce; None to reproduce one comparison.
        budget: the factor on the steps of what is reproduced.
        cells: the folder of cells; None for the usual one.
        together: whether all seeds of a row are trained at once.
        rejection: K, of how many samples one is kept on average; None to keep all.
    """

    mode: str
    config: ConfigDict | None
    workdir: Path
    step: str
    num: int
    seed: int
    row: str = ""
    samples: str | None = None
    reference: str | None = None
    comparisons: Mapping[str, ConfigDict] = MappingProxyType({})
    table: int | None = None
    budget: float = 1.0
    cells: str | None = None
    together: bool = False
    rejection: float | None = None


def set_environment(options: Options) -> None:
    """Sets the variables of the environment that the config asks for, before JAX makes its devices."""
    if options.reference:
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
    run, written = (
        (compare, "a folder for each row") if config.compare else (train, "metrics.jsonl, tensorboard/, pictures/")
    )
    outcome = run(config, options.workdir)
    if outcome.table:
        print(f"{outcome.table}\n\n{options.workdir}: results.md, results.json, {written}")
    return outcome.stopped_by


def evaluate(options: Options) -> None:
    """Measures a checkpoint, with a row of its own for samples with rejection, prints the table and writes it."""
    run = _load(options)
    evaluation = Evaluation(run.experiment)
    scores = [evaluation.measure(params)[0] | evaluation.invert(params) for params in run.replicas]
    rows, more = {f"{run.config.objective}, step {run.step:,}": scores}, {}
    if budget := options.rejection:
        kept = [evaluation.measure(p, run.rejection(budget, i).generate)[0] for i, p in enumerate(run.replicas)]
        rows[f"+ rejection, K = {budget:g}"] = kept
        more = {"rejection": {"budget": budget, "replicas": kept}}
    ceiling = evaluation.measure_real()
    table = tables.table(evaluation, rows, ceiling)
    print(table)  # before it is written, because the folder may be read-only
    stem = options.workdir / f"evaluation_step{run.step}{_kept_as(options)}"
    tables.save_results(stem, evaluation, run.step, scores, ceiling, table, **more)


def sample(options: Options) -> None:
    """Writes samples, as an array and as a picture."""
    run = _load(options)
    stem, shape = _stem(options, run), run.experiment.spec.shape
    _check_space(options, 4 * options.num * math.prod(shape))
    shown: list[np.ndarray] = []

    def pieces() -> Iterator[np.ndarray]:
        for piece in run.sample_in_pieces(options.num, options.seed, options.rejection):
            if sum(map(len, shown)) < plots.REAL_SHOWN:
                shown.append(piece)
            yield piece

    path = stem.with_name(f"{stem.name}.npz")
    write_array(path, "samples", (options.num, *shape), pieces())
    print(path)
    if plots.drawable(shape):
        # Points of the plane say nothing without the density around them; images do, and need no data.
        real = run.sampler.real(plots.REAL_SHOWN, options.seed) if shape == (2,) else None
        _write_picture(stem, plots.draw_samples(np.concatenate(shown), real, f"{options.num} samples"))


def _check_space(options: Options, size: int) -> None:
    """Checks that the disk has room for samples before any is drawn."""
    free = shutil.disk_usage(options.workdir).free
    if size > free:
        raise UserError(
            f"--num is {options.num}; these samples take {size / 1e9:,.1f} GB, and {options.workdir} has "
            f"{free / 1e9:,.1f} GB free: a smaller --num takes less"
        )


def reconstruct(options: Options) -> None:
    """Writes held-out examples x beside G(F(x)), as arrays and as a picture, and prints their distance."""
    run = _load(options)
    x = _held_out(run, options)
    reconstructions = run.reconstruct(x, options.seed)
    error = float(np.sqrt(np.mean(np.square(x - reconstructions))))
    print(f"RMS of x − G(F(x)) over {len(x)} held-out examples: {error:.4g}")
    stem = _stem(options, run)
    _write_arrays(stem, x=x, reconstructions=reconstructions)
    if plots.drawable(x.shape[1:]):
        _write_picture(stem, plots.draw_pairs(x, reconstructions))


def show_missing(options: Options) -> None:
    """Says which held-out examples and regions the generator misses, with tables, arrays and pictures."""
    run = _load(options)
    params, sampler, seed = run.replicas[0], run.sampler, options.seed
    inverted = _held_out(run, options)
    x = inverted if len(inverted) >= JUDGED else sampler.real(JUDGED, seed)
    judged = judge(sampler, run.experiment, params, x, seed)
    names = _names(run, judged, seed)
    print(f"{verdict(judged.coverage)}\n\n{report.text(judged, names)}\n")
    stem = _stem(options, run)
    write_atomically(stem.with_suffix(".json"), report.json_text(judged, names))
    print(stem.with_suffix(".json"))
    if plots.drawable(x.shape[1:]):
        _write_picture(stem.with_name(f"{stem.name}_regions"), plots.draw_regions(*report.shown(judged)))
    _show_inverted(options, run, inverted, report.arrays(judged))


def _show_inverted(options: Options, run: Run, x: np.ndarray, judged: Mapping[str, np.ndarray]) -> None:
    """Shows how near the generator comes to examples `[N, …]` with the best latent, and with F(x)."""
    params, sampler, seed = run.replicas[0], run.sampler, options.seed
    z = sampler.invert(params, x, seed)[0]
    nearest, encoded = Reconstruction(z, sampler.decode(params, z, seed)), None
    if run.experiment.objective.encode:
        z = sampler.encode(params, x)
        encoded = Reconstruction(z, sampler.decode(params, z, seed))
    found = missing(x, nearest, encoded)
    print(_missing_table(found))
    stem = _stem(options, run)
    arrays = {name: values for name, values in found._asdict().items() if values is not None}
    _write_arrays(stem, x=x, **arrays, **judged)
    if plots.drawable(x.shape[1:]):
        reached = {"G(F(x))": encoded.x[found.worst]} if encoded else {}
        reached["G(z), z by IvOM"] = nearest.x[found.worst]
        _write_picture(stem, plots.draw_missing(x[found.worst], reached))


def _names(run: Run, judged: Judged, seed: int) -> list[str]:
    """Returns the name of each judged example: its file, or its position among the held-out examples or the draws."""
    positions = run.sampler.real_positions(len(judged.x), seed)
    files = run.experiment.source.held_out_names
    return [files[i] if files else str(i) for i in positions]


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
    "evaluate": evaluate,
    "sample": sample,
    "reconstruct": reconstruct,
    "missing": show_missing,
    "score": score_samples,
    "reproduce": reproduce_cells,
    "fingerprint": print_fingerprint,
}


def _missing_table(found: Missing) -> str:
    rows = {
        "RMS of x − G(z), z by IvOM": found.nearest,
        "‖z‖² from K, in std of χ²(K)": found.nearest_prior,
        "RMS of x − G(F(x))": found.reconstruction,
        "‖F(x)‖² from K, in std of χ²(K)": found.reconstruction_prior,
    }
    body = [
        [name, *(f"{q:.3g}" for q in np.quantile(values, [0, 0.05, 0.5, 0.95, 1]))]
        for name, values in rows.items()
        if values is not None
    ]
    headings = [f"{len(found.worst)} held-out examples", "least", "5 %", "median", "95 %", "most"]
    table = tabulate(body, headings, tablefmt="github", disable_numparse=True)
    return f"{table}\n\nreached worst, by position: {', '.join(str(i) for i in found.worst[:10])}"


def _config(options: Options) -> ConfigDict:
    return options.config or from_effective(stored_config(options.workdir))


def _load(options: Options) -> Run:
    """Returns the trained model of the run in the workdir.

    Raises:
        UserError: if there is none, or a config is given that differs from the run's in more than what is measured.
    """
    stored = stored_config(options.workdir)
    if options.config is not None:
        given = effective(options.config)
        measured = {"eval_samples": 0, "ivom_images": 0}
        if differing := differences({**given, **measured}, {**stored, **measured}):
            raise UserError(
                f"--workdir {options.workdir} holds another run, which differs in {len(differing)} fields; leave "
                "--config out to use the run's own:\n  " + "\n  ".join(differing)
            )
        stored = given
    return load_with(from_effective(stored), options.workdir, options.step)


def _held_out(run: Run, options: Options) -> np.ndarray:
    """Returns as many held-out examples as `--num` says, float32 `[n, …]`, or all, and says so, if there are fewer."""
    x = run.sampler.real(options.num, options.seed)
    if len(x) < options.num:
        print(f"--num is {options.num}; {len(x)} examples are held out, and all of them are taken, each once")
    return x


def _stem(options: Options, run: Run) -> Path:
    """Returns the path of what a mode writes, without the ending."""
    return options.workdir / f"{options.mode}_step{run.step}_seed{options.seed}{_kept_as(options)}"


def _kept_as(options: Options) -> str:
    """Returns the end of the name of a file that holds samples with rejection, or their scores; otherwise nothing."""
    return f"_rejection{options.rejection:g}" if options.rejection else ""


def _write_arrays(stem: Path, **arrays: np.ndarray) -> None:
    """Writes arrays to a file and prints its path."""
    path = stem.with_name(f"{stem.name}.npz")
    with replacing(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    print(path)


def _write_picture(stem: Path, figure: "Figure") -> None:
    """Writes a picture to a file and prints its path."""
    path = stem.with_name(f"{stem.name}.png")
    plots.save(figure, path)
    print(path)
