"""Whether samples lie where real data do, and cover them: k-NN manifolds, bins and duplicates of features `[N, D]`.

No reference is needed: samples are compared with the real examples that are given with them.
"""

from typing import Any

import numpy as np

from veegan_jax.metrics.base import Column, Features, Metric, MetricType
from veegan_jax.metrics.two_sample import MMD, MOST_COMPARED, SLICED_WASSERSTEIN, mmd, sliced_wasserstein

# The radius of an example's ball is the distance to this nearest neighbour (Kynkäänniemi et al. 2019, section 3.1).
NEIGHBOUR = 3
# `different_bins` has this number of bins; two bins differ beyond the two-sided 5 % point of a normal distribution.
NUM_BINS, SIGNIFICANT = 100, 1.96
# Two examples are duplicates if they are closer than this quantile of real data's distances to the nearest neighbour.
DUPLICATE_QUANTILE = 0.1
# Data of more coordinates than the first number are compared by random projections, of the second number.
MOST_COORDINATES, PROJECTIONS = 1024, 512
# `different_bins` compares at most this number of examples of each sample.
MOST_BINNED = 10_000

PRECISION = Column(
    name="precision",
    heading="precision",
    unit="%",
    direction="higher",
    definition="The share of samples within the 3-NN manifold of real data, that is no farther from some real example "
    "than its third nearest real neighbour is. Labelled images are compared in a classifier's features.",
    source="Kynkäänniemi et al., NeurIPS 2019, equations 1 to 3",
)
RECALL = Column(
    name="recall",
    heading="recall",
    unit="%",
    direction="higher",
    definition="The share of real examples within the 3-NN manifold of the samples.",
    source="Kynkäänniemi et al., NeurIPS 2019, equations 1 to 3",
)
NDB = Column(
    name="ndb",
    heading="NDB",
    unit="%",
    direction="lower",
    definition="The share of statistically different bins: of 100 cells of real data, those whose shares of samples "
    "and of real examples differ by a two-proportion z-test at 5 %. Equal distributions score about 5.",
    source="Richardson and Weiss, NeurIPS 2018",
)
SUPPORT = Column(
    name="support",
    heading="support",
    unit="",
    direction="as real",
    definition="The number of equally likely examples that would give as many duplicates as the samples hold, by "
    "the birthday paradox. Duplicates are closer than 90 % of real examples are to their nearest neighbour.",
    source="Arora and Zhang, arXiv 1706.08224",
)


def make_manifold(reference: Any, features: Features) -> Metric:
    """Makes precision, recall, different bins and duplicates of any data, from the coordinates as they are.

    Where there are more than 1,024 coordinates, as pixels of images, the scores are of 512 random projections, always
    the same ones, which change distances by a few per cent (Johnson and Lindenstrauss, 1984).
    """

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        x, y = _coordinates(samples), _coordinates(real)
        return {**precision_recall(x, y), "ndb": different_bins(x, y), "support": birthday_support(x, y)}

    note = (
        f"precision, recall: within the {NEIGHBOUR}-NN manifold of at most {MOST_COMPARED:,} examples; NDB: the share "
        f"of {NUM_BINS} bins that samples and real data fill differently, 5 % by chance; support: by the birthday "
        "paradox, to compare with real data's"
    )
    return Metric(score, manifold.columns, lambda: note)


def _coordinates(x: np.ndarray) -> np.ndarray:
    flat = x.reshape(len(x), -1)
    if flat.shape[1] <= MOST_COORDINATES:
        return flat
    directions = np.random.default_rng(0).standard_normal((flat.shape[1], PROJECTIONS), np.float32)
    return flat @ directions / np.float32(np.sqrt(PROJECTIONS))


def make_plane(reference: Any, features: Features) -> Metric:
    """Makes the scores of `manifold`, and distances of distributions in the plane."""
    coverage = make_manifold(reference, features)

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        distances = {"sliced_wasserstein": sliced_wasserstein(samples, real), "mmd": mmd(samples, real)}
        return {**coverage.score(samples, real), **distances}

    return Metric(score, plane.columns, coverage.note)


