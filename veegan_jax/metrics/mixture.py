"""Modes captured and sample quality on mixtures of Gaussians (VEEGAN, section 4.1; PacGAN, section 4.1).

A reference here has `means` `[M, D]`, `std`, `noisy_dims` and `radius`, as `data.mixtures.Mixture` documents them.
"""

from typing import Any

import numpy as np

from veegan_jax.metrics.base import Metric, histogram_divergences

# The calibrated rule for noise on a subspace: how much of real data scores, and how far off still counts as on it.
CENTRAL_MASS = 0.998
OFF_SUBSPACE_STDS = 0.1


def mixture(reference: Any) -> Metric:
    """The paper's rule: a sample is of high quality within `radius` std, in L2, of its nearest mean."""

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        nearest = _nearest_mean(samples, reference.means)
        distance = np.linalg.norm(samples - reference.means[nearest], axis=-1)
        good = distance <= reference.radius * reference.std
        return {**_captured(nearest, good), **histogram_divergences(nearest, len(reference.means))}

    note = f"high quality: L2 distance to the nearest mean ≤ {reference.radius:g} std"
    return Metric(score, ("modes", "high_quality", "kl", "jsd"), lambda: note)


def subspace_mixture(reference: Any) -> Metric:
    """The paper's rule, and a calibrated one for noise on a subspace of many dimensions.

    Unit noise in n dimensions lies about √n std from its mean, so for n = 700 the paper's 10 std call no real sample
    good, and reward a generator whose variance collapsed. The calibrated rule asks of a sample that its squared
    distance within the n noisy dimensions lie in the central 99.8 % of a χ²(n), and that it lie on the subspace: an RMS
    of at most 0.1 std over the other dimensions.
    """
    from scipy import stats  # here, since it takes a second that other metrics need not wait

    paper = mixture(reference)
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
    return Metric(score, (*paper.columns, "calibrated_modes", "calibrated_high_quality"), lambda: note)


def _nearest_mean(samples: np.ndarray, means: np.ndarray) -> np.ndarray:
    squares = np.sum(np.square(means), axis=-1) - 2 * samples @ means.T
    return np.argmin(squares, axis=-1)


def _captured(nearest: np.ndarray, good: np.ndarray) -> dict[str, float]:
    return {"modes": float(len(np.unique(nearest[good]))), "high_quality": 100 * float(np.mean(good))}
