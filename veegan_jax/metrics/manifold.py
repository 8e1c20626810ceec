"""Whether samples lie where real data do, and cover them: nearest neighbours, bins and duplicates of features `[N, D]`.

Samples are compared with the real examples that are given with them.
"""

import functools
from typing import Any

import numpy as np

from veegan_jax.metrics.base import Column, Comparison, Features, Metric, MetricType, measured
from veegan_jax.metrics.distances import MOST_COMPARED, Distances, RealDistances, distances
from veegan_jax.metrics.diversity import RKE, SUPPORT, VENDI, bandwidth, rke_modes, support, vendi
from veegan_jax.metrics.memorisation import (
    AUTHPCT,
    FLD,
    MOST_LIKELIHOOD,
    LikelihoodReference,
    authentic_share,
    likelihood_divergence,
    likelihood_reference,
)
from veegan_jax.metrics.neighbours import (
    NEIGHBOUR,
    NEIGHBOUR_COLUMNS,
    WIDE_NEIGHBOUR,
    density_coverage_of,
    neighbour_scores,
    precision_recall_of,
)
from veegan_jax.metrics.two_sample import (
    MMD,
    SLICED_WASSERSTEIN,
    KernelReference,
    kernel_reference,
    mmd_of,
    sliced_wasserstein,
)

# NDB has this number of bins; two bins differ beyond the two-sided 5 % point of a normal distribution.
NUM_BINS, SIGNIFICANT = 100, 1.96
# Data of more coordinates than the first number are compared by random projections, of the second number.
MOST_COORDINATES, PROJECTIONS = 1024, 512
# NDB compares at most this number of examples of each sample.
MOST_BINNED = 10_000

NDB = Column(
    name="ndb",
    heading="NDB",
    unit="%",
    direction="lower",
    definition="The share of statistically different bins: of 100 cells of real data, those whose shares of samples "
    "and of real examples differ by a two-proportion z-test at 5 %. Equal distributions score about 5.",
    source="Richardson and Weiss, NeurIPS 2018",
    least=2,
)
COORDINATE_COLUMNS = (*NEIGHBOUR_COLUMNS, RKE, NDB, SUPPORT)


class _Real:
    """Real examples `[M, D]`, and what follows from them alone, each part of which is computed once."""

    def __init__(self, real: np.ndarray):
        self.examples = real

    @functools.cached_property
    def distances(self) -> RealDistances:
        return RealDistances(self.examples)

    @functools.cached_property
    def bandwidth(self) -> float:
        return bandwidth(self.distances)

    @functools.cached_property
    def bins(self) -> "Bins":
        return Bins(self.examples)

    @functools.cached_property
    def kernels(self) -> KernelReference:
        return kernel_reference(self.distances)

    def compare(self, x: np.ndarray, d: Distances) -> dict[str, float]:
        """Returns the scores of `COORDINATE_COLUMNS` of samples `[N, D]`, given their distances."""
        return {
            **neighbour_scores(d),
            **measured(
                d.least,
                ((RKE,), lambda: {"rke": rke_modes(d, self.bandwidth)}),
                ((NDB,), lambda: {"ndb": self.bins.different(x)}),
                ((SUPPORT,), lambda: {"support": support(d)}),
            ),
        }

    def note(self) -> str:
        """Returns how the scores of `COORDINATE_COLUMNS` are defined."""
        return (
            f"precision, recall: {NEIGHBOUR}-NN, density, coverage: {WIDE_NEIGHBOUR}-NN, of at most {MOST_COMPARED:,} "
            f"examples; RKE modes: Gaussian kernel, bandwidth {self.bandwidth:.3g}; NDB: the share of {NUM_BINS} bins "
            "that samples and real data fill differently, 5 % by chance; support: by the birthday paradox, ≥ where at "
            "most one pair is a duplicate"
        )


def make_manifold(reference: Any, features: Features) -> Metric:
    """Makes the scores of any data without labels, from the coordinates as they are.

    Where there are more than 1,024 coordinates, as pixels of images, the scores are of 512 random projections, always
    the same ones, which change distances by a few per cent (Johnson and Lindenstrauss, 1984).
    """

    def against(real: np.ndarray) -> Comparison:
        reals = _Real(coordinates(real))

        def score(samples: np.ndarray) -> dict[str, float]:
            x = coordinates(samples)
            d = reals.distances.to(x)
            return {**reals.compare(x, d), **measured(d.least, ((VENDI,), lambda: {"vendi": vendi(x)}))}

        return Comparison(score, reals.note)

    return Metric(against, manifold.columns)


def make_unlabelled_images(reference: Any, features: Features) -> Metric:
    """Makes the scores of `manifold`, and whether training images were learnt by heart.

    Args:
        reference: held-out images, uint8 `[N, H, W, C]`; the real examples that are scored with are training images.
        features: not used.
    """

    def against(real: np.ndarray) -> Comparison:
        reals = _Real(coordinates(real))

        @functools.cache
        def likelihood() -> LikelihoodReference:
            chosen = np.random.default_rng(0).permutation(len(reference))[:MOST_LIKELIHOOD]
            held_out = coordinates(reference[chosen].astype(np.float32) / np.float32(127.5) - 1)
            return likelihood_reference(reals.examples, held_out)

        def score(samples: np.ndarray) -> dict[str, float]:
            x = coordinates(samples)
            d = reals.distances.to(x)
            others = measured(
                min(d.least, len(reference)),
                ((VENDI,), lambda: {"vendi": vendi(x)}),
                ((AUTHPCT,), lambda: {"authpct": authentic_share(d)}),
                ((FLD,), lambda: {"fld": likelihood_divergence(x, likelihood())}),
            )
            return {**reals.compare(x, d), **others}

        return Comparison(score, reals.note)

    return Metric(against, unlabelled_images.columns)


