"""The report of one or more runs: one HTML file that needs no other file and no network."""

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.config.convert import effective, read_json
from veegan_jax.config.fields import defaults, leaves
from veegan_jax.errors import UserError, check_installed, one_line
from veegan_jax.evaluation import drawings, plots
from veegan_jax.evaluation.curves import curve
from veegan_jax.evaluation.missing import Judged
from veegan_jax.evaluation.missing_report import shown
from veegan_jax.evaluation.published import published
from veegan_jax.evaluation.regions import COVERED, Modes
from veegan_jax.evaluation.scores import Scores
from veegan_jax.evaluation.spaces import space
from veegan_jax.evaluation.tables import score_texts
from veegan_jax.evaluation.trained import Run, load, pixels
from veegan_jax.inference.rejection import classifier_file
from veegan_jax.metrics import COLUMNS
from veegan_jax.objectives.whitened import NET
from veegan_jax.storage.history import read_history
from veegan_jax.storage.logs import read_rows
from veegan_jax.version import __version__

_log = logging.getLogger("veegan_jax")
# The numbers of pictures over time, of points in a drawing, of arrows, of lines, of images, and of ways.
FRAMES, POINTS, ARROWS, LINES, IMAGES, WAYS = 10, 2000, 120, 150, 50, 6
# The number of curves that are shown at once.
SHOWN_CURVES = 6
# The seed of what a report draws.
SEED = 11
# The side, in screen pixels, to which small images are enlarged.
SIDE = 48


# From examples to what is known of their modes.
KnownModes = Callable[[np.ndarray], Modes | None]


class Figure(NamedTuple):
    """A picture of a report.

    Attributes:
        caption: what is shown.
        alt: what a person who cannot see it has to know.
        svg: the drawing; or empty.
        image: the address of the picture, where there is no drawing.
    """

    caption: str
    alt: str
    svg: str = ""
    image: str = ""


class Section(NamedTuple):
    """A part of a report.

    Attributes:
        title: the heading.
        text: what is to be known.
        figures: the pictures.
        slider: whether the pictures are shown one at a time.
        more: pictures that are shown when somebody asks for them.
        table: rows of texts, the first of which are the headings; or empty.
    """

    title: str
    text: str = ""
    figures: Sequence[Figure] = ()
    slider: bool = False
    more: Sequence[Figure] = ()
    table: Sequence[Sequence[str]] = ()


class Shown(NamedTuple):
    """A run as the page shows it.

    Attributes:
        name: the name.
        verdict: what the run is, and what it misses.
        sections: the parts.
    """

    name: str
    verdict: str
    sections: Sequence[Section]


class Measured(NamedTuple):
    """The scores of a run.

    Attributes:
        step: the step that was measured last.
        replicas: the scores of each seed.
        real: the scores of real data; empty if the run is not finished.
        samples: the number of samples in a measurement; 0 if that is not known.
        notes: how scores are defined.
    """

    step: int
    replicas: Sequence[Scores]
    real: Scores
    samples: int
    notes: Sequence[str]


