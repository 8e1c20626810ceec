"""Scores as Markdown tables: mean ± standard error, beside real data and published figures."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from veegan_jax.config.build import LATENT_COLUMNS, Experiment
from veegan_jax.evaluation.scores import IVOM_COLUMNS, Scores
from veegan_jax.storage.files import write_atomically

HEADINGS = {
    "high_quality": "high quality %",
    "calibrated_modes": "modes (calibrated)",
    "calibrated_high_quality": "high quality % (calibrated)",
    "kl": "reverse KL",
    "jsd": "JSD",
    "reconstruction": "‖z−F(G(z))‖/√K",
    "prior_gap": "F(x) from N(0,I)",
    "ivom_train": "IvOM, train",
    "ivom_held_out": "IvOM, held out",
    "ndb": "NDB %",
    "precision": "precision %",
    "recall": "recall %",
    "classifier_fid": "FID (classifier)",
    "classifier_kid": "KID (classifier)",
    "sliced_wasserstein": "sliced W₂",
    "mmd": "MMD",
    "fid": "FID",
    "kid": "KID",
}


def mean_and_error(replicas: Sequence[Scores]) -> tuple[Scores, Scores]:
    """Mean and standard error over replicas of each score; the error of a single one is not-a-number."""
    n = len(replicas)
    values = {name: [replica[name] for replica in replicas] for name in replicas[0]}
    mean = {name: float(np.mean(v)) for name, v in values.items()}
    error = {name: float(np.std(v, ddof=1) / math.sqrt(n)) if n > 1 else math.nan for name, v in values.items()}
    return mean, error


def as_row(replicas: Sequence[Scores]) -> Scores:
    """What a log keeps of one measurement: the means, and the standard errors where there are several replicas."""
    mean, error = mean_and_error(replicas)
    return {**mean, **({f"{name}/se": value for name, value in error.items()} if len(replicas) > 1 else {})}


def table(experiment: Experiment, rows: Mapping[str, Sequence[Scores]], real: Scores) -> str:
    """The scores, the real-data row and the published figures, as Markdown.

    Args:
        experiment: what the rows have in common: data, samples, seeds.
        rows: the scores of each row's replicas; none for one that has diverged.
        real: what real data score.
    """
    config, measured = experiment.config, [real, *(replica for replicas in rows.values() for replica in replicas)]
    known = (*experiment.columns, *LATENT_COLUMNS, *IVOM_COLUMNS)
    columns = [c for c in known if any(c in scores for scores in measured)]
    columns = list(dict.fromkeys(columns))
    shown = {
        **{name: _row(replicas) for name, replicas in rows.items()},
        "real data": _row([real]),
        **experiment.source.published,
    }
    body = [[name, *(row.get(column, "–") for column in columns)] for name, row in shown.items()]
    headings = [config.data, *(HEADINGS.get(column, column) for column in columns)]
    seeds = f"seeds {config.seed} to {config.seed + config.num_seeds - 1}, mean ± standard error"
    notes = [
        f"{experiment.num_eval:,} samples a row",
        "generator: moving average of its parameters" if config.ema_half_life else "",
        seeds if config.num_seeds > 1 else f"seed {config.seed}",
        experiment.source.note,
        f"IvOM: mean squared error per pixel on [0, 1] of {config.ivom_images} images" if config.ivom_images else "",
        *(metric.note() for metric in experiment.metrics),
    ]
    lines = tabulate(
        body, headings, tablefmt="github", disable_numparse=True, colalign=["left", *["right"] * (len(headings) - 1)]
    )
    return f"{lines}\n\n" + "; ".join(filter(None, notes)) + "."


def _row(replicas: Sequence[Scores]) -> dict[str, str]:
    if not replicas:
        return {}
    mean, error = mean_and_error(replicas)
    return {name: _number(mean[name]) + (f" ± {_number(error[name])}" if len(replicas) > 1 else "") for name in mean}


def save_results(stem: Path, step: int, replicas: Sequence[Scores], real: Scores, markdown: str) -> None:
    """Writes the table to `stem.md` and the numbers behind it to `stem.json`.

    Raises:
        UserError: if they cannot be written.
    """
    results: Mapping[str, object] = {"step": step, "replicas": list(replicas), "real": real}
    write_atomically(stem.with_suffix(".json"), json.dumps(results, indent=2) + "\n")
    write_atomically(stem.with_suffix(".md"), markdown + "\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
