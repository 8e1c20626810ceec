"""The sections of a report that show one run: its samples, what it misses, its critic, its latents, how it was made."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.config.convert import effective
from veegan_jax.config.fields import defaults, leaves
from veegan_jax.evaluation import drawings, plots
from veegan_jax.evaluation.missing import Judged, prior_deviation
from veegan_jax.evaluation.missing_report import shown
from veegan_jax.evaluation.push import Push, push
from veegan_jax.evaluation.regions import COVERED
from veegan_jax.evaluation.trained import Run, pixels
from veegan_jax.inference.rejection import classifier_file
from veegan_jax.objectives.whitened import NET
from veegan_jax.storage.history import HISTORY, read_history
from veegan_jax.storage.logs import read_rows

# The numbers of points in a drawing, of arrows, of lines, of images, and of ways.
POINTS, ARROWS, LINES, IMAGES, WAYS = 2000, 120, 150, 50, 6
# The numbers of examples that are inverted, and of the worst reached ones that are shown.
INVERTED, WORST = 64, 8
# The budget of rejection.
BUDGET = 1.25
# The seed of what a report draws.
SEED = 11
# The side, in screen pixels, to which small images are enlarged.
SIDE = 48


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


Makers = Mapping[str, Callable[[], Section | None]]


def sections(run: Run, folder: Path, judged: Callable[[], Judged], frames: int) -> Makers:
    """Returns what makes each section of a run, by its title; None is made where a section does not apply to the run.

    Args:
        run: the run, whose replica is shown.
        folder: the run's folder.
        judged: returns what the run misses.
        frames: the largest number of steps whose samples are shown.
    """
    return {
        "Samples over training": lambda: _over_time(run, folder, frames),
        "Samples": lambda: _samples(run),
        "What it misses": lambda: _missing(run, judged()),
        "Reached worst": lambda: _reached_worst(run, judged()),
        "The critic": lambda: _critic(run),
        "Where the generator is pushed": lambda: _pushed(run),
        "F(x) against the prior": lambda: _latents(run),
        "x → G(F(x))": lambda: _pairs(run),
        "Interpolations": lambda: _ways(run),
        "Rejection": lambda: _rejection(run, folder),
        "How it was made": lambda: _facts(run, folder),
    }


def is_plane(run: Run) -> bool:
    """Returns whether the data are points of the plane."""
    return run.experiment.spec.shape == (2,)


def is_drawn(run: Run) -> bool:
    """Returns whether the data are images that can be drawn."""
    shape = run.experiment.spec.shape
    return len(shape) == 3 and (shape[-1] in (1, 3) or _is_stack(run))


def _is_stack(run: Run) -> bool:
    return not {"stacked_modes", "digit_modes"}.isdisjoint(run.experiment.spec.metrics)


def held_out(run: Run, n: int) -> np.ndarray:
    """Returns up to `n` held-out examples, float32 `[n, …]`, always the same ones."""
    return run.held_out(min(n, run.experiment.source.num_held_out), SEED)


def images(run: Run, caption: str, x: np.ndarray, columns: int, alt: str = "") -> Figure:
    """Returns a figure of images in [−1, 1], `[N, H, W, C]`, enlarged where they are small; stacks are grey digits."""
    if _is_stack(run):
        x = np.moveaxis(x, -1, 2).reshape(*x.shape[:2], -1, 1)
    scale = max(1, SIDE // x.shape[1])
    return Figure(caption, alt or caption, image=drawings.image_grid(pixels(x), columns, scale))


def _read(run: Run, x: np.ndarray) -> list[str]:
    """Returns the digits that the classifier reads in each stack; empty texts for other data."""
    if not _is_stack(run):
        return [""] * len(x)
    modes = run.space.modes(x)
    assert modes is not None
    return ["".join(map(str, digits)) for digits in modes.attributes]


def _columns(run: Run, rows: Mapping[str, np.ndarray], captions: Sequence[str] = ()) -> list[Figure]:
    """Returns a figure for each example: what the rows have of it, one above the other, and the digits of stacks."""
    read = [_read(run, x) for x in rows.values()]
    figures = []
    for i, column in enumerate(zip(*rows.values(), strict=True)):
        digits = [texts[i] for texts in read]
        alt = "; ".join(f"{name}{f', digits {d}' if d else ''}" for name, d in zip(rows, digits, strict=True))
        caption = ", ".join(filter(None, (" · ".join(filter(None, digits)), *captions[i : i + 1])))
        figures.append(images(run, caption, np.stack(column), 1, alt=f"example {i + 1}, from above: {alt}"))
    return figures


def _over_time(run: Run, folder: Path, most: int) -> Section | None:
    """Returns the samples at up to `most` steps, one at a time."""
    if not plots.drawable(run.experiment.spec.shape):
        return None
    if is_plane(run):
        frames, real = plots.load_frames(folder / "samples"), held_out(run, POINTS)
        made = {step: drawings.points(real, x[:POINTS], f"step {step:,}") for step, x in _some(frames, most).items()}
        figures = [
            Figure(f"step {step:,}", f"Samples at step {step:,} over real data", svg) for step, svg in made.items()
        ]
    else:
        found = {int(path.stem.partition("_")[2]): path for path in sorted(folder.glob("pictures/samples_[0-9]*.png"))}
        figures = [
            Figure(f"step {step:,}", f"Samples at step {step:,}", image=drawings.as_address(path.read_bytes()))
            for step, path in _some(found, most).items()
        ]
    if not figures:
        return Section("Samples over training", f"Not shown: {folder.name} has no samples of any step.")
    text = "Colours are the channels of a stack: its first digit is red." if _is_stack(run) else ""
    return Section("Samples over training", text, figures, slider=True)


def _some(frames: Mapping[int, Any], most: int) -> dict[int, Any]:
    """Returns up to `most` entries, evenly spaced, the first and the last among them."""
    steps = sorted(frames)
    chosen: Sequence[int] = (
        np.unique(np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int)).tolist() if steps else []
    )
    return {steps[i]: frames[steps[i]] for i in chosen}


def _samples(run: Run) -> Section | None:
    if len(run.experiment.spec.shape) != 3:
        return None
    if not is_drawn(run):
        return Section("Samples", f"Images of {run.experiment.spec.shape[-1]} channels cannot be drawn.")
    if _is_stack(run):
        text = "Each sample is a stack of grey digits, drawn side by side; below: what the classifier reads."
        return Section("Samples", text, _columns(run, {"sample": run.sample(24, SEED)}))
    return Section("Samples", figures=[images(run, f"{IMAGES} samples", run.sample(IMAGES, SEED), 10)])


def _missing(run: Run, judged: Judged) -> Section:
    """Returns what the generator misses: the modes by name, and the examples around which samples are scarcest."""
    regions = [r for r in judged.coverage.regions if r.status != COVERED]
    table = [["region", "status", "share of the data (%)", "samples, 1 is right"]]
    table += [[r.name, r.status, f"{100 * r.share:.3g}", f"{r.generated:.2f}"] for r in regions]
    covered = len(judged.coverage.regions) - len(regions)
    text = f"{judged.verdict}." + (f" {covered} regions are covered." if covered else "")
    x, missed, beside, _ = shown(judged)
    figures = []
    if is_plane(run):
        (samples,) = beside.values()
        svg = drawings.missed(x[:POINTS], missed[:POINTS], samples[:POINTS])
        figures.append(Figure("", "Held-out examples that are missed, over samples", svg))
    elif is_drawn(run):
        text += f" From above: {'; '.join(beside)}."
        figures = _columns(run, {name: row[:WORST] for name, row in beside.items()})
    return Section("What it misses", text, figures, table=table if regions else ())


def _reached_worst(run: Run, judged: Judged) -> Section:
    """Returns the held-out examples that the generator comes least near to, with the best latent that is found."""
    title = "Reached worst"
    if run.config.model != "mlp" and jax.default_backend() == "cpu":
        return Section(title, "Not shown: it takes minutes on CPUs, unless nets are MLPs; `--mode missing` shows it.")
    distance = judged.coverage.nearest_generated.squared[:, 0]
    x = judged.x[np.argsort(-distance, kind="stable")[:INVERTED]]
    found = run.invert(x, SEED)
    best, error, prior = run.decode(found.z, SEED), np.sqrt(found.error), prior_deviation(found.z)
    worst = np.argsort(-error, kind="stable")[:WORST]
    text = (
        f"Of the {len(x)} held-out examples that are farthest from all samples, those whose best reconstruction is "
        f"farthest: G(z) of the z that L-BFGS finds from three draws of the prior{_and_of_f(run)}. RMS is that of "
        "x − G(z)."
    )
    captions = [f"RMS {e:.2g}" for e in error[worst]]
    normal = run.config.objective != "infogan"  # InfoGAN's categories and codes are not normal.
    if normal:
        text += " ‖z‖² from K is in standard deviations of χ²(K): far above 0, G hardly ever makes the example."
        captions = [f"{c}, ‖z‖² {p:+.1f}" for c, p in zip(captions, prior[worst], strict=True)]
    if is_drawn(run):
        return Section(title, f"{text} Above: x; below: G(z).", _columns(run, _xs("G(z)", x, best, worst), captions))
    table = [["x", "G(z)", "RMS of x − G(z)", *(["‖z‖² from K"] if normal else [])]]
    table += [[_at(x[i]), _at(best[i]), f"{error[i]:.2g}", *([f"{prior[i]:+.1f}"] if normal else [])] for i in worst]
    if not is_plane(run):
        return Section(title, text, table=table)
    svg = drawings.pairs(x[worst], best[worst], judged.x[:POINTS], "the nearest G(z)")
    return Section(title, text, [Figure("", "Lines from the worst reached examples to G(z)", svg)], table=table)


def _and_of_f(run: Run) -> str:
    return " and from F(x)" if run.experiment.objective.encode else ""


def _xs(name: str, x: np.ndarray, made: np.ndarray, chosen: np.ndarray) -> dict[str, np.ndarray]:
    return {"x, held out": x[chosen], name: made[chosen]}


def _at(point: np.ndarray) -> str:
    """Returns the first coordinates of an example as text."""
    point = np.ravel(point)
    return f"({', '.join(f'{v:.3g}' for v in point[:2])}{', …' if len(point) > 2 else ''})"


def _critic(run: Run) -> Section | None:
    """Returns the critic over the plane, for critics that see one example at a time, or a pair with F(x)."""
    logit = logit_of(run) if is_plane(run) else None
    if logit is None:
        return None
    real, samples = held_out(run, POINTS), run.sample(ARROWS, SEED)
    svg = drawings.critic(real, logit, samples)
    text = (
        "How real the critic of x takes a point for: yellow is taken for data. For logistic losses this is an estimate "
        "of log p(x)/q(x), of data and samples; a relativistic critic is known up to a constant, and penalties flatten "
        "all of them. A critic of pairs is shown at (F(x), x). Arrows show where the value grows, in proportion to its "
        f"gradient; the {100 - drawings.SHORTER} % that are longest are cut to one length."
    )
    return Section(
        "The critic",
        text,
        [Figure("", "The critic over the plane, and where its value grows", svg)],
    )


def logit_of(run: Run) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
    """Returns how real the critic takes points for `[B]`, with its gradient `[B, 2]`; None if it sees no single one."""
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


def _pushed(run: Run) -> Section | None:
    """Returns the field of the generator's own gradient in the plane."""
    if not is_plane(run):
        return None
    real = held_out(run, POINTS)
    if not (found := push(run.sampler, run.experiment, run.replicas[run.replica], real[:ARROWS], run.step, SEED)):
        return None
    arrows = {"adversarial loss": found.adversarial}
    if found.whole is not None:
        arrows["whole loss"] = found.whole
    svg = drawings.pushes(real, found.x, arrows)
    alt = f"Arrows at {len(found.x)} samples, where the loss of the generator falls"
    return Section("Where the generator is pushed", _about_push(run, found), [Figure("", alt, svg)])


