"""The research questions in figures: python -m benchmarks.questions [--runs WORKDIR] [--out FOLDER]

Tables and pictures come from the cells of `configs/questions` (`--mode reproduce --config rq1_collapse`, and so on).
With `--runs`, the runs in that workdir are measured at each checkpoint that they kept. Those of research question 1 say
how well the reconstructor tells the modes that its generator lacks: by the distance of x from G(F(x)). Those of
research question 2 say how large the gradients are that the generator gets from the discriminator and from d.
"""

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from tabulate import tabulate

from benchmarks.missing_modes import auc
from configs.questions import ablations, rq1_collapse, rq2_silent_critic, rq3_methods, rq4_tuning
from veegan_jax.config.build import Experiment, build
from veegan_jax.config.convert import from_effective
from veegan_jax.evaluation.curves import Curve, mean_curve
from veegan_jax.evaluation.tables import score_texts
from veegan_jax.experiments.cells import Cell
from veegan_jax.experiments.reproduce import by_row, read_cells, units
from veegan_jax.inference.model import Sampler
from veegan_jax.objectives.base import Batch
from veegan_jax.storage.checkpoint import read_checkpoint
from veegan_jax.storage.folder import stored_config
from veegan_jax.train.compile import abstract_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELLS = Path("docs/results/cells")
QUESTIONS: dict[str, Callable[[], ConfigDict]] = {
    "rq1_collapse": rq1_collapse.get_config,
    "rq2_silent_critic": rq2_silent_critic.get_config,
    "rq3_methods-grid": partial(rq3_methods.get_config, "grid"),
    "rq3_methods-ring": partial(rq3_methods.get_config, "ring"),
    "rq3_methods-synthetic1200": partial(rq3_methods.get_config, "synthetic1200"),
    "rq3_methods-stacked_digits": partial(rq3_methods.get_config, "stacked_digits"),
    "rq4_tuning": rq4_tuning.get_config,
    "ablations": ablations.get_config,
}


class Shown(NamedTuple):
    """What is shown of a model of some data.

    Attributes:
        all_modes: how many modes the data have.
        modes: the score that counts the modes of samples.
        quality: the scores of their quality, and the headings of these columns.
    """

    all_modes: int
    modes: str = "modes"
    quality: tuple[tuple[str, str], ...] = (("high_quality", "high quality (%)"),)


SHOWN = {
    "grid": Shown(25),
    "ring": Shown(8),
    # No real example meets the paper's rule.
    "synthetic1200": Shown(10, "calibrated_modes", (("calibrated_high_quality", "high quality, calibrated (%)"),)),
    "stacked_digits": Shown(1000, quality=(("precision", "precision (%)"), ("recall", "recall (%)"))),
}
# How many examples a gradient, and an AUC, is of.
EXAMPLES = 4096
# How many samples of a mixture are scored where the config leaves it to the protocol.
SAMPLES = 2500


def cells_of(name: str, folder: Path = CELLS) -> dict[str, list[Cell]]:
    """Returns the cells of a question's rows, none for a row that is not computed."""
    wanted = units({name: QUESTIONS[name]()})
    return by_row(wanted, read_cells(wanted, folder).found)


def table(name: str, folder: Path = CELLS) -> str:
    """Returns a question's rows as Markdown: how many seeds end with all modes, since when, and the last scores."""
    body, what = [], SHOWN[QUESTIONS[name]().data]
    heads = {what.modes: "modes", **dict(what.quality), "kl": "reverse KL (nats)"}
    for row, cells in cells_of(name, folder).items():
        if not cells:
            body.append([row, "not run"])
            continue
        replicas = [replica for cell in cells for replica in cell.replicas]
        seeds = sum(len(cell.seeds) for cell in cells)
        texts = score_texts(replicas, cells[0].samples)
        shown = [texts.get(score, "–") for score in heads]
        whole = sum(replica[what.modes] == what.all_modes for replica in replicas)
        body.append([row, f"{whole} of {seeds}", _first_whole(cells), *shown])
    titles = ["row", "seeds with all modes", "all seeds have all from step", *heads.values()]
    return tabulate(body, titles, tablefmt="github", disable_numparse=True, missingval="–")


