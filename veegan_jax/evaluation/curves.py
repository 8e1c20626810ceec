"""Scores over the steps of training: of one run, and as mean ± standard error of several."""

from collections.abc import Mapping, Sequence

from veegan_jax.evaluation.tables import as_row

# `{"step": [steps], score: [values], f"{score}/se": [standard errors]}`, all of the same length. A value is None where
# a score was not measured.
Curve = Mapping[str, Sequence[float | None]]


def curve(rows: Sequence[Mapping[str, float | None]]) -> dict[str, list[float | None]]:
    """Returns rows `{"step": …, score: …}` as a curve: steps that have no value but those of other names are kept."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {"step": [], **{name: [row.get(name) for row in rows] for name in names}}


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Returns the mean and the standard errors of several runs, at the steps and for the scores that all of them have.

    The curve of a single run, which may have standard errors over its own replicas, is returned as it is.
    """
    if len(curves) == 1:
        return curves[0]
    runs = [_by_step(one) for one in curves]
    steps = [step for step in runs[0] if all(step in run for run in runs)] if runs else []
    return curve([{"step": step, **as_row([run[step] for run in runs])} for step in steps])


def _by_step(one: Curve) -> dict[float, dict[str, float]]:
    """Returns the scores of each step, without standard errors and what was not measured."""
    names = [name for name in one if name != "step" and not name.endswith("/se")]
    scores = [{name: value for name in names if (value := one[name][i]) is not None} for i in range(len(one["step"]))]
    return {step: found for step, found in zip(one["step"], scores, strict=True) if step is not None}