def _about_push(run: Run, found: Push) -> str:
    """Returns exactly what the arrows of a field are."""
    options, inputs = run.config[run.config.objective], run.experiment.objective.inputs
    critic = "D(z, x), with the z of each sample" if len(inputs["disc"]) == 2 else "D(x)"
    second = f" and {options.x_critic:g} times a second critic of x alone" if "disc_x" in inputs else ""
    whole = (
        " A second arrow adds what the method asks of samples besides, such as the reconstruction of z by F."
        if found.whole is not None
        else ""
    )
    return (
        f"Each arrow begins at a sample x = G(z){' of the averaged G' if run.config.ema_half_life else ''} and is "
        f"−∇ of its adversarial loss with respect to x: {run.config.objective} with the loss "
        f"'{options.adversarial_loss}', of {critic}{second}, at the parameters of the last step.{whole} Lengths are "
        f"in proportion to the gradient; the {100 - drawings.SHORTER} % that are longest are cut to one length."
    )


def _latents(run: Run) -> Section | None:
    if run.experiment.objective.encode is None:
        return None
    x = held_out(run, POINTS)
    modes = run.space.modes(x)
    z, what, mode = run.encode(x), "", None
    if modes is not None:
        mode, what = modes.attributes[:, 0], "first digit" if _is_stack(run) else modes.noun[0]
    svg = drawings.latents(z, mode, 10 if _is_stack(run) else modes.number if modes else 0, what)
    text = (
        "Each point is F(x), the mean of p(z|x), of a held-out example. Where p(z|x) has a standard deviation σ, F(x) "
        "and σ together reach the prior, so that F(x) alone is narrower. Parts of the prior that F(x) leaves empty may "
        "be modes of the generator without data; F(x) far outside of the prior are examples that it may not make."
    )
    alt = f"F(x) of held-out examples against the prior{f', coloured by {what}' if what else ''}"
    return Section("F(x) against the prior", text, [Figure("", alt, svg)])