def report(folders: Mapping[str, Path]) -> str:
    """Returns the page of some runs, by their names.

    Raises:
        UserError: if one of them is no run, or has no checkpoint, or a package of the extra `report` is not installed.
    """
    for package in ("jinja2", "matplotlib"):
        check_installed(package, "report", "a report")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    runs = {name: load(folder) for name, folder in folders.items()}
    scores = {name: measured(folder) for name, folder in folders.items()}
    environment = Environment(
        loader=PackageLoader("veegan_jax.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    first = next(iter(runs.values()))
    if others := {run.config.data for run in runs.values()} - {first.config.data}:
        raise UserError(
            f"a report has one source of data, and the runs are on {first.config.data} and "
            f"{', '.join(sorted(others))}; make a report of each"
        )
    makers = (lambda: _headline(runs, scores), lambda: _curves(folders, scores), lambda: _beside(runs))
    title = next(iter(folders)) if len(folders) == 1 else f"{len(folders)} runs on {first.config.data}"
    return environment.get_template("report.html").render(
        title=title,
        together=[section for make in makers if (section := _guarded(make, next(iter(folders.values()))))],
        runs=[_show(name, runs[name], folder) for name, folder in folders.items()],
        version=__version__,
    )


def measured(folder: Path) -> Measured:
    """Returns the last scores of a run: those of its results or, if it is not finished, of its log."""
    if (path := folder / "results.json").exists():
        found = read_json(path)
        return Measured(
            found["step"], found["replicas"], found["real"], found.get("samples", 0), found.get("notes", [])
        )
    rows = [row for row in read_rows(folder) if any(name in COLUMNS for name in row)]
    if not rows:
        return Measured(0, [], {}, 0, [])
    return Measured(int(rows[-1]["step"]), [{n: v for n, v in rows[-1].items() if n in COLUMNS}], {}, 0, [])


def _headline(runs: Mapping[str, Run], scores: Mapping[str, Measured]) -> Section:
    """Returns the table of all scores, a column for each run and one for real data, and published figures."""
    real = next((one.real for one in scores.values() if one.real), {})
    columns: dict[str, Mapping[str, str]] = {
        f"{name}, step {one.step:,}": score_texts(one.replicas, one.samples or 10**9) for name, one in scores.items()
    }
    columns |= {"real data": score_texts([real], 10**9)} if real else {}
    for run in runs.values():
        columns |= {
            row: texts for row, texts in published(run.config).items() if row.split()[0] == run.config.objective
        }
    known = [name for name in COLUMNS if any(name in texts for texts in columns.values())]
    table = [["score", *columns], *([COLUMNS[n].title, *(t.get(n, "–") for t in columns.values())] for n in known)]
    notes = next((one.notes for one in scores.values() if one.notes), [])
    text = "; ".join(notes) if known else "Nothing was measured yet."
    return Section("Scores", text, table=table if known else ())


def _curves(folders: Mapping[str, Path], scores: Mapping[str, Measured]) -> Section:
    curves = {name: curve(read_rows(folder)) for name, folder in folders.items()}
    real = next((one.real for one in scores.values() if one.real), {})
    known = [name for name in COLUMNS if any(name in one for one in curves.values())]
    known += sorted(
        {name for one in curves.values() for name in one if name.startswith("loss/")} | {"d"} & set(_names(curves))
    )
    figures = [
        Figure("", f"{_title(name)} over the steps of training", drawings.curve_of(name, curves, real.get(name)))
        for name in known
    ]
    text = "Lines are means over seeds, with a band of ± their standard error; dashed: real data."
    return Section("Over training", text, figures[:SHOWN_CURVES], more=figures[SHOWN_CURVES:])


def _beside(runs: Mapping[str, Run]) -> Section | None:
    """Returns the samples of several runs side by side."""
    if len(runs) < 2:
        return None
    figures = []
    for name, run in runs.items():
        shape, x = run.experiment.spec.shape, run.sample(POINTS if _is_plane(run) else 36, SEED)
        if _is_plane(run):
            svg = drawings.points(_held_out(run, POINTS), x, name)
            figures.append(Figure("", f"Samples of {name} over real data", svg))
        elif len(shape) == 3 and shape[-1] in (1, 3):
            figures.append(_images(name, x, 6, alt=f"Samples of {name}"))
    return Section("Samples side by side", figures=figures) if figures else None


def _names(curves: Mapping[str, Any]) -> Iterator[str]:
    return (name for one in curves.values() for name in one)


def _title(name: str) -> str:
    return COLUMNS[name].title if name in COLUMNS else name


def _show(name: str, run: Run, folder: Path) -> Shown:
    """Returns a run's own sections, which are those of its first seed."""
    judged = functools.cache(lambda: run.missing(seed=SEED))
    modes = functools.cache(lambda: space(run.experiment.source).modes)
    makers: Sequence[Callable[[], Section | None]] = (
        lambda: _over_time(run, folder),
        lambda: _samples(run, modes),
        lambda: _missing(run, judged()),
        lambda: _critic(run),
        lambda: _latents(run, modes),
        lambda: _pairs(run),
        lambda: _ways(run),
        lambda: _rejection(run, folder),
        lambda: _facts(run, folder),
    )
    sections = [section for make in makers if (section := _guarded(make, folder))]
    what = f"{run.config.objective} on {run.config.data}, step {run.step:,}, seed {run.config.seed + run.replica}"
    found = _guarded(lambda: Section("", judged().verdict), folder)
    return Shown(name, f"{what}: {found.text if found else ''}", sections)


def _guarded(make: Callable[[], Section | None], folder: Path) -> Section | None:
    """Returns what a function makes; one that fails says so, and takes no other part of the page with it."""
    try:
        return make()
    except UserError as error:
        return Section("Not shown", str(error))
    except Exception as error:
        _log.warning("a part of the report of %s is left out: %s", folder, one_line(error))
        return Section("Not shown", f"This part failed: {one_line(error)}.")


def _is_plane(run: Run) -> bool:
    return run.experiment.spec.shape == (2,)


def _over_time(run: Run, folder: Path) -> Section | None:
    """Returns the samples at up to ten steps, one at a time."""
    if _is_plane(run):
        frames, real = plots.load_frames(folder / "samples"), _held_out(run, POINTS)
        made = {step: drawings.points(real, x[:POINTS], f"step {step:,}") for step, x in _some(frames).items()}
        figures = [
            Figure(f"step {step:,}", f"Samples at step {step:,} over real data", svg) for step, svg in made.items()
        ]
    else:
        found = {int(path.stem.partition("_")[2]): path for path in sorted(folder.glob("pictures/samples_*.png"))}
        figures = [
            Figure(f"step {step:,}", f"Samples at step {step:,}", image=drawings.as_address(path.read_bytes()))
            for step, path in _some(found).items()
        ]
    return Section("Samples over training", figures=figures, slider=True) if figures else None


def _some(frames: Mapping[int, Any]) -> dict[int, Any]:
    """Returns up to ten entries, evenly spaced, the first and the last among them."""
    steps = sorted(frames)
    chosen: Sequence[int] = (
        np.unique(np.linspace(0, len(steps) - 1, min(FRAMES, len(steps))).round().astype(int)).tolist() if steps else []
    )
    return {steps[i]: frames[steps[i]] for i in chosen}


def _samples(run: Run, modes: Callable[[], KnownModes]) -> Section | None:
    if len(run.experiment.spec.shape) != 3:
        return None
    x = run.sample(IMAGES, SEED)
    if "stacked_modes" in run.experiment.spec.metrics or "digit_modes" in run.experiment.spec.metrics:
        return _stacks(x[:24], modes()(x[:24]))
    if x.shape[-1] not in (1, 3):
        return Section("Samples", f"Images of {x.shape[-1]} channels cannot be drawn.")
    figures = [_images(f"{len(x)} samples", x, 10)]
    return Section("Samples", figures=figures)


def _stacks(x: np.ndarray, modes: Modes | None) -> Section:
    """Returns stacks as grey digits side by side, with the digits that the classifier reads."""
    assert modes is not None
    figures = []
    for i, stack in enumerate(x):
        digits = "".join(map(str, modes.attributes[i]))
        grey = np.moveaxis(stack, -1, 0)[..., None]
        figures.append(_images(digits, grey, stack.shape[-1], alt=f"The digits {digits}"))
    return Section(
        "Samples",
        "Each sample is a stack of grey digits, drawn side by side; below: what the classifier reads.",
        figures,
    )


def _images(caption: str, x: np.ndarray, columns: int, alt: str = "") -> Figure:
    """Returns a figure of images in [−1, 1], `[N, H, W, C]`, C = 1 or 3, enlarged where they are small."""
    scale = max(1, SIDE // x.shape[1])
    return Figure(caption, alt or caption, image=drawings.image_grid(pixels(x), columns, scale))


def _missing(run: Run, judged: Judged) -> Section:
    """Returns what the generator misses: the modes by name, and the examples that it reaches worst."""
    regions = [r for r in judged.coverage.regions if r.status != COVERED]
    table = [["region", "status", "share of the data (%)", "samples, 1 is right"]]
    table += [[r.name, r.status, f"{100 * r.share:.3g}", f"{r.generated:.2f}"] for r in regions]
    covered = len(judged.coverage.regions) - len(regions)
    text = f"{judged.verdict}." + (f" {covered} regions are covered." if covered else "")
    x, missed, beside, _ = shown(judged)
    figures = []
    if _is_plane(run):
        (samples,) = beside.values()
        svg = drawings.missed(x[:POINTS], missed[:POINTS], samples[:POINTS])
        figures.append(Figure("", "Held-out examples that are missed, over samples", svg))
    elif len(x.shape) == 4 and x.shape[-1] in (1, 3):
        figures += [_images(caption, images[:10], 10) for caption, images in beside.items()]
    return Section("What it misses", text, figures, table=table if regions else ())


def _critic(run: Run) -> Section | None:
    """Returns the critic over the plane, for critics that see one example at a time, or a pair with F(x)."""
    logit = _logit(run) if _is_plane(run) else None
    if logit is None:
        return None
    real, samples = _held_out(run, POINTS), run.sample(ARROWS, SEED)
    svg = drawings.critic(real, logit, samples)
    text = (
        "How real the critic of x takes a point for: yellow is taken for data. For logistic losses this is an estimate "
        "of log p(x)/q(x), of data and samples; a relativistic critic is known up to a constant, and penalties flatten "
        "all of them. A critic of pairs is shown at (F(x), x). Arrows show where the value grows."
    )
    return Section(
        "The critic",
        text,
        [Figure("", "The critic over the plane, and where its value grows", svg)],
    )


def _logit(run: Run) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
    objective, params = run.experiment.objective, run.replicas[run.replica]
    shape = run.experiment.spec.shape
    if run.config.packing > 1 or NET in objective.nets:
        return None
    # The critic of an adversarial autoencoder sees latents, whose shape may be that of points.
    named = () if run.config.objective == "aae" else ("disc_x", "disc")
    alone = next((net for net in named if objective.inputs.get(net) == (shape,)), None)
    pairs = objective.encode and len(objective.inputs["disc"]) == 2

    def real(params: Any, x: jax.Array) -> jax.Array:
        if alone:
            return -objective.nets[alone].apply(params[alone], x)
        assert objective.encode
        return -objective.nets["disc"].apply(params["disc"], objective.encode(params, x), x)

    def total(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        values = real(params, x)
        return jnp.sum(values), values

    if not alone and not pairs:
        return None
    with_gradient = jax.jit(jax.value_and_grad(total, argnums=1, has_aux=True))

    def logit(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (_, values), gradient = with_gradient(params, jnp.asarray(x, jnp.float32))
        return np.asarray(values), np.asarray(gradient)

    return logit


def _latents(run: Run, modes: Callable[[], KnownModes]) -> Section | None:
    if run.experiment.objective.encode is None:
        return None
    x = _held_out(run, POINTS)
    known = modes()(x)
    svg = drawings.latents(run.encode(x), None if known is None else known.attributes[:, 0])
    text = (
        "Each point is F(x), the mean of p(z|x), of a held-out example. Where p(z|x) has a standard deviation σ, F(x) "
        "and σ together reach the prior, so that F(x) alone is narrower. Parts of the prior that F(x) leaves empty may "
        "be modes of the generator without data; F(x) far outside of the prior are examples that it may not make."
    )
    return Section("F(x) against the prior", text, [Figure("", "F(x) of held-out examples against the prior", svg)])


def _held_out(run: Run, n: int) -> np.ndarray:
    return run.held_out(min(n, run.experiment.source.num_held_out), SEED)


def _pairs(run: Run) -> Section | None:
    if run.experiment.objective.encode is None or not plots.drawable(run.experiment.spec.shape):
        return None
    x = _held_out(run, LINES if _is_plane(run) else 10)
    again = run.reconstruct(x, SEED)
    if _is_plane(run):
        figures = [Figure("", "Lines from held-out points to their reconstructions", drawings.pairs(x, again))]
    elif x.shape[-1] in (1, 3):
        figures = [_images("x, held out; below: G(F(x))", np.concatenate([x, again]), len(x))]
    else:
        return None
    return Section("x → G(F(x))", figures=figures)


def _ways(run: Run) -> Section | None:
    shape = run.experiment.spec.shape
    if not plots.drawable(shape) or len(shape) == 3 and shape[-1] not in (1, 3):
        return None
    z = run.latents(2 * WAYS, SEED)
    found = run.interpolate(z[:WAYS], z[WAYS:], 25 if _is_plane(run) else 10)
    if _is_plane(run):
        real = _held_out(run, POINTS)
        figure = Figure("", "Samples along interpolations between latents", drawings.ways(found, real))
    else:
        figure = _images(f"{WAYS} ways between two latents, a row each", found.reshape(-1, *shape), 10)
    return Section("Interpolations", figures=[figure])


def _rejection(run: Run, folder: Path) -> Section | None:
    """Returns samples of the plane before and after rejection, where the run has a classifier already."""
    if not _is_plane(run):
        return None
    if not classifier_file(run.experiment, run.replicas[run.replica], folder).exists():
        return Section("Rejection", "Not shown: `--mode sample --rejection 1.25` trains its classifier once.")
    before, after = run.sample(POINTS, SEED), run.sample(POINTS, SEED, rejection=1.25)
    real = _held_out(run, POINTS)
    figures = [
        Figure("", "All samples over real data", drawings.points(real, before, "all samples")),
        Figure("", "Samples that are kept over real data", drawings.points(real, after, "with rejection, K = 1.25")),
    ]
    return Section("Rejection", "One of 1.25 samples is kept, by the ratio of the densities.", figures)


def _facts(run: Run, folder: Path) -> Section:
    """Returns how the run was made: its config where it differs from the defaults, versions, machines and commands."""
    usual = dict(leaves(defaults()))
    fields = dict(leaves(effective(run.config)))
    changed = [
        [f"config.{path}", str(value)] for path, value in fields.items() if _plain(value) != _plain(usual.get(path))
    ]
    rows, history = read_rows(folder), read_history(folder)
    facts = [["seeds", f"{run.config.seed} to {run.config.seed + run.config.num_seeds - 1}"]]
    speed = [row["steps_per_second"] for row in rows if row.get("steps_per_second")]
    facts += [["steps a second", f"{speed[-1]:.3g}"]] if speed else []
    for i, line in enumerate(history, 1):
        end = f"to {line['to_step']:,} in {line['seconds']:,} s" if "ended" in line else "and was ended from outside"
        facts += [[f"process {i}", f"from {line['began']} on, on {line['host']}: step {line['from_step']:,} {end}"]]
        facts += [[f"command {i}", line["command"]]]
    if history:
        last = history[-1]
        facts += [["commit", last["commit"]]] if last["commit"] else []
        facts += [[name, value] for name, value in last["versions"].items() if value]
    return Section("How it was made", table=[["what", "value"], *facts, *changed])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
