"""The report of one or more runs: one HTML file that needs no other file and no network."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from veegan_jax.config.convert import read_json
from veegan_jax.data.base import ENDLESS
from veegan_jax.errors import UserError, check_installed, one_line
from veegan_jax.evaluation import drawings
from veegan_jax.evaluation.curves import Curve, curve
from veegan_jax.evaluation.published import published
from veegan_jax.evaluation.scores import REAL_SEED, Evaluation, Scores
from veegan_jax.evaluation.sections import (
    POINTS,
    SEED,
    Figure,
    Section,
    held_out,
    images,
    is_drawn,
    is_plane,
    judged_of,
    sections,
)
from veegan_jax.evaluation.tables import score_texts
from veegan_jax.evaluation.trained import Run, load
from veegan_jax.metrics import COLUMNS
from veegan_jax.storage.folder import DIVERGED
from veegan_jax.storage.logs import ROWS, read_rows
from veegan_jax.version import __version__

_log = logging.getLogger("veegan_jax")
# The largest numbers of pictures over time, of one run and of all runs of a page, which is to stay below 5 MB.
FRAMES, ALL_FRAMES = 10, 30
# The number of curves that are shown at once.
SHOWN_CURVES = 6
# The number of draws of real data whose range is a band, and the distance between their seeds.
DRAWS, APART = 5, 1000


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


def report(folders: Mapping[str, Path], *, draws: int = 1) -> str:
    """Returns the page of some runs, by their names; a run that cannot be loaded is named with the reason.

    Args:
        folders: the folders of the runs.
        draws: how often real data are measured, for a band in place of a line. Each takes as long as one measurement.

    Raises:
        UserError: if none of the runs can be loaded, or they are on several sources of data, or a package of the extra
            `report` is not installed.
    """
    for package in ("jinja2", "matplotlib"):
        check_installed(package, "report", "a report")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    runs, failed = _load(folders)
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
    makers = {
        "Scores": lambda: _headline(runs, scores),
        "Over training": lambda: _curves(first, folders, scores, draws),
        "Samples side by side": lambda: _beside(runs),
    }
    title = next(iter(folders)) if len(folders) == 1 else f"{len(folders)} runs on {first.config.data}"
    return environment.get_template("report.html").render(
        title=title,
        together=_made(makers, next(iter(folders.values()))),
        runs=[
            Shown(name, failed[name], ())
            if name in failed
            else _show(name, runs[name], folder, max(2, min(FRAMES, ALL_FRAMES // len(runs))))
            for name, folder in folders.items()
        ],
        version=__version__,
    )


def _load(folders: Mapping[str, Path]) -> tuple[dict[str, Run], dict[str, str]]:
    """Returns the runs that can be loaded, and why each of the others cannot; raises if there are only others."""
    runs, failed = dict[str, Run](), dict[str, str]()
    for name, folder in folders.items():
        try:
            runs[name] = load(folder)
        except UserError as error:
            if len(failed) + 1 == len(folders):
                raise
            failed[name] = _diverged(folder) or str(error)
    return runs, failed


def _diverged(folder: Path) -> str:
    """Returns why a row of a comparison was given up; empty if it was not."""
    return f"diverged: {read_json(path)['diverged']}" if (path := folder / DIVERGED).exists() else ""


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
    text = "; ".join(notes) if any(one.replicas for one in scores.values()) else "Nothing was measured yet."
    return Section("Scores", text, table=table if known else ())


def _curves(first: Run, folders: Mapping[str, Path], scores: Mapping[str, Measured], draws: int) -> Section:
    """Returns the scores and the losses that were measured at two steps or more."""
    curves = {name: curve(read_rows(folder)) for name, folder in folders.items()}
    losses = {"d"} | {name for one in curves.values() for name in one if name.startswith("loss/")}
    known = [
        name
        for name in (*COLUMNS, *sorted(losses))
        if any(len(drawings.measured(one, name)) > 1 for one in curves.values())
    ]
    if not known:
        return Section("Over training", f"Not shown: {ROWS} has no score or loss of two steps.")
    found = [one.real for one in scores.values() if one.real][:1]
    if found and draws > 1 and not losses.issuperset(known):
        found += _more_real(first, draws)
    real = {name: [one[name] for one in found if name in one] for name in known}
    figures = [
        Figure("", _in_words(name, curves, real[name]), drawings.curve_of(name, curves, real[name])) for name in known
    ]
    if len(curves) > drawings.LEGEND:
        figures.insert(0, Figure("", f"Lines: {', '.join(curves)}, and real data", drawings.key(list(curves))))
    text = "Lines are means over seeds, with a band of ± their standard error. Dashed: "
    text += (
        f"the mean of {len(found)} draws of real data, with a band from the lowest to the highest."
        if len(found) > 1
        else "one draw of real data, whose spread is not measured."
    )
    return Section("Over training", text, figures[:SHOWN_CURVES], more=figures[SHOWN_CURVES:])


def _more_real(run: Run, draws: int) -> list[Scores]:
    """Returns the scores of further draws of real data; nothing of a finite set, or where the data cannot be opened."""
    try:
        if run.experiment.source.num_held_out < ENDLESS:
            return []
        evaluation = Evaluation(run.experiment)
    except UserError:
        return []
    return [evaluation.measure_real(REAL_SEED + APART * i) for i in range(1, draws)]


def _in_words(name: str, curves: Mapping[str, Curve], real: Sequence[float]) -> str:
    """Returns a curve as text: where each line begins and ends, and real data."""
    ends = [f"real data: {np.mean(real):.4g}"] if real else []
    for label, one in curves.items():
        if found := drawings.measured(one, name):
            (first, begin, _), (last, end, _) = found[0], found[-1]
            ends.append(f"{label}: {begin:.4g} at step {first:,.0f}, {end:.4g} at step {last:,.0f}")
    return f"{_title(name)} over the steps of training. {'; '.join(ends)}"


def _beside(runs: Mapping[str, Run]) -> Section | None:
    """Returns the samples of several runs side by side."""
    if len(runs) < 2:
        return None
    figures = []
    for name, run in runs.items():
        x = run.sample(POINTS if is_plane(run) else 36, SEED)
        if is_plane(run):
            svg = drawings.points(held_out(run, POINTS), x, name)
            figures.append(Figure("", f"Samples of {name} over real data", svg))
        elif is_drawn(run):
            figures.append(images(run, name, x, 6, alt=f"Samples of {name}"))
    return Section("Samples side by side", figures=figures) if figures else None


def _title(name: str) -> str:
    return COLUMNS[name].title if name in COLUMNS else name


def _show(name: str, run: Run, folder: Path, frames: int) -> Shown:
    """Returns a run's own sections, which are those of its replica."""
    judged = judged_of(run)
    end = (
        "" if run.step == run.config.num_steps else f" of {run.config.num_steps:,}, {_diverged(folder) or 'unfinished'}"
    )
    what = f"{run.config.objective} on {run.config.data}, step {run.step:,}{end}, seed {run.config.seed + run.replica}"
    found = _guarded("", lambda: Section("", judged().verdict), folder)
    return Shown(name, f"{what}: {found.text if found else ''}", _made(sections(run, folder, judged, frames), folder))


def _made(makers: Mapping[str, Callable[[], Section | None]], folder: Path) -> list[Section]:
    return [section for title, make in makers.items() if (section := _guarded(title, make, folder))]


def _guarded(title: str, make: Callable[[], Section | None], folder: Path) -> Section | None:
    """Returns what a function makes; one that fails says so, and takes no other part of the page with it."""
    try:
        return make()
    except UserError as error:
        return Section(title, f"Not shown: {error}.")
    except Exception as error:
        _log.warning("a part of the report of %s is left out: %s", folder, one_line(error))
        return Section(title, f"This part failed: {one_line(error)}.")