def _pairs(run: Run) -> Section | None:
    if run.experiment.objective.encode is None or not (is_plane(run) or is_drawn(run)):
        return None
    x = held_out(run, LINES if is_plane(run) else 10)
    again = run.reconstruct(x, SEED)
    if is_plane(run):
        svg = drawings.pairs(x, again, x)
        return Section("x → G(F(x))", "", [Figure("", "Lines from held-out points to their reconstructions", svg)])
    figures = _columns(run, {"x, held out": x, "G(F(x))": again})
    return Section("x → G(F(x))", "Above: x, held out; below: G(F(x)).", figures)


def _ways(run: Run) -> Section | None:
    if not (is_plane(run) or is_drawn(run)):
        return None
    z = run.latents(2 * WAYS, SEED)
    found = run.interpolate(z[:WAYS], z[WAYS:], 25 if is_plane(run) else 10)
    if is_plane(run):
        svg = drawings.ways(found, held_out(run, POINTS))
        return Section("Interpolations", "", [Figure("", "Samples along interpolations between latents", svg)])
    columns = 5 if _is_stack(run) else 10  # a stack is as wide as three images
    figures = [images(run, f"way {i}", way, columns, alt=f"Samples along way {i}") for i, way in enumerate(found, 1)]
    return Section("Interpolations", f"{WAYS} ways between two latents, each from the upper left.", figures)


