"""Scores as Markdown tables: mean ± standard error, beside real data and published figures."""

import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

from veegan_jax.config.convert import effective
from veegan_jax.evaluation.published import Rows, published
from veegan_jax.evaluation.scores import Evaluation, Scores
from veegan_jax.metrics import COLUMNS, Column
from veegan_jax.storage.files import write_atomically
from veegan_jax.storage.versions import versions

# The width of a terminal, and of the name of a row and a line of a heading there.
WIDTH, NAME, HEADING = 80, 40, 15


class Tables(NamedTuple):
    """The scores of models beside those of real data.

    Attributes:
        table: all scores, with published figures and notes, as Markdown.
        short_table: the main scores, for a terminal of 80 columns.
    """

    table: str
    short_table: str


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


def tables(evaluation: Evaluation, rows: Mapping[str, Sequence[Scores]], real: Scores) -> Tables:
    """Returns the scores of models, the real-data row and the published figures.

    Args:
        evaluation: what the rows have in common: data, samples, seeds, metrics.
        rows: the scores of each row's replicas; none for a row that has diverged.
        real: the scores of real data.
    """
    config = evaluation.experiment.config
    scores = {**rows, "real data": [real]}
    notes = [*protocol(evaluation), seeds_note(range(config.seed, config.seed + config.num_seeds))]
    table = score_table(config.data, evaluation.columns, scores, notes, evaluation.num, published(config))
    return Tables(table, short_table(config.data, evaluation.experiment.headline, scores, evaluation.num))


def short_table(data: str, headline: Sequence[Column], rows: Mapping[str, Sequence[Scores]], num: int) -> str:
    """Returns scores as text of at most 80 columns, for a terminal.

    Args:
        data: the name of the data, for the first heading.
        headline: the columns, the most important first, of which as many are shown as there is room for.
        rows: the scores of each row's replicas; none for a row that has diverged.
        num: the number of samples of a row.
    """
    texts = {name: score_texts(replicas, num, digits=2) for name, replicas in rows.items()}
    measured = [column for column in headline if any(column.name in row for row in texts.values())]
    for room in range(len(measured), 0, -1):
        shown = [column for column in COLUMNS.values() if column in measured[:room]]
        titles = ["\n".join(textwrap.wrap(column.title, HEADING)) for column in shown]
        body = [[_cut(name), *(row.get(column.name, "–") for column in shown)] for name, row in texts.items()]
        headings, align = [_cut(data), *titles], ["left", *["right"] * room]
        lines = tabulate(body, headings, tablefmt="simple", disable_numparse=True, colalign=align)
        if max(map(len, lines.splitlines())) <= WIDTH:
            break
    return lines if measured else ""