def _first_whole(cells: Sequence[Cell]) -> str:
    """Returns the measured step from which on all seeds have all modes, as a text; "–" if some never do."""
    curve, what = _curve(cells), _shown(cells)
    modes = [value == what.all_modes for value in curve.get(what.modes, ())]
    kept = [i for i in range(len(modes)) if all(modes[i:])]
    return f"{curve['step'][kept[0]]:,.0f}" if kept else "–"


def _shown(cells: Sequence[Cell]) -> Shown:
    """Returns what is shown of the data of cells."""
    return SHOWN[cells[0].config["data"]]


def _curve(cells: Sequence[Cell]) -> Curve:
    """Returns the mean curve of a row, without cells that have none since they diverged at once."""
    return mean_curve([cell.curve for cell in cells if cell.curve["step"]])


def draw_over_steps(groups: Mapping[str, Mapping[str, Sequence[Cell]]]) -> "Figure":
    """Draws the modes and the reverse KL of each row over the steps, one column for each group of rows.

    Args:
        groups: `{title: {label: cells of a row}}`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(7, 4 * len(groups)), 6), layout="constrained")
    columns = figure.subplots(2, len(groups), squeeze=False, sharex=True, sharey="row").T
    beside = None if len(groups) > 1 else (1.0, 1.0)  # A single column has room beside it.
    for (title, rows), (modes, divergence) in zip(groups.items(), columns, strict=True):
        what = _shown(next(iter(rows.values())))
        for number, (label, cells) in enumerate(rows.items()):
            curve = _curve(cells)
            steps = np.asarray(curve["step"], float)
            style = ("o-", "s--")[number // 10 % 2]  # Colours begin again after ten rows.
            for axes, score in ((modes, what.modes), (divergence, "kl")):
                mean = np.asarray(curve[score], float)
                error = np.asarray(curve.get(f"{score}/se", 0 * mean), float)  # A single seed has no error.
                axes.plot(steps, mean, style, label=label, markersize=3)
                axes.fill_between(steps, np.maximum(mean - error, 1e-4), mean + error, alpha=0.2)
        modes.set(title=title, ylabel=f"modes, of {what.all_modes}")
        modes.ticklabel_format(useOffset=False)
        modes.legend(fontsize="small", loc="best" if len(groups) > 1 else "upper left", bbox_to_anchor=beside)
        divergence.set(yscale="log", xlabel="step", ylabel="reverse KL (nats)")
    return figure


def groups_of(rows: Mapping[str, Sequence[Cell]]) -> dict[str, dict[str, Sequence[Cell]]]:
    """Returns rows whose names are CRITIC_critic_METHOD by their critics, and all other rows as one group."""
    groups: dict[str, dict[str, Sequence[Cell]]] = {}
    for row, cells in rows.items():
        critic, _, method = row.rpartition("_critic_")
        groups.setdefault(f"{critic} critic" if critic else "all rows", {})[method] = cells
    return groups


def draw_tuning(rows: Mapping[str, Sequence[Cell]]) -> "Figure":
    """Draws the share of seeds that end with all modes, and the mean KL, against each method's main weight."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    share, divergence = figure.subplots(1, 2)
    for method, weights in by_weight(rows).items():
        xs = sorted(weights)
        replicas = [[replica for cell in weights[x] for replica in cell.replicas] for x in xs]
        what = _shown(weights[xs[0]])
        whole = [[replica[what.modes] == what.all_modes for replica in found] for found in replicas]
        share.plot(xs, [100 * np.mean(found) for found in whole], "o-", label=method)
        divergence.plot(xs, [np.mean([r["kl"] for r in found]) for found in replicas], "o-", label=method)
    for axes, title in ((share, "seeds with all modes (%)"), (divergence, "reverse KL (nats)")):
        axes.set(xscale="log", xlabel="main weight", title=title)
    divergence.set_yscale("log")
    figure.legend(*share.get_legend_handles_labels(), loc="outside right upper")
    return figure