def _rejection(run: Run, folder: Path) -> Section | None:
    """Returns samples before and after rejection, where the run has a classifier already."""
    if not (is_plane(run) or is_drawn(run)):
        return None
    if not classifier_file(run.experiment, run.replicas[run.replica], folder).exists():
        return Section("Rejection", f"Not shown: `--mode sample --rejection {BUDGET}` trains its classifier once.")
    number = POINTS if is_plane(run) else 30
    before, after = run.sample(number, SEED), run.sample(number, SEED, rejection=BUDGET)
    names = {"all samples": before, f"with rejection, K = {BUDGET}": after}
    if is_plane(run):
        real = held_out(run, POINTS)
        figures = [Figure("", f"{name} over real data", drawings.points(real, x, name)) for name, x in names.items()]
    else:
        figures = [images(run, name, x, 6) for name, x in names.items()]
    return Section("Rejection", f"One of {BUDGET} samples is kept, by the ratio of the densities.", figures)


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
    else:
        facts += [["command", f"not known: {folder.name} has no {HISTORY}"]]
    return Section("How it was made", table=[["what", "value"], *facts, *changed])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def judged_of(run: Run) -> Callable[[], Judged]:
    """Returns what finds, once, what the run misses."""
    return functools.cache(lambda: run.missing(seed=SEED))
