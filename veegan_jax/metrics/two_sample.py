"""Distances between the distributions of two samples, float `[N, D]` and `[M, D]`."""

from typing import NamedTuple

import numpy as np

from veegan_jax.metrics.base import Column
from veegan_jax.metrics.distances import MOST_COMPARED, Distances, RealDistances, distances

# The plane is sliced along this number of angles, evenly from 0 to π: a quadrature, so nothing is drawn at random.
NUM_SLICES = 64
# The kernel of `mmd` has this number of bandwidths: the median distance of real data, and repeated halves of it.
NUM_BANDWIDTHS = 8
# The median is of the distances between this number of real examples.
MEDIAN_EXAMPLES = 1000
# A kernel below this number counts as 0 under the narrower ones: float32 has no number for it there.
SMALL = np.float32(1e-8)
# The kernels of this number of rows of distances are computed at once, in a processor's cache.
ROWS = 50

SLICED_WASSERSTEIN = Column(
    name="sliced_wasserstein",
    heading="sliced W₂",
    unit="units of the data",
    direction="lower",
    definition="The 2-Wasserstein distance between samples and real data projected on a line, its root mean square "
    "over the lines of the plane.",
    source="Bonneel et al., Journal of Mathematical Imaging and Vision 2015, section 3",
)
MMD = Column(
    name="mmd",
    heading="MMD",
    unit="",
    direction="lower",
    definition="The unbiased squared maximum mean discrepancy under a mean of eight Gaussian kernels. It is about 0, "
    "of either sign, for equal distributions.",
    source="Gretton et al., JMLR 2012, equation 3",
    least=2,
)


def sliced_wasserstein(x: np.ndarray, y: np.ndarray) -> float:
    """Computes the sliced 2-Wasserstein distance in the plane, in units of the data (Bonneel et al. 2015, section 3).

    It is (E_θ W₂²(⟨θ, x⟩, ⟨θ, y⟩))^½ over unit vectors θ; in one dimension the optimal transport joins equal quantiles.
    A shift by δ gives ‖δ‖/√2.

    Args:
        x: `[N, 2]`.
        y: `[N, 2]`.

    Raises:
        ValueError: if the samples are not of one size.
    """
    if x.shape != y.shape:
        raise ValueError(f"x and y have shapes {x.shape} and {y.shape}; they must be the same")
    angles = np.pi * np.arange(NUM_SLICES) / NUM_SLICES
    directions = np.stack([np.cos(angles), np.sin(angles)])  # [2, S]
    transport = np.sort(x @ directions, axis=0) - np.sort(y @ directions, axis=0)
    return float(np.sqrt(np.mean(np.square(transport))))


def mmd(x: np.ndarray, real: np.ndarray) -> float:
    """Computes the squared maximum mean discrepancy, unbiased: about 0, of either sign, for equal distributions.

    The kernel is the mean of Gaussian ones whose bandwidths are the median distance between real examples, half of it,
    and so on down to 1/128 of it, so that both the arrangement of modes and their shape count (Gretton et al., JMLR
    2012, equation 3 and section 8).

    Args:
        x: `[N, D]`; the first 5,000 are compared.
        real: `[M, D]`, which set the bandwidths; the first 5,000 are compared.
    """
    d = distances(x, real)
    return mmd_of(d, kernel_reference(d.real))


class KernelReference(NamedTuple):
    """What real examples give to `mmd_of`; it is the same for all samples.

    Attributes:
        bandwidth: the largest bandwidth of the kernels.
        within: the mean kernel of all pairs of different real examples.
    """

    bandwidth: float
    within: float


def kernel_reference(real: RealDistances) -> KernelReference:
    """Computes what `mmd_of` needs of real examples, at least two."""
    few = real.square[:MEDIAN_EXAMPLES, :MEDIAN_EXAMPLES]
    # The median is 0 where real data are a single point.
    bandwidth = float(np.median(np.sqrt(few[np.triu_indices(len(few), 1)]))) or 1.0
    return KernelReference(bandwidth, _mean_within(real.square, bandwidth))


def mmd_of(d: Distances, reference: KernelReference) -> float:
    """Computes `mmd` from distances."""
    across = _kernel_sum(d.cross, reference.bandwidth) / d.cross.size
    return _mean_within(d.samples, reference.bandwidth) + reference.within - 2 * across


def _mean_within(square: np.ndarray, bandwidth: float) -> float:
    n = len(square)
    return (_kernel_sum(square, bandwidth) - n) / (n * (n - 1))  # an example does not pair with itself


def _kernel_sum(squares: np.ndarray, bandwidth: float) -> float:
    """Returns the sum of the kernels of `mmd` over squared distances, float32 `[n, m]`."""
    total = 0.0
    for i in range(0, len(squares), ROWS):
        k = np.exp(squares[i : i + ROWS] * np.float32(-1 / (2 * bandwidth**2)))
        kernels = k.copy()
        for _ in range(NUM_BANDWIDTHS - 1):
            k *= k > SMALL
            np.square(np.square(k, out=k), out=k)  # the next bandwidth is half
            kernels += k
        total += float(np.sum(kernels, dtype=np.float64))
    return total / NUM_BANDWIDTHS


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Computes KID, the unbiased squared MMD under the kernel (⟨a, b⟩/D + 1)³ (Bińkowski et al., ICLR 2018, section 4).

    The first 5,000 examples of each sample are compared once, rather than many subsets of them.

    Args:
        x: features `[N, D]`.
        y: features `[M, D]`.
    """

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        k = a @ b.T / a.shape[1] + 1
        return k * k * k

    def within(a: np.ndarray) -> float:
        k, n = kernel(a, a), len(a)
        return float((np.sum(k) - np.trace(k)) / (n * (n - 1)))  # an example does not pair with itself

    x, y = x[:MOST_COMPARED].astype(np.float64), y[:MOST_COMPARED].astype(np.float64)
    return within(x) + within(y) - 2 * float(np.mean(kernel(x, y)))


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Computes FID, the squared 2-Wasserstein distance between Gaussians of the samples' moments (Heusel et al. 2017).

    It is ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½). Samples of one distribution score above 0, by about D/N.

    Args:
        x: features `[N, D]`.
        y: features `[M, D]`.
    """
    (mean_x, cov_x), (mean_y, cov_y) = (_moments(sample.astype(np.float64)) for sample in (x, y))
    values, vectors = np.linalg.eigh(cov_x)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_y @ root), 0)).sum()
    return float(np.sum(np.square(mean_x - mean_y)) + np.trace(cov_x) + np.trace(cov_y) - 2 * overlap)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))
