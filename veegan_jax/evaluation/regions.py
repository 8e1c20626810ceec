"""The regions of data that a generator misses, and a verdict on them in words."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from veegan_jax.evaluation.local_two_sample import (
    FALSE_DISCOVERY_RATE,
    Nearest,
    Neighbours,
    discoveries,
    nearest,
    neighbours,
)

MISSED, RARE, INEXACT, COVERED = "missed", "rare", "inexact", "covered"
# A region is missed if it gets less than the first share of the samples that it should get, and rare below the second.
MISSED_BELOW, RARE_BELOW = 0.1, 0.75
# Known modes are the regions where at least this number of examples falls into one on average.
LEAST_EXAMPLES = 20
# Missed examples are joined to a region over this number of nearest neighbours among the held-out examples.
JOINED_NEIGHBOURS = 10
# A smaller region, as a share of the held-out examples, is left out of the list: chance makes some.
LEAST_SHARE = 0.002
# A region above the first share of the held-out examples is divided into cells of about the second share.
LARGEST_SHARE, CELL_SHARE = 0.3, 0.05
# An attribute names a region if at least this share of its examples has it.
NAMING_SHARE = 0.8
# The largest number of regions that a line names.
NAMED = 5


class Modes(NamedTuple):
    """What is known of the modes of data.

    Attributes:
        noun: what a mode is called, singular and plural.
        number: how many modes there are.
        attributes: what a mode consists of, int `[N, A]` for each of N examples: its number, its class, or one digit a
            channel.
        name: from the attributes of a mode to its name; an attribute that varies is −1.
    """

    noun: tuple[str, str]
    number: int
    attributes: np.ndarray
    name: Callable[[Sequence[int]], str]


class Region(NamedTuple):
    """A region of the data.

    Attributes:
        name: the name, such as "mode 3 at (0, 2)", "class 7" or "region 1".
        status: "missed" or "rare" if too few samples fall into it, "inexact" if enough do but lie farther from real
            examples than these do from one another, or "covered".
        share: the region's share of the held-out examples, 0 to 1.
        missed: the share of the region's examples that are missed, 0 to 1.
        generated: the samples that fall into it, as a multiple of the real examples that do; 1 is right.
        example: the position of the region's most surely missed example.
    """

    name: str
    status: str
    share: float
    missed: float
    generated: float
    example: int


class Coverage(NamedTuple):
    """How a generator covers N held-out examples.

    Attributes:
        neighbours: what surrounds each example.
        regions: the known modes; or, where there are none or too many, the regions that are not covered, largest first.
        region_of: the region of each example, int `[N]`; −1 for none.
        modes: what is known of modes; None for nothing.
        divided: whether the regions are all the known modes.
        real: what surrounds each example if other real examples stand in for the samples.
        nearest_real: the reference examples that are nearest to each example.
        nearest_generated: the samples that are nearest to each example.
    """

    neighbours: Neighbours
    regions: list[Region]
    region_of: np.ndarray
    modes: Modes | None
    divided: bool
    real: Neighbours
    nearest_real: Nearest
    nearest_generated: Nearest


def coverage(
    x: np.ndarray, real: np.ndarray, other_real: np.ndarray, generated: np.ndarray, modes: Modes | None, seed: int = 0
) -> Coverage:
    """Finds the examples and regions that a generator misses.

    Args:
        x: coordinates of held-out examples, float32 `[N, D]`.
        real: coordinates of reference examples `[M, D]`.
        other_real: coordinates of other real examples `[M, D]`, by which the false alarms are counted.
        generated: coordinates of samples `[M, D]`.
        modes: what is known of the modes of `x`.
        seed: the seed of the order of equal distances.
    """
    near, near_other, near_generated = nearest(x, real), nearest(x, other_real), nearest(x, generated)
    found = neighbours(near, near_generated, seed)
    divided = modes is not None and modes.attributes.shape[1] == 1 and LEAST_EXAMPLES * modes.number <= len(x)
    counts = [np.bincount(sample.owners, minlength=len(x)) for sample in (near, near_generated)]
    region_of = modes.attributes[:, 0] if modes is not None and divided else _clusters(x, found.missed, counts)
    members = [np.flatnonzero(region_of == region) for region in range(region_of.max() + 1)]
    regions = _describe([positions for positions in members if len(positions)], found, counts, modes)
    real_found = neighbours(near, near_other, seed)
    return Coverage(found, regions, region_of, modes, divided, real_found, near, near_generated)


def verdict(found: Coverage) -> str:
    """Says in one line which regions are missed."""
    one, many = found.modes.noun if found.modes and found.divided else ("region", "regions")
    by_status = {status: [r for r in found.regions if r.status == status] for status in (MISSED, RARE, INEXACT)}
    total = f" of {len(found.regions)}" if found.divided else ""

    def clause(status: str, after: str = "") -> str:
        regions = by_status[status]
        if not regions:
            return ""
        some = sorted(regions, key=lambda r: -r.share)[:NAMED]
        more = f" and {len(regions) - NAMED} more" if len(regions) > NAMED else ""
        verb = "is" if len(regions) == 1 else "are"
        noun = many if total or len(regions) > 1 else one
        return f"{len(regions)}{total} {noun} {verb} {status} ({', '.join(r.name for r in some)}{more}){after}"

    clauses = [
        clause(MISSED) or f"no {one} is missed",
        clause(RARE),
        clause(INEXACT, ", with samples around them but not as near as real examples"),
    ]
    share, alarms = np.mean(found.neighbours.missed), np.mean(found.real.missed)
    return (
        f"{'; '.join(filter(None, clauses))}: {_percent(share)} of the examples have too few generated "
        f"samples near them (false-discovery rate {_percent(FALSE_DISCOVERY_RATE)}); real data: {_percent(alarms)}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _generated(positions: np.ndarray, counts: Sequence[np.ndarray]) -> float:
    """Returns the samples that fall among some examples, as a multiple of the reference examples that do."""
    real, generated = (float(count[positions].sum() / count.sum()) for count in counts)
    least = 1 / counts[0].sum()  # where no reference example falls, one is assumed, so that the ratio is finite
    return generated / max(real, least)


def _status(generated: float) -> str:
    return MISSED if generated < MISSED_BELOW else RARE if generated < RARE_BELOW else INEXACT


def _clusters(x: np.ndarray, missed: np.ndarray, counts: Sequence[np.ndarray]) -> np.ndarray:
    """Joins missed examples to regions, the connected components of the graph of nearest neighbours.

    Args:
        x: coordinates of held-out examples `[N, D]`.
        missed: which of them are missed, bool `[N]`.
        counts: the number of reference examples, and of samples, that are nearest to each example, int `[N]`.

    Returns:
        The region of each example, int `[N]`, the largest region first; −1 outside them.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    region_of = np.full(len(x), -1)
    if not missed.any():
        return region_of
    near = nearest(x, x, JOINED_NEIGHBOURS).positions
    rows, columns = np.repeat(np.arange(len(x)), near.shape[1]), near.ravel()
    joined = missed[rows] & missed[columns]
    graph = coo_matrix((np.ones(joined.sum()), (rows[joined], columns[joined])), shape=(len(x), len(x)))
    component = connected_components(graph, directed=False)[1]
    parts = [np.flatnonzero(missed & (component == c)) for c in np.unique(component[missed])]
    parts = [piece for part in parts for piece in _by_scarcity(x, part, counts)]
    parts = sorted((p for p in parts if len(p) >= max(3, LEAST_SHARE * len(x))), key=len, reverse=True)
    for region, positions in enumerate(parts):
        region_of[positions] = region
    return region_of


