"""Fidelity and diversity by nearest neighbours: precision and recall, density and coverage, and their clipped forms.

Around each real example x_i is a ball whose radius ρ_k(x_i) is the distance to its k-th nearest other real example. The
scores ask which samples y_j lie in which balls. They depend on the number of examples, at most 5,000 of each.
"""

import functools

import numpy as np

from veegan_jax.metrics.base import Column, measured
from veegan_jax.metrics.distances import Distances, nearest

# The neighbour whose distance is the radius: of precision and recall (Kynkäänniemi et al. 2019, section 3.1), and of
# density, coverage and their clipped forms (Naeem et al. 2020, section 3.3).
NEIGHBOUR, WIDE_NEIGHBOUR = 3, 5

PRECISION = Column(
    name="precision",
    heading="precision",
    unit="%",
    direction="higher",
    definition="mean_j 1[∃i: ‖y_j − x_i‖ ≤ ρ₃(x_i)]: the share of samples y within the 3-NN manifold of real data x, "
    "where ρ_k(x_i) is the distance from x_i to its k-th nearest other real example. Labelled images are compared in a "
    "classifier's features.",
    source="Kynkäänniemi et al., NeurIPS 2019, equations 1 to 3",
    least=NEIGHBOUR + 1,
)
RECALL = PRECISION._replace(
    name="recall",
    heading="recall",
    definition="As precision with the roles swapped: the share of real examples within the 3-NN manifold of samples.",
)
DENSITY = Column(
    name="density",
    heading="density",
    unit="%",
    direction="as real",
    definition="(1/5M) Σ_j Σ_i 1[‖y_j − x_i‖ < ρ₅(x_i)], for comparability: in how many balls of real examples one of "
    "the M samples lies, where 100 % stands for five. It has no upper bound.",
    source="Naeem et al., ICML 2020, equation 4",
    least=WIDE_NEIGHBOUR + 1,
)
COVERAGE = Column(
    name="coverage",
    heading="coverage",
    unit="%",
    direction="higher",
    definition="mean_i 1[min_j ‖x_i − y_j‖ < ρ₅(x_i)], for comparability: the share of real examples with a sample in "
    "their ball.",
    source="Naeem et al., ICML 2020, equation 5",
    least=WIDE_NEIGHBOUR + 1,
)
CLIPPED_DENSITY = Column(
    name="clipped_density",
    heading="clipped density",
    unit="%",
    direction="higher",
    definition="mean_j min(1, (1/5) Σ_i 1[‖y_j − x_i‖ ≤ r_i]) with r_i = min(ρ₅(x_i), median ρ₅), divided by the same "
    "of real examples (each outside its own ball), at most 100 %. Outliers of either sample count little.",
    source="Salvy, Talbot and Thirion, ICLR 2026, arXiv 2507.01761",
    least=WIDE_NEIGHBOUR + 1,
)
CLIPPED_COVERAGE = Column(
    name="clipped_coverage",
    heading="clipped coverage",
    unit="%",
    direction="higher",
    definition="c = mean_i (1/5)·#{of the 5 samples nearest to x_i: closer than ρ₅(x_i)}, as the share of good samples "
    "among bad ones that would give the same c: #{m in 0 … M: f(m) < c}/(M + 1), where f(m) is the mean of c for m "
    "samples of the real distribution.",
    source="Salvy, Talbot and Thirion, ICLR 2026, arXiv 2507.01761",
    least=WIDE_NEIGHBOUR + 1,
)
FIDELITY_DIVERSITY = Column(
    name="fidelity_diversity",
    heading="fidelity and diversity",
    unit="%",
    direction="higher",
    definition="min(clipped density, clipped coverage): low if samples are bad, and low if modes are missing. The best "
    "checkpoint of images without labels is chosen by it.",
    source="Salvy, Talbot and Thirion, ICLR 2026, arXiv 2507.01761 (the minimum: this project)",
    least=WIDE_NEIGHBOUR + 1,
)
NEIGHBOUR_COLUMNS = (PRECISION, RECALL, DENSITY, COVERAGE, CLIPPED_DENSITY, CLIPPED_COVERAGE, FIDELITY_DIVERSITY)


