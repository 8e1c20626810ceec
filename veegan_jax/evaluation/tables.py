"""Scores as Markdown tables: mean ± standard error, beside real data and published figures."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from tabulate import tabulate

from veegan_jax.evaluation.published import Rows, published
from veegan_jax.evaluation.scores import Evaluation, Scores
from veegan_jax.metrics import COLUMNS, Column
from veegan_jax.storage.files import write_atomically


def mean_and_error(replicas: Sequence[Scores]) -> tuple[Scores, Scores]:
    """Computes mean and standard error over replicas of each score that all of them have.

    The standard error of a single replica is not-a-number.
    """
    n = len(replicas)
    shared = [name for name in replicas[0] if all(name in replica for replica in replicas)]
    values = {name: [replica[name] for replica in replicas] for name in shared}
    mean = {name: float(np.mean(v)) for name, v in values.items()}
    error = {name: float(np.std(v, ddof=1) / math.sqrt(n)) if n > 1 else math.nan for name, v in values.items()}
    return mean, error


def as_row(replicas: Sequence[Scores]) -> Scores:
    """Returns what a log keeps of one measurement: the means and, of several replicas, the standard errors."""
    mean, error = mean_and_error(replicas)
    return {**mean, **({f"{name}/se": value for name, value in error.items()} if len(replicas) > 1 else {})}


def table(evaluation: Evaluation, rows: Mapping[str, Sequence[Scores]], real: Scores) -> str:
    """Returns the scores of models, the real-data row and the published figures, as Markdown.

    Args:
        evaluation: what the rows have in common: data, samples, seeds, metrics.
        rows: the scores of each row's replicas; none for a row that has diverged.
        real: the scores of real data.
    """
    config = evaluation.experiment.config
    seeds = f"seeds {config.seed} to {config.seed + config.num_seeds - 1}, mean ± standard error"
    notes = [
        *evaluation.notes(),
        "generator: moving average of its parameters" if config.ema_half_life else "",
        seeds if config.num_seeds > 1 else f"seed {config.seed}",
        f"IvOM: mean squared error per pixel on [0, 1] of {config.ivom_images} images" if config.ivom_images else "",
    ]
    scores = {**rows, "real data": [real]}
    return score_table(config.data, evaluation.columns, scores, notes, evaluation.num, published(config))


def score_table(
    data: str,
    columns: Sequence[Column],
    rows: Mapping[str, Sequence[Scores]],
    notes: Iterable[str],
    num: int,
    published: Rows = MappingProxyType({}),
) -> str:
    """Returns scores as Markdown.

    Args:
        data: the name of the data, for the first heading.
        columns: the columns that are shown. Any other that was measured follows; "–" stands where there is no score.
        rows: the scores of each row's replicas; none for a row that has diverged.
        notes: what the rows have in common, and how scores are defined; empty texts are left out.
        num: the number of samples of a row, which bounds some scores.
        published: the figures that others have published, below the rows.
    """
    measured = {name for replicas in rows.values() for scores in replicas for name in scores}
    known = dict.fromkeys((*columns, *COLUMNS.values()))
    shown = [column for column in known if column in columns or column.name in measured]
    texts = {**{name: _row(replicas, num) for name, replicas in rows.items()}, **published}
    body = [[name, *(row.get(column.name, "–") for column in shown)] for name, row in texts.items()]
    headings, align = [data, *(column.title for column in shown)], ["left", *["right"] * len(shown)]
    lines = tabulate(body, headings, tablefmt="github", disable_numparse=True, colalign=align)
    return f"{lines}\n\n" + "; ".join(filter(None, notes)) + "."


def _row(replicas: Sequence[Scores], num: int) -> dict[str, str]:
    """Returns the text of each score; "≥" stands before one that is as large as `num` samples can show."""
    if not replicas:
        return {}
    mean, error = mean_and_error(replicas)

    def text(name: str) -> str:
        limit = COLUMNS[name].limit if name in COLUMNS else None
        bound = "≥ " if limit and any(replica[name] >= limit(num) for replica in replicas) else ""
        return bound + number(mean[name]) + (f" ± {number(error[name])}" if len(replicas) > 1 else "")

    return {name: text(name) for name in mean}


def save_results(stem: Path, step: int, replicas: Sequence[Scores], real: Scores, markdown: str) -> None:
    """Writes the table to `stem.md`, and the numbers behind it to `stem.json`.

    Raises:
        UserError: if one cannot be written.
    """
    results: Mapping[str, object] = {"step": step, "replicas": list(replicas), "real": real}
    write_atomically(stem.with_suffix(".json"), json.dumps(results, indent=2) + "\n")
    write_atomically(stem.with_suffix(".md"), markdown + "\n")


def number(value: float) -> str:
    """Returns a score as text: whole from 1,000 to 1e15, with four digits elsewhere."""
    if not math.isfinite(value):
        return str(value)
    whole = abs(value) < 1e15 and (abs(value) >= 999.95 or float(value).is_integer())
    return f"{value:,.0f}" if whole else f"{value:.4g}"
