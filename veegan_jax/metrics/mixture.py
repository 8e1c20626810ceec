"""Modes captured and sample quality on mixtures of Gaussians (VEEGAN, section 4.1; PacGAN, section 4.1).

A reference here has `means` `[M, D]`, `std`, `noisy_dims` and `radius`, as `data.mixtures.Mixture` documents them.
"""

from typing import Any

import numpy as np

from veegan_jax.metrics.base import Column, Features, Metric, MetricType
from veegan_jax.metrics.modes import JSD, KL, MODES, histogram_divergences

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

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        nearest = _nearest_mean(samples, reference.means)
        distance = np.linalg.norm(samples - reference.means[nearest], axis=-1)
        good = distance <= reference.radius * reference.std
        return {**_captured(nearest, good), **histogram_divergences(nearest, len(reference.means))}

    note = f"high quality: L2 distance to the nearest mean ≤ {reference.radius:g} std"
    return Metric(score, mixture.columns, lambda: note)


def make_subspace_mixture(reference: Any, features: Features) -> Metric:
    """Makes the scores by the paper's rule, and by a calibrated one for noise on a subspace of many dimensions.

    Unit noise in n dimensions lies about √n std from its mean. For n = 700 the paper's radius of 10 std therefore calls
    no real sample good, and rewards a generator whose variance has collapsed. The calibrated rule asks two things of a
    sample. The squared distance within the n noisy dimensions lies in the central 99.8 % of a χ²(n). And the sample
    lies on the subspace, with an RMS of at most 0.1 std over the other dimensions.
    """
    from scipy import stats  # imported here, since it takes a second that other metrics need not wait

    paper = make_mixture(reference, features)
    noisy = reference.noisy_dims
    low, high = stats.chi2.interval(CENTRAL_MASS, noisy)

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        nearest = _nearest_mean(samples, reference.means)
        deviation = (samples - reference.means[nearest]) / reference.std
        radius = np.sum(np.square(deviation[:, :noisy]), axis=-1)
        off = np.sqrt(np.mean(np.square(deviation[:, noisy:]), axis=-1))
        good = (low <= radius) & (radius <= high) & (off <= OFF_SUBSPACE_STDS)
        calibrated = {f"calibrated_{name}": value for name, value in _captured(nearest, good).items()}
        return {**paper.score(samples, real), **calibrated}

    bounds = f"{np.sqrt(low):.2f} to {np.sqrt(high):.2f} std"
    note = (
        f"{paper.note()}; calibrated: {bounds} from it in the {noisy} noisy dimensions, and an RMS ≤ "
        f"{OFF_SUBSPACE_STDS:g} std in the others"
    )
    return Metric(score, subspace_mixture.columns, lambda: note)


def _nearest_mean(samples: np.ndarray, means: np.ndarray) -> np.ndarray:
    squares = np.sum(np.square(means), axis=-1) - 2 * samples @ means.T
    return np.argmin(squares, axis=-1)


def _captured(nearest: np.ndarray, good: np.ndarray) -> dict[str, float]:
    return {"modes": float(len(np.unique(nearest[good]))), "high_quality": 100 * float(np.mean(good))}


mixture = MetricType((MODES, HIGH_QUALITY, KL, JSD), make_mixture)
subspace_mixture = MetricType(
    (*mixture.columns, CALIBRATED_MODES, CALIBRATED_HIGH_QUALITY),
    make_subspace_mixture,
)
