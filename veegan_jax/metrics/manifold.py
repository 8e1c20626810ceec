"""Whether samples lie where real data do, and cover it: k-NN manifolds, bins, and duplicates; features `[N, D]`.

No reference is needed: samples are compared with the real examples that are scored beside them.
"""

from typing import Any

import numpy as np

from veegan_jax.metrics.base import Metric
from veegan_jax.metrics.two_sample import mmd, sliced_wasserstein

# The neighbour whose distance is the radius of an example's ball (Kynkäänniemi et al. 2019, section 3.1).
NEIGHBOUR = 3
# Bins of `different_bins`, and the two-sided 5 % point of a normal distribution, by which two bins differ.
NUM_BINS, SIGNIFICANT = 100, 1.96
# Two examples are duplicates that are closer than all but so much of real data to their nearest other.
DUPLICATE_QUANTILE = 0.1
# Of data of more coordinates than the first, so many projections are compared.
MOST_COORDINATES, PROJECTIONS = 1024, 512
# Where the cost is quadratic, so many examples of each sample are compared.
MOST_COMPARED = 5000
MOST_BINNED = 10_000


def manifold(reference: Any) -> Metric:
    """Precision, recall, different bins and duplicates of any data, on the coordinates as they are.

    Where they are more than 1,024, as pixels of images are, it is on 512 random projections, always the same ones, by
    which distances change by few per cent (Johnson and Lindenstrauss, 1984).
    """

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        x, y = _coordinates(samples), _coordinates(real)
        return {**precision_recall(x, y), "ndb": different_bins(x, y), "support": birthday_support(x, y)}

    note = (
        f"precision, recall: within the {NEIGHBOUR}-NN manifold, of at most {MOST_COMPARED:,} examples; NDB: of "
        f"{NUM_BINS} bins, those filled otherwise than by real data, of which 5 % are by chance; support: by the "
        "birthday paradox, to compare with real data's"
    )
    return Metric(score, ("precision", "recall", "ndb", "support"), lambda: note)


def _coordinates(x: np.ndarray) -> np.ndarray:
    flat = x.reshape(len(x), -1)
    if flat.shape[1] <= MOST_COORDINATES:
        return flat
    directions = np.random.default_rng(0).standard_normal((flat.shape[1], PROJECTIONS), np.float32)
    return flat @ directions / np.float32(np.sqrt(PROJECTIONS))


def plane(reference: Any) -> Metric:
    """The scores of `manifold`, and distances of distributions in the plane."""
    coverage = manifold(reference)

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        distances = {"sliced_wasserstein": sliced_wasserstein(samples, real), "mmd": mmd(samples, real)}
        return {**coverage.score(samples, real), **distances}

    return Metric(score, (*coverage.columns, "sliced_wasserstein", "mmd"), coverage.note)


def precision_recall(x: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Improved precision and recall (Kynkäänniemi et al., NeurIPS 2019, equations 1 to 3).

    `precision` is the share of samples, in %, within the manifold of real data, and `recall` that of real examples
    within the samples' one. A manifold is the union of balls around its members, each as large as the distance to the
    third nearest other. Of each sample the first 5,000 are compared: the scores depend on that number.
    """
    x, real = x[:MOST_COMPARED], real[:MOST_COMPARED]
    return {"precision": 100 * _share_within(x, real), "recall": 100 * _share_within(real, x)}


def _share_within(x: np.ndarray, manifold: np.ndarray) -> float:
    from sklearn.metrics import pairwise_distances_chunked  # here, since it takes a second that others need not wait
    from sklearn.neighbors import NearestNeighbors

    distances, _ = NearestNeighbors(n_neighbors=NEIGHBOUR).fit(manifold).kneighbors()  # an example is not its own
    radii = distances[:, -1]
    return float(np.mean(np.concatenate([(d <= radii).any(axis=1) for d in pairwise_distances_chunked(x, manifold)])))


def different_bins(x: np.ndarray, real: np.ndarray) -> float:
    """NDB/K: the share of bins, in %, that samples and real data fill differently (Richardson and Weiss, NeurIPS 2018).

    The bins are the cells of 100 means of real data; two shares of a bin differ if a z-test of two proportions rejects
    at 5 % that they are equal. So samples of the real distribution itself score about 5. Of each sample the first
    10,000 are compared, and the means are those of 20 rounds, as any cells will do.
    """
    from sklearn.cluster import KMeans

    x, real = x[:MOST_BINNED], real[:MOST_BINNED]
    bins = min(NUM_BINS, len(np.unique(real, axis=0)))
    means = KMeans(bins, n_init=1, max_iter=20, random_state=0).fit(real)
    n, m = len(x), len(real)
    counts = [np.bincount(cells, minlength=bins) for cells in (means.predict(x), means.labels_)]
    pooled = (counts[0] + counts[1]) / (n + m)
    deviation = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return 100 * float(np.mean(np.abs(counts[0] / n - counts[1] / m) > SIGNIFICANT * deviation))


def birthday_support(x: np.ndarray, real: np.ndarray) -> float:
    """How many equally likely examples would give as many duplicates (Arora and Zhang, 2017: the birthday paradox).

    The chance that two samples are duplicates, over all pairs of them, is 1 over that number; a batch of 1.18 times its
    root holds one with an even chance. What a duplicate is, real data decide: two examples that are closer than all but
    10 % of the distinct real ones to their nearest other. So the number is no count of what a generator can make,
    but, beside the real row, says by how much it repeats itself; samples that are spread wider than real data score
    above it. Without a duplicate it is the number of pairs, which is then a lower bound.

    Of each sample the first 5,000 are compared.
    """
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    x, distinct = x[:MOST_COMPARED], np.unique(real[:MOST_COMPARED], axis=0)
    radius = np.finfo(np.float64).tiny  # of a single point: equals only
    if len(distinct) > 1:
        nearest, _ = NearestNeighbors(n_neighbors=1).fit(distinct).kneighbors()
        radius = np.quantile(nearest, DUPLICATE_QUANTILE)
    close = sum(int(np.sum(distances < radius)) for distances in pairwise_distances_chunked(x))
    pairs, duplicates = len(x) * (len(x) - 1) / 2, (close - len(x)) / 2  # each is close to itself, and no duplicate
    return pairs / max(duplicates, 1.0)
