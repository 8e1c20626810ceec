"""A two-sample test around each real example: are generated samples as near to it, and as many, as real examples are?

If a generator samples the distribution of the data, then each of the k nearest neighbours of an example, among as many
generated samples as real ones, is generated with probability 1/2. Too few generated ones show that the generator makes
such examples too rarely, or not at all. The test needs no latents: a generator with many of them can come near to
examples that it practically never makes, so that the distance after inversion acquits it.

The count of neighbours is that of Schilling (JASA 1986) and Henze (Annals of Statistics 1988), taken for each example.
"""

from typing import NamedTuple

import numpy as np

# The numbers of neighbours that are counted: few find small modes, and many find modes that are sampled too rarely.
SCALES = (10, 20, 50, 100)
# The expected share of false alarms among the examples that are called missed (Benjamini and Hochberg 1995).
FALSE_DISCOVERY_RATE = 0.05
# Distances are compared at this neighbour; one such distance varies less than that to the nearest neighbour.
COMPARED_NEIGHBOUR = 5
# The largest ratio of distances; a real example that is repeated has neighbours at the distance 0.
MOST_FARTHER = 1e6
# Trees find neighbours faster up to this number of coordinates.
MOST_IN_TREE = 10
# The distances of this number of examples are in memory at a time.
CHUNK = 256


class Nearest(NamedTuple):
    """The members of a sample `[M, D]` that are nearest to each of N examples, nearest first.

    Attributes:
        squared: squared distances, float `[N, k]`.
        positions: the positions of the members in the sample, int `[N, k]`.
        owners: the example that each member is nearest to, int `[M]`.
    """

    squared: np.ndarray
    positions: np.ndarray
    owners: np.ndarray


class Neighbours(NamedTuple):
    """What surrounds each of N real examples, among as many generated samples as real reference examples.

    Attributes:
        p: the probability, under equal distributions, of as few generated samples among the nearest neighbours, float64
            `[N]`: the smallest one over `SCALES`, times the number of scales (Bonferroni), at most 1.
        missed: whether the example is called missed, bool `[N]`, at the rate `FALSE_DISCOVERY_RATE`.
        farther: how many times as far the fifth nearest generated sample is as the fifth nearest reference example,
            float32 `[N]`.
    """

    p: np.ndarray
    missed: np.ndarray
    farther: np.ndarray

    @property
    def worst(self) -> np.ndarray:
        """The positions of the examples, int `[N]`, the most surely missed first, and the farthest of equal ones."""
        return np.lexsort((-self.farther, self.p))


def nearest(x: np.ndarray, sample: np.ndarray, k: int = max(SCALES)) -> Nearest:
    """Finds the k nearest members of a sample for each example.

    Args:
        x: coordinates of examples, float `[N, D]`.
        sample: coordinates `[M, D]`, M ≥ 1.
        k: the number of members; all M where there are fewer.
    """
    k = min(k, len(sample))
    if x.shape[1] > MOST_IN_TREE:
        return _nearest_by_chunks(x.astype(np.float32), sample.astype(np.float32), k)
    from scipy.spatial import cKDTree

    distances, positions = cKDTree(sample).query(x, np.arange(1, k + 1))
    return Nearest(np.square(distances), positions, cKDTree(x).query(sample)[1])


def _nearest_by_chunks(x: np.ndarray, sample: np.ndarray, k: int) -> Nearest:
    """Finds nearest members by all distances, those of a chunk of examples at a time."""
    centre = np.mean(x, axis=0)
    x, sample = x - centre, sample - centre  # the rounding of the squares below grows with the norms
    norms, columns = np.sum(np.square(sample), axis=1), np.arange(len(sample))
    owners, least = np.zeros(len(sample), int), np.full(len(sample), np.inf, np.float32)
    squared, positions = np.empty((len(x), k), np.float32), np.empty((len(x), k), int)
    for start in range(0, len(x), CHUNK):
        chunk = slice(start, start + CHUNK)
        distances = norms - 2 * x[chunk] @ sample.T + np.sum(np.square(x[chunk]), axis=1, keepdims=True)
        found = np.argpartition(distances, k - 1, axis=1)[:, :k]
        # Copies are at the distance 0 by differences; by rounded squares, those of one sample would seem nearer.
        exact = np.stack([np.sum(np.square(sample[f] - one), axis=1) for f, one in zip(found, x[chunk], strict=True)])
        order = np.argsort(exact, axis=1, kind="stable")
        positions[chunk] = np.take_along_axis(found, order, axis=1)
        squared[chunk] = np.take_along_axis(exact, order, axis=1)
        closest = np.argmin(distances, axis=0)
        closer = distances[closest, columns] < least
        owners[closer], least[closer] = start + closest[closer], distances[closest, columns][closer]
    return Nearest(squared, positions, owners)


def neighbours(real: Nearest, generated: Nearest, seed: int = 0) -> Neighbours:
    """Counts generated samples among the nearest neighbours of each example, and tests whether they are too few.

    Args:
        real: the reference examples, real ones too, that are nearest to the examples to judge.
        generated: the samples that are nearest to them.
        seed: the seed of the random order in which neighbours at equal distances are counted.
    """
    from scipy.stats import hypergeom  # imported here, since it takes a second

    sizes = len(real.owners), len(generated.owners)
    pool = np.concatenate([real.squared, generated.squared], axis=1)
    # Exact copies are at equal distances. In the order of the pool the real ones would always be counted first.
    order = np.lexsort((np.random.default_rng(seed).random(pool.shape), pool))
    counts = np.cumsum(order >= real.squared.shape[1], axis=1)
    most = min(real.squared.shape[1], generated.squared.shape[1])  # beyond it, not all nearest neighbours are known
    scales = [k for k in SCALES if k <= most] or [most]
    # Each of the few counts that are possible is looked up, since the distribution takes long to compute.
    p = np.min([hypergeom.cdf(np.arange(k + 1), sum(sizes), sizes[1], k)[counts[:, k - 1]] for k in scales], axis=0)
    p = np.minimum(p * len(scales), 1.0)
    compared = min(COMPARED_NEIGHBOUR, most) - 1
    return Neighbours(p, discoveries(p), _ratio(generated.squared[:, compared], real.squared[:, compared]))


def discoveries(p: np.ndarray, rate: float = FALSE_DISCOVERY_RATE) -> np.ndarray:
    """Returns which hypotheses are rejected at a false-discovery rate (Benjamini and Hochberg 1995), bool `[N]`.

    Args:
        p: p-values `[N]`, N ≥ 1; neighbouring examples depend on one another positively, as the procedure allows.
        rate: the expected share of true hypotheses among the rejected ones, 0 to 1.
    """
    ordered = np.sort(p)
    passing = ordered <= rate * np.arange(1, len(p) + 1) / len(p)
    return p <= (ordered[passing][-1] if passing.any() else -1.0)


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the root of a / b, float32 `[N]`; 1 where both are 0."""
    ratio = np.where(a > 0, np.inf, 1.0)
    np.divide(a, b, out=ratio, where=b > 0)
    return np.minimum(np.sqrt(ratio), MOST_FARTHER).astype(np.float32)