def neighbour_scores(d: Distances) -> dict[str, float]:
    """Computes those of `NEIGHBOUR_COLUMNS` for which there are enough examples, in %."""
    return measured(
        d.least,
        ((PRECISION, RECALL), lambda: precision_recall_of(d)),
        ((DENSITY, COVERAGE, CLIPPED_DENSITY, CLIPPED_COVERAGE, FIDELITY_DIVERSITY), lambda: density_coverage_of(d)),
    )


def precision_recall_of(d: Distances) -> dict[str, float]:
    """Computes `precision` and `recall`, in %. Exact copies score 100 %, however often the data repeat."""
    radii, sample_radii = d.real.radii(NEIGHBOUR), nearest(d.samples, NEIGHBOUR)
    precision = np.mean(np.any(d.cross <= radii[:, None], axis=0))
    recall = np.mean(np.count_nonzero(d.cross <= sample_radii, axis=1) > 0)  # `any` along rows takes ten times as long
    return {"precision": 100 * float(precision), "recall": 100 * float(recall)}


def density_coverage_of(d: Distances) -> dict[str, float]:
    """Computes density, coverage, their clipped forms and the smaller of the two clipped ones, in %.

    The balls of density and coverage are open, as in their papers. A real example that is repeated more than five
    times has a ball of radius 0, which holds what equals the example; so exact copies of any data are covered.
    """
    k, squares, clipped = WIDE_NEIGHBOUR, d.real.radii(WIDE_NEIGHBOUR), d.real.clipped_radii
    n, m = d.cross.shape
    # "Closer than the radius" is "at most the number before it"; 0 stays 0.
    held = np.count_nonzero(d.cross <= np.nextafter(squares, np.float32(0))[:, None], axis=1)
    balls = np.count_nonzero(d.cross <= clipped[:, None], axis=0)  # in how many balls each sample lies
    fidelity = np.mean(np.minimum(balls, k)) / np.mean(np.minimum(d.real.clipped_balls, k))
    expected = expected_coverage(k, n, m)
    covered = np.searchsorted(expected, np.mean(np.minimum(held, k)) / k) / len(expected)
    scores = {
        "density": held.sum() / (k * m),
        "coverage": np.mean(held > 0),
        "clipped_density": min(fidelity, 1.0),
        "clipped_coverage": covered,
        "fidelity_diversity": min(fidelity, covered),
    }
    return {name: 100 * float(score) for name, score in scores.items()}


@functools.cache
def expected_coverage(k: int, n: int, most: int) -> np.ndarray:
    """Returns the mean coverage of n real examples by m samples of their distribution, for each m from 0 to `most`.

    The number J of m samples in a ball that k of n real examples fill has a beta-binomial distribution, and f(m) is
    E[min(J, k)]/k = 1 − Σ_{j<k} (1 − j/k)·C(m, j)·B(k + j, n + m − k − j)/B(k, n − k), and 0 for m < k (Salvy et al.,
    ICLR 2026). It rises with m.

    Args:
        k: the neighbour that sets the radius.
        n: the number of real examples, more than k.
        most: the largest number of samples.

    Returns:
        Float64 `[most + 1]`, from 0 to 1.
    """
    from scipy import special  # imported here, since it takes time that other metrics need not wait for

    m, j = np.arange(k, most + 1)[:, None], np.arange(k)
    choose = special.gammaln(m + 1) - special.gammaln(j + 1) - special.gammaln(m - j + 1)
    log_chance = choose + special.betaln(k + j, n + m - k - j) - special.betaln(k, n - k)
    mean = 1 - np.sum((1 - j / k) * np.exp(log_chance), axis=1)
    return np.concatenate([np.zeros(min(k, most + 1)), mean])