def by_weight(rows: Mapping[str, Sequence[Cell]]) -> dict[str, dict[float, Sequence[Cell]]]:
    """Returns the cells of rows whose names are METHOD_1eN, by method and weight, without those that are not run."""
    found: dict[str, dict[float, Sequence[Cell]]] = {}
    for row, cells in rows.items():
        match = re.fullmatch(r"(\w+)_(1e-?\d+)", row)
        if match and cells and any(cell.replicas for cell in cells):
            found.setdefault(match[1], {})[float(match[2])] = cells
    return found


def detection(folder: Path, steps: Sequence[int]) -> list[dict[str, float]]:
    """Measures how well G(F(x)) tells the modes that a generator lacks, at the checkpoints where it lacks some.

    A mode is lacked if none of as many samples as its scores are of is of high quality and nearest to it.

    Args:
        folder: The run, a row of research question 1 that has a reconstructor.
        steps: The checkpoints to measure.

    Returns:
        For each step and seed with such modes: how many there are, `missing`; and `auc`, the chance that a held-out
        example of such a mode lies farther from its reconstruction than an example of another mode.
    """
    config = from_effective(stored_config(folder))
    experiment = build(config)
    mixture, sampler = experiment.source.references["mixture"], Sampler(experiment)
    x = sampler.real(EXAMPLES, seed=3)
    measured = []
    for step in steps:
        state = read_checkpoint(experiment, folder, abstract_state(experiment), step).state
        for replica in range(config.num_seeds):
            params = sampler.trained(state, replica)
            _, samples = sampler.generate(params, config.eval_samples or SAMPLES, seed=4)
            mode, distance = nearest(samples, mixture.means)
            made = np.unique(mode[distance <= mixture.radius * mixture.std])
            lacked = ~np.isin(nearest(x, mixture.means)[0], made)
            if lacked.any() and not lacked.all():
                apart = np.linalg.norm(x - sampler.decode(params, sampler.encode(params, x), seed=5), axis=-1)
                missing = len(mixture.means) - len(made)
                seed = config.seed + replica
                measured.append({"step": step, "seed": seed, "missing": missing, "auc": auc(apart, lacked)})
    return measured