def make_plane(reference: Any, features: Features) -> Metric:
    """Makes the scores of coordinates, and distances of distributions in the plane."""

    def against(real: np.ndarray) -> Comparison:
        reals = _Real(real)

        def score(samples: np.ndarray) -> dict[str, float]:
            d = reals.distances.to(samples)
            gaps = measured(
                d.least,
                ((SLICED_WASSERSTEIN,), lambda: {"sliced_wasserstein": sliced_wasserstein(samples, real)}),
                ((MMD,), lambda: {"mmd": mmd_of(d, reals.kernels)}),
            )
            return {**reals.compare(samples, d), **gaps}

        return Comparison(score, reals.note)

    return Metric(against, plane.columns)


def coordinates(x: np.ndarray) -> np.ndarray:
    """Returns examples `[N, …]` as `[N, D]`: their coordinates, or random projections of more than 1,024 of them."""
    flat = x.reshape(len(x), -1)
    if flat.shape[1] <= MOST_COORDINATES:
        return flat
    directions = np.random.default_rng(0).standard_normal((flat.shape[1], PROJECTIONS), np.float32)
    return flat @ directions / np.float32(np.sqrt(PROJECTIONS))


class Bins:
    """The cells of 100 means of real data, by which samples are compared with them.

    The first 10,000 examples of each sample are compared. K-means runs for 20 rounds, since any cells will do.
    """

    def __init__(self, real: np.ndarray):
        """Finds the means of features of real examples, `[M, D]`."""
        from sklearn.cluster import KMeans

        real = real[:MOST_BINNED]
        self._num = min(NUM_BINS, len(np.unique(real, axis=0)))
        self._means = KMeans(self._num, n_init=1, max_iter=20, random_state=0).fit(real)
        # Real examples are assigned to cells as samples are, so that exact copies fill the same ones.
        self._counts = self._count(real)

    def _count(self, x: np.ndarray) -> np.ndarray:
        """Returns the number of examples in each cell."""
        return np.bincount(self._means.predict(x), minlength=self._num)

    def different(self, x: np.ndarray) -> float:
        """Computes NDB/K, the share of statistically different bins (Richardson and Weiss, NeurIPS 2018).

        Two shares of a bin differ if a z-test of two proportions rejects at 5 % that they are equal, so that samples of
        the real distribution itself score about 5.

        Args:
            x: features of samples, `[N, D]`.

        Returns:
            The share in %.
        """
        counts = [self._count(x[:MOST_BINNED]), self._counts]
        n, m = (np.sum(count) for count in counts)
        pooled = (counts[0] + counts[1]) / (n + m)
        deviation = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        return 100 * float(np.mean(np.abs(counts[0] / n - counts[1] / m) > SIGNIFICANT * deviation))


def precision_recall(x: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Computes improved precision and recall (Kynkäänniemi et al., NeurIPS 2019, equations 1 to 3).

    A manifold is the union of balls around its members; the radius of each is the distance to the third nearest
    neighbour. Exact copies score 100 %, however often the data repeat.

    Args:
        x: features of samples, `[N, D]`; the first 5,000 are compared.
        real: features of real examples, `[M, D]`; the first 5,000 are compared.

    Returns:
        `precision`: the share of samples within the manifold of real data, in %.
        `recall`: the share of real examples within the manifold of the samples, in %.

    Raises:
        ValueError: if a sample has fewer than four examples, and so no third nearest neighbour.
    """
    return precision_recall_of(distances(x, real))


def density_coverage(x: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Computes density, coverage (Naeem et al., ICML 2020) and their clipped forms (Salvy et al., ICLR 2026), in %.

    The balls of density and coverage are open, as in their papers. A real example that is repeated more than five
    times has a ball of radius 0, which holds what equals the example; so exact copies of any data are covered.

    Args:
        x: features of samples, `[M, D]`; the first 5,000 are compared.
        real: features of real examples, `[N, D]`; the first 5,000 are compared.

    Returns:
        `density`, `coverage`, `clipped_density`, `clipped_coverage`, and `fidelity_diversity`, the smaller of the last
        two.

    Raises:
        ValueError: if a sample has fewer than six examples.
    """
    return density_coverage_of(distances(x, real))


def birthday_support(x: np.ndarray, real: np.ndarray) -> float:
    """Computes the number of equally likely examples that would give as many duplicates (Arora and Zhang, 2017).

    Args:
        x: features of samples, `[N, D]`; the first 5,000 are compared.
        real: features of real examples, `[M, D]`, which decide what a duplicate is; the first 5,000 are compared.

    Returns:
        The number; without a duplicate it is the number of pairs, which is then a lower bound.
    """
    return support(distances(x, real))


manifold = MetricType((*COORDINATE_COLUMNS, VENDI), make_manifold)
unlabelled_images = MetricType((*manifold.columns, AUTHPCT, FLD), make_unlabelled_images)
plane = MetricType((*COORDINATE_COLUMNS, SLICED_WASSERSTEIN, MMD), make_plane)
