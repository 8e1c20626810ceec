"""What the modes do that use a trained model: one function a mode."""

import math
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tabulate import tabulate

from veegan_jax.cli import outputs
from veegan_jax.cli.options import Options
from veegan_jax.config.convert import differences, effective, from_effective
from veegan_jax.data.given import read_examples
from veegan_jax.errors import UserError
from veegan_jax.evaluation import missing_report, page, plots, tables
from veegan_jax.evaluation.missing import (
    JUDGED,
    Missing,
    Reconstruction,
    judge,
    missing,
    prior_deviation,
)
from veegan_jax.evaluation.scores import Evaluation
from veegan_jax.evaluation.trained import Run, load_with
from veegan_jax.paths import local_path
from veegan_jax.storage.files import write_atomically
from veegan_jax.storage.folder import CONFIG, DIVERGED, stored_config

# How many examples a mode draws, reconstructs or encodes, and how many ways it interpolates along, unless --num says.
USUAL_NUM, USUAL_WAYS = 64, 8


def evaluate(options: Options) -> None:
    """Measures a checkpoint, with a row of its own for samples with rejection, prints the table and writes it."""
    run = load_run(options)
    evaluation = Evaluation(run.experiment)
    scores = [evaluation.measure(params)[0] | evaluation.invert(params) for params in run.replicas]
    rows, more = {f"{run.config.objective}, step {run.step:,}": scores}, {}
    if budget := options.rejection:
        kept = [evaluation.measure(p, run.rejection(budget, i).generate)[0] for i, p in enumerate(run.replicas)]
        rows[f"+ rejection, K = {budget:g}"] = kept
        more = {"rejection": {"budget": budget, "replicas": kept}}
    ceiling = evaluation.real
    table, short_table = tables.tables(evaluation, rows, ceiling)
    print(short_table, flush=True)  # before the whole table is written, because the folder may be read-only
    stem = _outdir(options) / f"evaluation_step{run.step}{_kept_as(options)}"
    tables.save_results(stem, evaluation, run.step, scores, ceiling, table, **more)
    print(f"\nall scores, how they are defined, and published ones: {stem}.md")


def sample(options: Options) -> None:
    """Writes samples, as an array or as images, and as a picture."""
    from tqdm import tqdm

    run, num = load_run(options), options.num or USUAL_NUM
    stem, shape = _stem(options, run), run.experiment.spec.shape
    outputs.check_formats(options.formats, shape, run.config.data)
    _check_space(stem.parent, num, 4 * num * math.prod(shape) * len(options.formats))
    shown: list[np.ndarray] = []
    bar = tqdm(total=num, unit=" samples", leave=False, disable=not sys.stderr.isatty())
    with bar, outputs.streamed(stem, options.formats, "samples", (num, *shape)) as add:
        for piece in run.batches(num, options.seed, rejection=options.rejection):
            if sum(map(len, shown)) < plots.REAL_SHOWN:
                shown.append(piece)
            add(piece)
            bar.update(len(piece))
    if plots.drawable(shape):
        # Points of the plane say nothing without the density around them; images do, and need no data.
        real = run.sampler.real(plots.REAL_SHOWN, options.seed) if shape == (2,) else None
        drawn = plots.num_drawn(num, shape)
        title = f"{f'{drawn:,} of ' if drawn < num else ''}{num:,} samples, step {run.step:,}"
        outputs.write_picture(stem, plots.draw_samples(np.concatenate(shown), real, title))