def nearest(x: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nearest mean of each example, int `[N]`, and its distance `[N]`."""
    distances = np.linalg.norm(x[:, None] - means[None], axis=-1)
    return distances.argmin(axis=1), distances.min(axis=1)


def detection_table(measured: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Returns, for each row, how many models lacked modes, and their AUC, as Markdown."""
    body = []
    for row, found in measured.items():
        scores = [one["auc"] for one in found]
        few, many = (f"{choose(scores):.3f}" if scores else "–" for choose in (min, max))
        mean = f"{np.mean(scores):.3f}" if scores else "–"
        body.append([row, str(len(found)), f"{sum(one['missing'] for one in found):.0f}", mean, few, many])
    heads = ["row", "models that lack modes", "modes they lack", "AUC, mean", "smallest", "largest"]
    return tabulate(body, heads, tablefmt="github", disable_numparse=True)


def gradients(folder: Path, steps: Sequence[int]) -> list[dict[str, float]]:
    """Measures the two gradients that a run's generator gets, on fresh data and noise.

    Args:
        folder: The run, a row of research question 2.
        steps: The checkpoints to measure.

    Returns:
        For each step the norms, as means over the replicas: `adversarial`, of the gradient of the loss without d, and
        `d`, of λ times the gradient of d, both with respect to the generator's parameters.
    """
    config = from_effective(stored_config(folder))
    experiment, without = build(config), build(_without_d(config))
    weight = 0.0 if config.veegan.reconstruction_loss == "none" else config.veegan.reconstruction_weight
    batch = fresh_batch(experiment)

    def norms(params: Any) -> tuple[jax.Array, jax.Array]:
        def loss(gen: Any, which: int) -> jax.Array:
            losses, metrics = without.objective.losses({**params, "gen": gen}, batch)
            return (losses["gen"], weight * metrics["d"])[which]

        adversarial, d = (optax.tree.norm(jax.grad(loss)(params["gen"], which)) for which in (0, 1))
        return adversarial, d

    measured = []
    for step in steps:
        state = read_checkpoint(experiment, folder, abstract_state(experiment), step).state
        found = jax.jit(lambda params: jax.lax.map(norms, params))(state.params)
        measured.append(
            {"step": step, **{n: float(v.mean()) for n, v in zip(("adversarial", "d"), found, strict=True)}}
        )
    return measured


def fresh_batch(experiment: Experiment) -> Batch:
    """Returns `EXAMPLES` examples and as much noise, of keys that no run draws from."""
    source = experiment.source
    data, noise = (jax.random.split(jax.random.key(seed), EXAMPLES) for seed in (1, 2))
    arrays = jax.tree.map(jnp.asarray, source.train)
    x = jax.vmap(lambda key: source.sample(arrays, key))(data)
    return Batch(x, jax.vmap(experiment.objective.noise)(noise), jnp.zeros((), jnp.int32), {})


def _without_d(config: ConfigDict) -> ConfigDict:
    """Returns a config whose generator has no loss d, while the metric d still depends on the generator."""
    changed = config.copy_and_resolve_references()
    changed.veegan.reconstruction_weight, changed.veegan.reconstruction_loss = 0.0, "gaussian"
    return changed


def gradient_table(measured: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Returns the norms of all rows at their first and last checkpoint, as means over runs, as Markdown."""
    steps = sorted({one["step"] for found in measured.values() for one in found})
    ends = (steps[0], steps[-1])

    def norm(found: Sequence[Mapping[str, float]], step: float, name: str) -> str:
        norms = [one[name] for one in found if one["step"] == step]
        return f"{np.mean(norms):.3g}" if norms else "–"

    body = [
        [row, *(norm(found, step, name) for step in ends for name in ("adversarial", "d"))]
        for row, found in measured.items()
    ]
    heads = ["row", *(f"{what}, step {step:,}" for step in ends for what in ("discriminator", "λ·d"))]
    return tabulate(body, heads, tablefmt="github", disable_numparse=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the tables, and writes pictures and gradients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="the workdir that has the runs of the questions")
    parser.add_argument("--out", type=Path, default=Path("docs/results/questions"), help="the folder of results")
    given = parser.parse_args(argv)
    given.out.mkdir(parents=True, exist_ok=True)
    show_cells(given.out)
    if given.runs:
        measure_runs(given.runs, given.out, parser)


def show_cells(out: Path) -> None:
    """Prints the table of each question, and draws its picture."""
    for name in QUESTIONS:
        rows = {row: cells for row, cells in cells_of(name).items() if cells}
        print(f"{name}\n\n{table(name)}\n")
        if rows:
            figure = draw_tuning(rows) if name == "rq4_tuning" else draw_over_steps(groups_of(rows))
            figure.savefig(out / f"{name}.png", dpi=80)


def measure_runs(workdir: Path, out: Path, parser: argparse.ArgumentParser) -> None:
    """Prints and writes what is measured on the runs of questions 1 and 2."""
    for name, measure, show in (
        ("rq1_collapse", detection, detection_table),
        ("rq2_silent_critic", gradients, gradient_table),
    ):
        if not (runs := runs_with_rec(workdir / name)):
            parser.error(f"--runs is {workdir}, and {workdir / name} has no runs")
        found = {row: [one for folder in runs[row] for one in measure(folder, kept_steps(folder))] for row in runs}
        (out / f"{name}.{measure.__name__}.json").write_text(json.dumps(found, indent=1) + "\n")
        print(f"{name}: {measure.__name__}\n\n{show(found)}\n")


def runs_with_rec(workdir: Path) -> dict[str, list[Path]]:
    """Returns the folders of a question's runs whose method has a reconstructor, by the names of their rows."""
    found: dict[str, list[Path]] = {}
    for folder in sorted(path.parent for path in workdir.glob("*.seed*/config.json")):
        if stored_config(folder)["objective"] == "veegan":
            found.setdefault(folder.name.partition(".")[0], []).append(folder)
    return found


def kept_steps(folder: Path) -> list[int]:
    """Returns the steps of a run's checkpoints."""
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdecimal())


if __name__ == "__main__":
    main()
