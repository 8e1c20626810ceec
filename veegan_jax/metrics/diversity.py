"""How many modes samples have, without labels: Vendi score, RKE mode count, and support by the birthday paradox."""

from collections.abc import Sequence
from functools import reduce

import numpy as np

from veegan_jax.metrics.base import Column
from veegan_jax.metrics.distances import MOST_COMPARED, Distances, RealDistances

# The Vendi score is of at most this number of samples; of the second number, where classes have more combinations.
MOST_VENDI, MOST_VENDI_OF_MANY = 10_000, 2000
# Two examples are duplicates if they are closer than this quantile of real data's distances to the nearest neighbour.
DUPLICATE_QUANTILE = 0.1
# The bandwidth of RKE lies between the median distance of this number of real examples, and the median distance to this
# nearest neighbour.
BANDWIDTH_EXAMPLES, BANDWIDTH_NEIGHBOUR = 1000, 5
# This number of rows of a kernel is computed at once.
ROWS = 500

VENDI = Column(
    name="vendi",
    heading="Vendi",
    unit="",
    direction="as real",
    definition="exp(−Σ λ log λ) over the eigenvalues λ of K/n: the effective number of different samples. The kernel "
    "K(x, x′) is the cosine of features; where digits are stacked and a classifier knows them, it is "
    "Σ_c √(p(c|x) p(c|x′)) over the tuples c of digits. Mode counts saturate, and this score does not.",
    source="Friedman and Dieng, TMLR 2023, arXiv 2210.02410, definition 3.1",
    least=2,
)
RKE = Column(
    name="rke",
    heading="RKE modes",
    unit="",
    direction="as real",
    definition="1 / mean_ij k(y_i, y_j)² with k(a, b) = exp(−‖a − b‖²/2σ²): a count of modes without labels. Real data "
    "alone set σ: σ³ is the squared median distance of real examples, times their median distance to the fifth nearest "
    "neighbour.",
    source="Jalali, Li and Farnia, NeurIPS 2023 (order 2); the bandwidth: this project",
    least=2,
)


def pairs(num: int) -> float:
    """Returns the number of pairs among the samples that are compared: the largest `support` that they can show."""
    compared = min(num, MOST_COMPARED)
    return compared * (compared - 1) / 2


SUPPORT = Column(
    name="support",
    heading="support",
    unit="",
    direction="as real",
    definition="#pairs / #duplicates: the number of equally likely examples that would give as many duplicates as the "
    "samples hold, by the birthday paradox. Duplicates are closer than 90 % of distinct real examples are to their "
    'nearest neighbour. "≥" marks the number of pairs, a lower bound: no pair, or a single one, is a duplicate.',
    source="Arora and Zhang, arXiv 1706.08224",
    least=2,
    limit=pairs,
)


def vendi(features: np.ndarray) -> float:
    """Computes the Vendi score under the cosine kernel: exp of the entropy of the eigenvalues of K/n.

    The eigenvalues other than 0 are those of the matrix XᵀX/n of the features X of length 1, which is D × D.

    Args:
        features: `[N, D]`; the first 10,000 are used. Features of zero length count as equal to each other.

    Returns:
        1 for samples that are all alike, up to min(N, D).
    """
    x = features[:MOST_VENDI].astype(np.float64)
    lengths = np.linalg.norm(x, axis=1)
    x = np.column_stack([x / np.where(lengths > 0, lengths, 1.0)[:, None], lengths == 0])
    return _effective_number(x.T @ x if x.shape[1] <= len(x) else x @ x.T)


def posterior_vendi(posteriors: Sequence[np.ndarray]) -> float:
    """Computes the Vendi score of tuples of classes, under the kernel Σ_c √(p(c|x) p(c|x′)) over the tuples c.

    The probability of a tuple is the product over its parts, so that the kernel is a product of kernels.

    Args:
        posteriors: for each part of the tuple, the probabilities of its classes, `[N, classes]`. The first 10,000
            samples are used, or the first 2,000 where there are more tuples than that.

    Returns:
        1 for samples that are all alike, up to min(N, number of tuples).
    """
    roots = [np.sqrt(p[:MOST_VENDI].astype(np.float64)) for p in posteriors]
    tuples = int(np.prod([root.shape[1] for root in roots]))
    if tuples <= min(len(roots[0]), MOST_VENDI):
        x = reduce(lambda a, b: (a[:, :, None] * b[:, None, :]).reshape(len(a), -1), roots)
        return _effective_number(x.T @ x)
    return _effective_number(np.prod([r[:MOST_VENDI_OF_MANY] @ r[:MOST_VENDI_OF_MANY].T for r in roots], axis=0))


def _effective_number(matrix: np.ndarray) -> float:
    """Returns exp of the entropy of the eigenvalues of a symmetric matrix, which are divided by their sum."""
    values = np.linalg.eigvalsh(matrix)
    shares = values[values > 0] / np.sum(values[values > 0])
    return float(np.exp(-np.sum(shares * np.log(shares))))


def bandwidth(real: RealDistances) -> float:
    """Returns the bandwidth σ of `rke_modes`, which real data alone set.

    It lies between their two scales: σ³ is the squared median distance between real examples, times the median distance
    to the fifth nearest distinct one. Where modes are narrow and far apart, it is wider than a mode and narrower than
    the gaps. Where real data are a single point, it is 1.
    """
    if len(real.distinct) == 1:
        return 1.0
    chosen = real.distinct[:BANDWIDTH_EXAMPLES]
    few = real.square[np.ix_(chosen, chosen)]
    overall = np.median(few[np.triu_indices(len(few), 1)])
    local = np.median(real.distinct_radii(min(BANDWIDTH_NEIGHBOUR, len(real.distinct) - 1)))
    return float((np.float64(overall) ** 2 * np.float64(local)) ** (1 / 6))


def rke_modes(d: Distances, sigma: float) -> float:
    """Computes the RKE mode count of the samples, 1 / mean_ij k(y_i, y_j)² (Jalali et al., NeurIPS 2023).

    Args:
        d: the distances.
        sigma: the bandwidth σ of the kernel k(a, b) = exp(−‖a − b‖²/2σ²).

    Returns:
        1 for samples that are all alike, up to their number.
    """
    m, scale = len(d.samples), np.float32(-1 / sigma**2)
    total = sum(float(np.sum(np.exp(d.samples[i : i + ROWS] * scale), dtype=np.float64)) for i in range(0, m, ROWS))
    return m * m / total


def support(d: Distances) -> float:
    """Computes how many equally likely examples would give as many duplicates as the samples (Arora and Zhang, 2017).

    By the birthday paradox the chance that two samples are duplicates, over all pairs, is 1 over that number, and a
    batch of 1.18 times its root holds a duplicate with an even chance. Real data decide what a duplicate is: two
    examples that are closer than 90 % of the distinct real ones are to their nearest neighbour. So the number does not
    count what a generator can make; beside the real row it shows by how much a generator repeats itself. Samples that
    are spread wider than real data score above the real row.

    Without a duplicate it is the number of pairs, which is then a lower bound.
    """
    square = 0.0  # where real data are a single point, only equal samples are duplicates
    if len(d.real.distinct) > 1:
        square = float(np.quantile(np.sqrt(d.real.distinct_radii(1)), DUPLICATE_QUANTILE)) ** 2
    m, below = len(d.samples), np.nextafter(np.float32(square), np.float32(0))
    duplicates = (np.count_nonzero(d.samples <= below) - m) / 2  # each sample is no duplicate of itself
    return m * (m - 1) / 2 / max(duplicates, 1.0)
