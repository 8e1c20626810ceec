"""The report of what a generator misses: tables for a person, and JSON and arrays for programs."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

from veegan_jax.evaluation.local_two_sample import FALSE_DISCOVERY_RATE, Neighbours
from veegan_jax.evaluation.missing import Judged
from veegan_jax.evaluation.regions import COVERED, Region, verdict

# The largest number of regions in the table, and of single examples that are named and shown.
LISTED, NAMED, SHOWN = 20, 10, 64
FARTHER = ("farther: median", "farther: 95 %")


def text(judged: Judged, names: Sequence[str]) -> str:
    """Returns the tables of examples and regions, and the names of the most surely missed examples.

    Args:
        judged: what was found.
        names: the name of each example.
    """
    found = judged.coverage
    examples = tabulate(
        [_row("generated samples", found.neighbours), _row("real data", found.real)],
        [f"{len(judged.x):,} examples judged by {len(judged.real):,}", "missed (%) ↓", *FARTHER],
        tablefmt="github",
        disable_numparse=True,
    )
    worst = ", ".join(names[i] for i in found.neighbours.worst[:NAMED])
    named = "missed most surely" if found.neighbours.missed.any() else "none is missed; nearest to it"
    note = (
        f"missed: too few generated samples among the nearest neighbours, at a false-discovery rate of "
        f"{100 * FALSE_DISCOVERY_RATE:g} %; farther: distance to the 5th nearest sample, over that to the 5th nearest "
        f"training example; {judged.note}; real data: other training examples in place of the samples"
    )
    regions = _regions(found.regions, names)
    return "\n\n".join(filter(None, (examples, regions, f"{named}: {worst}", f"{note}.")))


def _row(heading: str, found: Neighbours) -> list[str]:
    quantiles = (f"{q:.3g}" for q in np.quantile(found.farther, [0.5, 0.95]))
    return [heading, f"{100 * np.mean(found.missed):.3g}", *quantiles]


def _regions(regions: Sequence[Region], names: Sequence[str]) -> str:
    """Returns the table of regions, those that are not covered first, or nothing where there is none."""
    ordered = sorted(regions, key=lambda region: (region.status == COVERED, -region.share))
    rows = [
        [r.name, r.status, f"{100 * r.share:.3g}", f"{100 * r.missed:.3g}", f"{r.generated:.2g}", names[r.example]]
        for r in ordered[:LISTED]
    ]
    if not rows:
        return ""
    headings = ["region", "status", "of the data (%)", "missed (%) ↓", "samples (right: 1)", "for example"]
    table = tabulate(rows, headings, tablefmt="github", disable_numparse=True)
    return table + (f"\n\nand {len(ordered) - LISTED} more regions" if len(ordered) > LISTED else "")


def json_text(judged: Judged, names: Sequence[str]) -> str:
    """Returns the report as JSON."""
    found = judged.coverage
    near = found.neighbours
    worst = [
        {"example": names[i], "p": float(near.p[i]), "missed": bool(near.missed[i]), "farther": float(near.farther[i])}
        for i in near.worst[:SHOWN]
    ]
    content: dict[str, Any] = {
        "verdict": verdict(found),
        "judged": len(judged.x),
        "compared": len(judged.real),
        "false_discovery_rate": FALSE_DISCOVERY_RATE,
        "missed": float(np.mean(near.missed)),
        "real_missed": float(np.mean(found.real.missed)),
        "known_modes": found.modes.number if found.modes else None,
        "regions_are_modes": found.divided,
        "regions": [{**r._asdict(), "example": names[r.example]} for r in found.regions],
        "worst": worst,
    }
    return json.dumps(content, indent=2) + "\n"


def arrays(judged: Judged) -> dict[str, np.ndarray]:
    """Returns the test of each of the N judged examples, and the most surely missed ones with what is nearest to them.

    Returns:
        `p`, `missed`, `farther` and `region`, `[N]` each; and `missed_x`, `missed_nearest_generated` and
        `missed_nearest_real`, `[n, …]` with n ≤ 64.
    """
    near, (x, generated, real) = judged.coverage.neighbours, _worst(judged)
    tested = {"p": near.p, "missed": near.missed, "farther": near.farther, "region": judged.coverage.region_of}
    return {**tested, "missed_x": x, "missed_nearest_generated": generated, "missed_nearest_real": real}


def _worst(judged: Judged) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = judged.coverage
    chosen = found.neighbours.worst[:SHOWN]
    generated, real = (near.positions[chosen, 0] for near in (found.nearest_generated, found.nearest_real))
    return judged.x[chosen], judged.generated[generated], judged.real[real]


def shown(judged: Judged) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], dict[str, int]]:
    """Returns what the picture of regions shows, the arguments of `plots.draw_regions`."""
    near, (x, generated, real) = judged.coverage.neighbours, _worst(judged)
    regions = {r.name: r.example for r in judged.coverage.regions if r.status != COVERED}
    if judged.x.shape[1:] == (2,):
        return judged.x, near.missed, {"samples": judged.generated}, regions
    most = "missed most surely" if near.missed.any() else "least covered; none is missed"
    return x, near.missed, {f"held out, {most}": x, "nearest sample": generated, "nearest training image": real}, {}