def _check_space(folder: Path, num: int, size: int) -> None:
    """Checks that the disk has room for samples before any is drawn."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(
            f"--num is {num}; these samples take {size / 1e9:,.1f} GB, and {folder} has {free / 1e9:,.1f} GB free: a "
            "smaller --num takes less"
        )


def reconstruct(options: Options) -> None:
    """Writes real examples x beside G(F(x)), as arrays and as a picture, and prints their distance."""
    run = load_run(options)
    outputs.check_formats(options.formats, run.experiment.spec.shape, run.config.data)
    x, _ = _examples(run, options)
    reconstructions = run.reconstruct(x, options.seed)
    error = float(np.sqrt(np.mean(np.square(x - reconstructions))))
    print(f"RMS of x − G(F(x)) over {len(x)} {_kind(options)} examples: {error:.4g}")
    stem, images = _stem(options, run), {"x": x, "reconstruction": reconstructions}
    outputs.write(stem, options.formats, images, x=x, reconstructions=reconstructions)
    if plots.drawable(x.shape[1:]):
        outputs.write_picture(stem, plots.draw_pairs(x, reconstructions))


def encode(options: Options) -> None:
    """Writes the latents F(x) of real examples with the names of these, and prints how probable the latents are."""
    run = load_run(options)
    if "png" in options.formats:
        raise UserError("--format png is for images, and latents are none; npz and npy are for all")
    x, names = _examples(run, options)
    z = run.encode(x)
    low, middle, high = np.quantile(prior_deviation(z), [0.05, 0.5, 0.95])
    print(f"F(x) of {len(x)} {_kind(options)} examples, {run.config.latent_dim} latents each")
    print(f"‖F(x)‖² from K, in std of χ²(K): median {middle:.3g}, 5 % to 95 %: {low:.3g} to {high:.3g}")
    outputs.write(_stem(options, run), options.formats, {}, z=z, names=np.asarray(names))


def interpolate(options: Options) -> None:
    """Writes examples along the ways between latents: of a seed, or of the examples that are given."""
    run = load_run(options)
    shape = run.experiment.spec.shape
    outputs.check_formats(options.formats, shape, run.config.data)
    if options.inputs is None:
        z = run.latents(2 * (options.num or USUAL_WAYS), options.seed)
        first, last = z[0::2], z[1::2]
    else:
        z = run.encode(_examples(run, options._replace(num=options.num and options.num + 1))[0])
        first, last = z[:-1], z[1:]
        if not len(first):
            raise UserError(f"--inputs is {options.inputs}; it has 1 example, and interpolation is between at least 2")
    ways = run.interpolate(first, last, options.frames, options.seed)
    stem = _stem(options, run)
    images = {f"way{i:03d}": way for i, way in enumerate(ways)}
    outputs.write(stem, options.formats, images, frames=ways, first=first, last=last)
    if plots.drawable(shape):
        real = run.sampler.real(plots.REAL_SHOWN, options.seed) if shape == (2,) else None
        outputs.write_picture(stem, plots.draw_ways(ways, real))


def export(options: Options) -> None:
    """Writes the model into a folder that needs neither this project nor its data."""
    run = load_run(options)
    folder = _stem(options, run) if options.outdir is None else _outdir(options)
    print(run.export(folder, options.rejection))


def report(options: Options, *, draws: int = page.DRAWS) -> None:
    """Writes the report of the run, or of the runs in a folder, beside others that are given, and prints its path."""
    runs = runs_of(options)
    names = [folder.resolve().name for folder in runs]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in runs]
    path = _outdir(options) / "report.html"
    write_atomically(path, page.report(dict(zip(names, runs, strict=True)), draws=draws))
    print(path)


def runs_of(options: Options) -> list[Path]:
    """Returns the folders of the runs that a report shows."""
    given = [options.workdir, *(local_path(folder, "--beside") for folder in options.beside)]
    return list(dict.fromkeys(run for folder in given for run in _runs(folder)))


def _runs(folder: Path) -> list[Path]:
    """Returns the folders of a comparison's rows that were trained or given up, or the folder of a run itself."""
    begun = [row.parent for row in sorted(folder.glob(f"*/{CONFIG}"))]
    rows = [row for row in begun if (row / "checkpoints").is_dir() or (row / DIVERGED).exists()]
    return [folder] if (folder / CONFIG).exists() or not rows else rows