def _by_scarcity(x: np.ndarray, positions: np.ndarray, counts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Divides a large region by how scarce samples are within it.

    Where samples are inexact everywhere, all examples are missed and may be joined to one region. The cells of k-means
    then keep its parts without samples apart from the others.
    """
    from sklearn.cluster import KMeans

    if len(positions) <= LARGEST_SHARE * len(x):
        return [positions]
    cells = max(2, round(len(positions) / (CELL_SHARE * len(x))))
    cell_of = KMeans(min(cells, len(positions)), n_init=1, max_iter=20, random_state=0).fit(x[positions]).labels_
    status = np.array([_status(_generated(positions[cell_of == cell], counts)) for cell in range(cell_of.max() + 1)])
    return [part for name in (MISSED, RARE, INEXACT) if len(part := positions[status[cell_of] == name])]


def _describe(
    members: Sequence[np.ndarray], found: Neighbours, counts: Sequence[np.ndarray], modes: Modes | None
) -> list[Region]:
    """Describes regions, each given by the positions of its examples."""
    from scipy.stats import hypergeom

    if not members:
        return []
    real, generated = counts
    rank = np.argsort(found.worst)
    falling = np.array([[count[positions].sum() for count in counts] for positions in members])
    scarce = discoveries(
        hypergeom.cdf(falling[:, 1], real.sum() + generated.sum(), falling.sum(axis=1), generated.sum())
    )
    regions = []
    for number, (positions, too_few) in enumerate(zip(members, scarce, strict=True)):
        missed, ratio = float(np.mean(found.missed[positions])), _generated(positions, counts)
        status = _status(ratio) if missed >= 0.5 or (too_few and ratio < RARE_BELOW) else COVERED
        example = int(positions[np.argmin(rank[positions])])
        name = _name(modes, positions) if modes else f"region {number + 1}"
        regions.append(Region(name, status, len(positions) / len(rank), missed, ratio, example))
    return regions


def _name(modes: Modes, positions: np.ndarray) -> str:
    """Names a region by the attributes that most of its examples share."""
    values = []
    for column in modes.attributes[positions].T:
        found, times = np.unique(column, return_counts=True)
        values.append(int(found[times.argmax()]) if times.max() >= NAMING_SHARE * len(positions) else -1)
    return modes.name(values)
