"""What each `--mode` does: one function a mode."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from tabulate import tabulate

from veegan_jax.config.build import build
from veegan_jax.config.convert import comparison, differences, effective, from_effective
from veegan_jax.errors import UserError
from veegan_jax.evaluation import plots as report
from veegan_jax.evaluation import tables
from veegan_jax.evaluation.missing import Missing, Reconstruction, missing
from veegan_jax.evaluation.scores import Evaluation
from veegan_jax.experiments.compare import compare, train_row
from veegan_jax.experiments.run import train
from veegan_jax.inference.model import Run, load_with
from veegan_jax.storage import versions
from veegan_jax.storage.checkpoint import fingerprints
from veegan_jax.storage.files import replacing
from veegan_jax.storage.folder import stored_config


class Options(NamedTuple):
    """What the command line says to the function of a mode.

    Attributes:
        config: the experiment; None to take the config of the run in the workdir.
        workdir: the run's folder.
        step: the checkpoint to use: 'latest', 'best' or a number.
        num: the number of examples to sample, reconstruct or invert.
        seed: the seed of what is sampled or reconstructed.
        row: the only row of a comparison to train; empty for all rows.
    """

    config: ConfigDict | None
    workdir: Path
    step: str
    num: int
    seed: int
    row: str = ""


def set_environment(options: Options) -> None:
    """Sets the variables of the environment that the config asks for, before JAX makes its devices."""
    config = _config(options)
    runs = [config, *comparison(config).values()]
    versions.set_xla_env(max(run.logical_shards for run in runs), any(run.deterministic for run in runs))


def _config(options: Options) -> ConfigDict:
    return options.config or from_effective(stored_config(options.workdir))


def run_training(options: Options) -> str | None:
    """Trains one run, or those of a comparison, and prints the table; returns the signal that stopped it, if any."""
    config = _config(options)
    if options.row:
        return train_row(config, options.workdir, options.row).stopped_by
    if config.compare and jax.process_count() > 1:
        raise UserError("a comparison is trained by one process; several can train one row of it: --row NAME")
    run, left = (
        (compare, "a folder for each row") if config.compare else (train, "metrics.jsonl, tensorboard/, pictures/")
    )
    outcome = run(config, options.workdir)
    if outcome.table:
        print(f"{outcome.table}\n\n{options.workdir}: results.md, results.json, {left}")
    return outcome.stopped_by


def run_evaluation(options: Options) -> None:
    """Measures a checkpoint, and prints the table."""
    run = _load(options)
    evaluation = Evaluation(run.experiment)
    measured = [evaluation.measure(params)[0] | evaluation.invert(params) for params in run.replicas]
    ceiling = evaluation.measure_real()
    table = tables.table(evaluation, {f"{run.config.objective}, step {run.step:,}": measured}, ceiling)
    print(table)  # before it is written, which may be refused
    tables.save_results(options.workdir / f"evaluation_step{run.step}", run.step, measured, ceiling, table)


def run_fingerprint(options: Options) -> None:
    """Prints digests of a checkpoint: two runs have the same exactly if they have the same bits."""
    step, found, made_by = fingerprints(
        build(from_effective(stored_config(options.workdir))), options.workdir, options.step
    )
    print(f"{options.workdir}, step {step:,}")
    print(tabulate(found.items(), tablefmt="plain"))
    print(f"made by {', '.join(f'{name} {version}' for name, version in made_by.items() if version)}")


def run_sampling(options: Options) -> None:
    """Writes samples as an array and as a picture."""
    run = _load(options)
    samples = run.sample(options.num, options.seed)
    stem = options.workdir / f"sample_step{run.step}_seed{options.seed}"
    _save_arrays(stem.with_suffix(".npz"), samples=samples)
    _say(stem.with_suffix(".npz"))
    if report.drawable(samples.shape[1:]):
        real = run.held_out(report.REAL_SHOWN, options.seed)
        report.save(report.draw_samples(samples, real, f"{options.num} samples"), stem.with_suffix(".png"))
        _say(stem.with_suffix(".png"))


def run_reconstruction(options: Options) -> None:
    """Writes held-out examples x beside G(F(x)), as arrays and as a picture."""
    run = _load(options)
    x = run.held_out(options.num, options.seed)
    reconstructions = run.reconstruct(x, options.seed)
    stem = options.workdir / f"reconstruct_step{run.step}_seed{options.seed}"
    _save_arrays(stem.with_suffix(".npz"), x=x, reconstructions=reconstructions)
    error = float(np.sqrt(np.mean(np.square(x - reconstructions))))
    print(f"RMS of x − G(F(x)) over {options.num} held-out examples: {error:.4g}")
    _say(stem.with_suffix(".npz"))
    if report.drawable(x.shape[1:]):
        report.save(report.draw_pairs(x, reconstructions), stem.with_suffix(".png"))
        _say(stem.with_suffix(".png"))


def run_missing(options: Options) -> None:
    """Reports the held-out examples that the generator misses, as a table, arrays and a picture."""
    run = _load(options)
    params, sampler, seed = run.replicas[0], run.sampler, options.seed
    x = run.held_out(options.num, seed)
    z = sampler.invert(params, x, seed)[0]
    nearest, encoded = Reconstruction(z, sampler.decode(params, z, seed)), None
    if run.experiment.objective.encode:
        z = sampler.encode(params, x)
        encoded = Reconstruction(z, sampler.decode(params, z, seed))
    found = missing(x, nearest, encoded)
    stem = options.workdir / f"missing_step{run.step}_seed{seed}"
    measured = {name: values for name, values in found._asdict().items() if values is not None}
    _save_arrays(stem.with_suffix(".npz"), x=x, **measured)
    print(_missing_table(found))
    _say(stem.with_suffix(".npz"))
    if report.drawable(x.shape[1:]):
        made = {"G(F(x))": encoded.x[found.worst]} if encoded else {}
        made["G(z), z by IvOM"] = nearest.x[found.worst]
        report.save(report.draw_missing(x[found.worst], made), stem.with_suffix(".png"))
        _say(stem.with_suffix(".png"))


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


COMMANDS: dict[str, Callable[[Options], str | None]] = {
    "train": run_training,
    "evaluate": run_evaluation,
    "sample": run_sampling,
    "reconstruct": run_reconstruction,
    "missing": run_missing,
    "fingerprint": run_fingerprint,
}


def _load(options: Options) -> Run:
    """The trained model; a config given beside the workdir may differ from the run's in what is measured only."""
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
    return load_with(build(from_effective(stored)), options.workdir, options.step)


def _save_arrays(path: Path, **arrays: np.ndarray) -> None:
    with replacing(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _say(path: Path) -> None:
    print(path)
