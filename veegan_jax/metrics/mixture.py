"""Modes captured and sample quality on mixtures of Gaussians (VEEGAN, section 4.1; PacGAN, section 4.1).

A reference here has `means` `[M, D]`, `std`, `noisy_dims` and `radius`, as `data.mixtures.Mixture` documents them.
"""

from typing import Any

import numpy as np

from veegan_jax.metrics.base import Column, Comparison, Features, Metric, MetricType
from veegan_jax.metrics.modes import EXCESS_KL, JSD, KL, MODES, divergence, histogram_divergences

# The calibrated rule for noise on a subspace: the share of real samples that it accepts, and the largest RMS, in
# standard deviations, at which a sample still counts as lying on the subspace.
CENTRAL_MASS = 0.998
OFF_SUBSPACE_STDS = 0.1

HIGH_QUALITY = Column(
    name="high_quality",
    heading="high quality",
    unit="%",
    direction="higher",
    definition="The share of samples whose L2 distance to the nearest mean is at most 3 standard deviations (10 on "
    "synthetic1200).",
    source="Srivastava et al., NIPS 2017 (VEEGAN), section 4.1",
)
BIN_KL = Column(
    name="bin_kl",
    heading="(K+1)-bin KL",
    unit="nats",
    direction="lower",
    definition="Σ p log(p/t) over K bins of high-quality samples, by their nearest mean, and one bin of all others, "
    "where t = (q/K, …, q/K, 1 − q) and q is the share of real samples that are of high quality: 0.9889 within 3 "
    "standard deviations in the plane, 0.998 by the calibrated rule of synthetic1200. It is 0 only where "
    "both quality and modes are those of real data; N samples of real data score about K/2N. The best checkpoint is "
    "chosen by it.",
    source="this project, after a textbook's draft (github.com/smolix/d2l-neu, 2026)",
)
CALIBRATED_MODES = Column(
    name="calibrated_modes",
    heading="modes, calibrated",
    unit="",
    direction="higher",
    definition="The number of means that at least one sample of high calibrated quality is nearest to.",
    source="this project",
)
CALIBRATED_HIGH_QUALITY = Column(
    name="calibrated_high_quality",
    heading="high quality, calibrated",
    unit="%",
    direction="higher",
    definition="The share of samples whose squared distance to the nearest mean, within the n noisy dimensions, lies "
    "in the central 99.8 % of χ²(n), and that lie on the mean in the others (RMS of at most 0.1 standard deviations).",
    source="this project",
)


def make_mixture(reference: Any, features: Features) -> Metric:
    """Makes the scores by the paper's rule: a sample within `radius` std, in L2, of its nearest mean is good."""
    real_share = real_quality(reference.radius, reference.noisy_dims)

    def score(samples: np.ndarray) -> dict[str, float]:
        nearest, good, scores = _by_the_papers_rule(samples, reference)
        return {**scores, "bin_kl": bin_divergence(nearest, good, len(reference.means), real_share)}

    note = (
        f"{_radius(reference)}; (K+1)-bin KL: against {100 * real_share:.4g} % of high quality, spread evenly over the "
        "modes"
    )
    return Metric(lambda real: Comparison(score, lambda: note), mixture.columns)