def precision_recall(x: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Computes improved precision and recall (Kynkäänniemi et al., NeurIPS 2019, equations 1 to 3).

    A manifold is the union of balls around its members; the radius of each is the distance to the third nearest
    neighbour. The first 5,000 examples of each sample are compared, and the scores depend on that number.

    Args:
        x: features of samples, `[N, D]`.
        real: features of real examples, `[M, D]`.

    Returns:
        `precision`: the share of samples within the manifold of real data, in %.
        `recall`: the share of real examples within the manifold of the samples, in %.

    Raises:
        ValueError: if a sample has fewer than four examples, and so no third nearest neighbour.
    """
    x, real = x[:MOST_COMPARED], real[:MOST_COMPARED]
    return {"precision": 100 * _share_within(x, real), "recall": 100 * _share_within(real, x)}


def _share_within(x: np.ndarray, manifold: np.ndarray) -> float:
    from sklearn.metrics import pairwise_distances_chunked  # imported here, since it takes a second
    from sklearn.neighbors import NearestNeighbors

    if len(manifold) <= NEIGHBOUR:
        raise ValueError(
            f"a {NEIGHBOUR}-NN manifold needs more than {NEIGHBOUR} examples, and there are {len(manifold)}"
        )
    distances, _ = NearestNeighbors(n_neighbors=NEIGHBOUR).fit(manifold).kneighbors()  # the example itself is excluded
    radii = distances[:, -1]
    return float(np.mean(np.concatenate([(d <= radii).any(axis=1) for d in pairwise_distances_chunked(x, manifold)])))


def different_bins(x: np.ndarray, real: np.ndarray) -> float:
    """Computes NDB/K, the share of statistically different bins (Richardson and Weiss, NeurIPS 2018).

    The bins are the cells of 100 means of real data. Two shares of a bin differ if a z-test of two proportions rejects
    at 5 % that they are equal, so that samples of the real distribution itself score about 5. The first 10,000 examples
    of each sample are compared. K-means runs for 20 rounds, since any cells will do.

    Args:
        x: features of samples, `[N, D]`.
        real: features of real examples, `[M, D]`.

    Returns:
        The share in %.
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
    """Computes how many equally likely examples would give as many duplicates (Arora and Zhang, 2017).

    By the birthday paradox the chance that two samples are duplicates, over all pairs, is 1 over that number, and a
    batch of 1.18 times its root holds a duplicate with an even chance. Real data decide what a duplicate is: two
    examples that are closer than 90 % of the distinct real ones are to their nearest neighbour. So the number does not
    count what a generator can make; beside the real row it shows by how much a generator repeats itself. Samples that
    are spread wider than real data score above the real row.

    Args:
        x: features of samples, `[N, D]`; the first 5,000 are compared.
        real: features of real examples, `[M, D]`; the first 5,000 are compared.

    Returns:
        The number; without a duplicate it is the number of pairs, which is then a lower bound.
    """
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    x, distinct = x[:MOST_COMPARED], np.unique(real[:MOST_COMPARED], axis=0)
    radius = np.finfo(np.float64).tiny  # where real data are a single point, only equal samples are duplicates
    if len(distinct) > 1:
        nearest, _ = NearestNeighbors(n_neighbors=1).fit(distinct).kneighbors()
        radius = np.quantile(nearest, DUPLICATE_QUANTILE)
    close = sum(int(np.sum(distances < radius)) for distances in pairwise_distances_chunked(x))
    pairs = len(x) * (len(x) - 1) / 2
    duplicates = (close - len(x)) / 2  # each sample is close to itself, and no duplicate of itself
    return pairs / max(duplicates, 1.0)


manifold = MetricType((PRECISION, RECALL, NDB, SUPPORT), make_manifold)
plane = MetricType((*manifold.columns, SLICED_WASSERSTEIN, MMD), make_plane)