def _cut(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"


def protocol(evaluation: Evaluation) -> list[str]:
    """Returns how a run is measured, and how its scores are defined, as the notes of a table."""
    config = evaluation.experiment.config
    notes = [
        *evaluation.notes(),
        "generator: moving average of its parameters" if config.ema_half_life else "",
        f"IvOM: mean squared error per pixel on [0, 1] of {config.ivom_images} images" if config.ivom_images else "",
    ]
    return [note for note in notes if note]


def seeds_note(seeds: Sequence[int]) -> str:
    """Returns the note on the seeds of a table, which follow one another."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"seeds {seeds[0]} to {seeds[-1]}, mean ± standard error"


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
    texts = {**{name: score_texts(replicas, num) for name, replicas in rows.items()}, **published}
    body = [[name, *(row.get(column.name, "–") for column in shown)] for name, row in texts.items()]
    headings, align = [data, *(column.title for column in shown)], ["left", *["right"] * len(shown)]
    lines = tabulate(body, headings, tablefmt="github", disable_numparse=True, colalign=align)
    return f"{lines}\n\n" + "; ".join(filter(None, notes)) + "."


class Group(NamedTuple):
    """What a table of several data sets shows of one of them.

    Attributes:
        data: the name of the data.
        columns: the columns.
        texts: the text of each score by the name of a row.
        real: the text of each score of real data.
        published: the figures that others have published; the first word of a row's name is the row that they are of.
    """

    data: str
    columns: Sequence[Column]
    texts: Rows
    real: Mapping[str, str]
    published: Rows


def grouped_table(groups: Sequence[Group], notes: Iterable[str]) -> str:
    """Returns several data sets side by side as Markdown, each row above what others have published of it."""
    ours = dict.fromkeys(row for group in groups for row in group.texts)
    others = dict.fromkeys(row for group in groups for row in group.published)
    beside = {row: [other for other in others if other.split()[0] == row] for row in ours}
    apart = [other for other in others if other.split()[0] not in ours]
    order = [name for row, found in beside.items() for name in (row, *found)] + [*apart, "real data"]
    texts = [{**group.published, **group.texts, "real data": group.real} for group in groups]
    body = [
        [name, *(own.get(name, {}).get(c.name, "–") for own, g in zip(texts, groups, strict=True) for c in g.columns)]
        for name in order
    ]
    headings = ["", *(f"{group.data}: {column.title}" for group in groups for column in group.columns)]
    align = ["left", *["right"] * (len(headings) - 1)]
    lines = tabulate(body, headings, tablefmt="github", disable_numparse=True, colalign=align)
    return f"{lines}\n\n" + "; ".join(filter(None, notes)) + "."


def score_texts(replicas: Sequence[Scores], num: int, digits: int = 4) -> dict[str, str]:
    """Returns the text of each score; "≥" stands before one that is as large as `num` samples can show.

    A standard error has this number of digits.
    """
    if not replicas:
        return {}
    mean, error = mean_and_error(replicas)

    def text(name: str) -> str:
        limit = COLUMNS[name].limit if name in COLUMNS else None
        bound = "≥ " if limit and any(replica[name] >= limit(num) for replica in replicas) else ""
        return bound + number(mean[name]) + (f" ± {number(error[name], digits)}" if len(replicas) > 1 else "")

    return {name: text(name) for name in mean}


def beside_real(replicas: Sequence[Scores], real: Scores, num: int) -> str:
    """Returns the scores of one model beside those of real data as Markdown, a line for each score.

    Args:
        replicas: the scores of each replica.
        real: the scores of real data.
        num: the number of samples that are scored.
    """
    own, ceiling = score_texts(replicas, num), score_texts([real], num)
    body = [[column.title, own[name], ceiling.get(name, "–")] for name, column in COLUMNS.items() if name in own]
    return tabulate(body, ["score", "model", "real data"], tablefmt="github", disable_numparse=True)


def save_results(
    stem: Path,
    evaluation: Evaluation,
    step: int,
    replicas: Sequence[Scores],
    real: Scores,
    markdown: str,
    **more: object,
) -> None:
    """Writes the table to `stem.md`, and to `stem.json` the numbers behind it, any more of them, how and by what.

    Raises:
        UserError: if one cannot be written.
    """
    config = evaluation.experiment.config
    seeds = list(range(config.seed, config.seed + config.num_seeds))
    what = {"method": config.objective, "data": config.data, "seeds": seeds, "step": step}
    measured = {"samples": evaluation.num, "notes": protocol(evaluation), "versions": versions(effective(config))}
    results: Mapping[str, object] = {**what, "replicas": list(replicas), "real": real, **measured, **more}
    write_atomically(stem.with_name(f"{stem.name}.json"), json.dumps(results, indent=2) + "\n")
    write_atomically(stem.with_name(f"{stem.name}.md"), markdown + "\n")


def number(value: float, digits: int = 4) -> str:
    """Returns a score as text: whole from 1,000 to 1e15, with four digits, or another number of them, elsewhere."""
    if not math.isfinite(value):
        return str(value)
    whole = abs(value) < 1e15 and (abs(value) >= 999.95 or float(value).is_integer())
    return f"{value:,.0f}" if whole else f"{value:.{digits}g}"