def make_subspace_mixture(reference: Any, features: Features) -> Metric:
    """Makes the scores by the paper's rule, and by a calibrated one for noise on a subspace of many dimensions.

    Unit noise in n dimensions lies about √n std from its mean. For n = 700 the paper's radius of 10 std therefore calls
    no real sample good, and rewards a generator whose variance has collapsed. The calibrated rule asks two things of a
    sample. The squared distance within the n noisy dimensions lies in the central 99.8 % of a χ²(n). And the sample
    lies on the subspace, with an RMS of at most 0.1 std over the other dimensions. The (K+1)-bin KL is by that rule.
    """
    from scipy import special  # imported here, since it takes time that other metrics need not wait for

    noisy, tail = reference.noisy_dims, (1 - CENTRAL_MASS) / 2
    low, high = (2 * special.gammaincinv(noisy / 2, share) for share in (tail, 1 - tail))  # quantiles of χ²(n)

    def score(samples: np.ndarray) -> dict[str, float]:
        nearest, _, scores = _by_the_papers_rule(samples, reference)
        deviation = (samples - reference.means[nearest]) / reference.std
        radius = np.sum(np.square(deviation[:, :noisy]), axis=-1)
        off = np.sqrt(np.mean(np.square(deviation[:, noisy:]), axis=-1))
        good = (low <= radius) & (radius <= high) & (off <= OFF_SUBSPACE_STDS)
        calibrated = {f"calibrated_{name}": value for name, value in _captured(nearest, good).items()}
        bins = bin_divergence(nearest, good, len(reference.means), CENTRAL_MASS)
        return {**scores, **calibrated, "bin_kl": bins}

    bounds = f"{np.sqrt(low):.2f} to {np.sqrt(high):.2f} std"
    note = (
        f"{_radius(reference)}; calibrated: {bounds} from it in the {noisy} noisy dimensions, and an RMS ≤ "
        f"{OFF_SUBSPACE_STDS:g} std in the others; (K+1)-bin KL: by the calibrated rule, against "
        f"{100 * CENTRAL_MASS:.4g} % of high quality, spread evenly over the modes"
    )
    return Metric(lambda real: Comparison(score, lambda: note), subspace_mixture.columns)


def real_quality(radius: float, dims: int) -> float:
    """Returns the chance that Gaussian noise in `dims` dimensions lies within `radius` standard deviations, in L2.

    It is the distribution function of χ²(dims) at radius²: 1 − exp(−radius²/2) in the plane.
    """
    from scipy import special

    return float(special.gammainc(dims / 2, radius**2 / 2))


def bin_divergence(nearest: np.ndarray, good: np.ndarray, num_modes: int, real_share: float) -> float:
    """Computes the KL of K bins of good samples and one bin of all others from those of real data, in nats.

    Args:
        nearest: the mode of each sample, int `[N]`, 0 to K − 1.
        good: whether each sample is of high quality, bool `[N]`.
        num_modes: K.
        real_share: the share of real samples that are of high quality, more than 0 and less than 1.
    """
    counts = np.bincount(np.where(good, nearest, num_modes), minlength=num_modes + 1)
    target = np.append(np.full(num_modes, real_share / num_modes), 1 - real_share)
    return divergence(counts / len(nearest), target)


def _by_the_papers_rule(samples: np.ndarray, reference: Any) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Returns the nearest mean of each sample, whether the sample is good, and the scores that follow."""
    nearest = _nearest_mean(samples, reference.means)
    distance = np.linalg.norm(samples - reference.means[nearest], axis=-1)
    good = distance <= reference.radius * reference.std
    return nearest, good, {**_captured(nearest, good), **histogram_divergences(nearest, len(reference.means))}


def _radius(reference: Any) -> str:
    return f"high quality: L2 distance to the nearest mean ≤ {reference.radius:g} std"


def _nearest_mean(samples: np.ndarray, means: np.ndarray) -> np.ndarray:
    squares = np.sum(np.square(means), axis=-1) - 2 * samples @ means.T
    return np.argmin(squares, axis=-1)


def _captured(nearest: np.ndarray, good: np.ndarray) -> dict[str, float]:
    return {"modes": float(len(np.unique(nearest[good]))), "high_quality": 100 * float(np.mean(good))}


mixture = MetricType((MODES, HIGH_QUALITY, KL, EXCESS_KL, BIN_KL, JSD), make_mixture)
subspace_mixture = MetricType(
    (*mixture.columns, CALIBRATED_MODES, CALIBRATED_HIGH_QUALITY),
    make_subspace_mixture,
)