def show_missing(options: Options) -> None:
    """Says which real examples and regions the generator misses, with tables, arrays and pictures."""
    run = load_run(options)
    params, sampler, seed = run.replicas[run.replica], run.sampler, options.seed
    x, names = _examples(run, options, least=JUDGED)
    judged = judge(sampler, run.experiment, params, x, seed)
    print(f"{judged.verdict}\n\n{missing_report.text(judged, names)}\n")
    stem = _stem(options, run)
    write_atomically(stem.with_name(f"{stem.name}.json"), missing_report.json_text(judged, names))
    print(stem.with_name(f"{stem.name}.json"))
    if plots.drawable(x.shape[1:]):
        outputs.write_picture(stem.with_name(f"{stem.name}_regions"), plots.draw_regions(*missing_report.shown(judged)))
    _show_inverted(options, run, x[: options.num or USUAL_NUM], missing_report.arrays(judged))


def _show_inverted(options: Options, run: Run, x: np.ndarray, judged: Mapping[str, np.ndarray]) -> None:
    """Shows how near the generator comes to examples `[N, …]` with the best latent, and with F(x)."""
    params, sampler, seed = run.replicas[run.replica], run.sampler, options.seed
    z = sampler.invert(params, x, seed)[0]
    nearest, encoded = Reconstruction(z, run.decode(z, seed)), None
    if run.experiment.objective.encode:
        z = run.encode(x)
        encoded = Reconstruction(z, run.decode(z, seed))
    found = missing(x, nearest, encoded)
    print(_missing_table(found, _kind(options)))
    stem = _stem(options, run)
    arrays = {name: values for name, values in found._asdict().items() if values is not None}
    outputs.write(stem, ("npz",), {}, x=x, **arrays, **judged)
    if plots.drawable(x.shape[1:]):
        reached = {"G(F(x))": encoded.x[found.worst]} if encoded else {}
        reached["G(z), z by IvOM"] = nearest.x[found.worst]
        outputs.write_picture(stem, plots.draw_missing(x[found.worst], reached))


def _missing_table(found: Missing, kind: str) -> str:
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
    headings = [f"{len(found.worst)} {kind} examples", "least", "5 %", "median", "95 %", "most"]
    table = tabulate(body, headings, tablefmt="github", disable_numparse=True)
    return f"{table}\n\nreached worst, by position: {', '.join(str(i) for i in found.worst[:10])}"


def load_run(options: Options) -> Run:
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
    return load_with(from_effective(stored), options.workdir, options.step, options.replica)


def _examples(run: Run, options: Options, least: int = 0) -> tuple[np.ndarray, list[str]]:
    """Returns the examples that `--inputs` gives, or held-out ones, at least `least` of these, and the name of each.

    Examples are float32 `[n, …]`. A name is that of the example's file, or its position.
    """
    if options.inputs is not None:
        given = read_examples(options.inputs, run.experiment.spec, "--inputs")
        x = given.x[: options.num]
        return x, list(given.names[: len(x)]) or [str(i) for i in range(len(x))]
    num = options.num or USUAL_NUM
    x, files = run.sampler.real(max(num, least), options.seed), run.experiment.source.held_out_names
    if len(x) < num:
        print(f"--num is {num}; {len(x)} examples are held out, and all of them are taken, each once")
    return x, [files[i] if files else str(i) for i in run.sampler.real_positions(len(x), options.seed)]


def _kind(options: Options) -> str:
    return "held-out" if options.inputs is None else "given"


def _outdir(options: Options) -> Path:
    """Returns the folder of what is written, which is made if it is not there."""
    if options.outdir is None:
        return options.workdir
    folder = local_path(options.outdir, "--outdir")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--outdir is {folder}; it cannot be made: {error.strerror}; name another folder") from error
    return folder


def _stem(options: Options, run: Run) -> Path:
    """Returns the path of what a mode writes, without the ending."""
    replica = ("_given" if options.inputs else "") + (f"_replica{run.replica}" if run.replica else "")
    return _outdir(options) / f"{options.mode}_step{run.step}_seed{options.seed}{replica}{_kept_as(options)}"


def _kept_as(options: Options) -> str:
    """Returns the end of the name of a file that holds samples with rejection, or their scores; otherwise nothing."""
    return f"_rejection{options.rejection:g}" if options.rejection else ""
