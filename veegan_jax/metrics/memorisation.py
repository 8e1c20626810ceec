"""Whether samples are training examples that were learnt by heart: AuthPct and the feature likelihood divergence."""

from typing import NamedTuple

import numpy as np

from veegan_jax.metrics.base import Column
from veegan_jax.metrics.distances import Distances

# The likelihood is of at most this number of samples, of training examples and of test examples.
MOST_LIKELIHOOD = 2000
# Expectation-maximisation ends after this number of rounds, or when the likelihood, in nats a dimension, gains less.
ROUNDS, GAIN = 50, 1e-5
# The variances of the mixture are kept within these bounds, as in the code of its authors.
LEAST_VARIANCE, MOST_VARIANCE = np.exp(-40), np.exp(20)
# A test example that lies this near to a sample, in standard deviations a feature, is that sample.
SAME = 1e-3

AUTHPCT = Column(
    name="authpct",
    heading="AuthPct",
    unit="%",
    direction="as real",
    definition="The share of samples y with ‖y − x*‖ > ‖x* − x′‖, where x* is the training example nearest to y, and "
    "x′ the training example nearest to x*. Copies of training examples lower it; it can miss memorisation. At most "
    "5,000 training examples are compared.",
    source="Alaa et al., ICML 2022; Stein et al., NeurIPS 2023 (dgm-eval), arXiv 2306.04675",
    least=2,
)
FLD = Column(
    name="fld",
    heading="FLD",
    unit="",
    direction="lower",
    definition="100·(mean −log p̂(test)/D − baseline), where p̂ is a mixture of isotropic Gaussians at the samples' D "
    "features, whose variances are fitted to training data, and the baseline has half of the training data in the "
    "place of samples. Features are standardised by the test data. Bad, missing and memorised samples all raise it; "
    "about 0 is as good as training data.",
    source="Jiralerspong et al., NeurIPS 2023",
    least=4,
)


def authentic_share(d: Distances) -> float:
    """Computes AuthPct: the share, in %, of samples that are farther from training data than these from one another.

    Args:
        d: the distances of samples, and of training examples as the real ones, at least two.
    """
    closest = np.argmin(d.cross.T.copy(), axis=1)  # the copy costs less than a search down the columns
    return 100 * float(np.mean(np.min(d.cross, axis=0) > d.real.radii(1)[closest]))


class LikelihoodReference(NamedTuple):
    """What samples are compared with by `likelihood_divergence`; it is the same for all samples.

    Attributes:
        centre: the mean of the test features, `[D]`.
        scale: their standard deviations, `[D]`; 1 where a feature is constant.
        train: standardised features of training examples, `[N, D]`.
        test: standardised features of test examples, `[M, D]`.
        baseline: mean −log p̂(test)/D of a mixture that has half of the training examples as its centres.
    """

    centre: np.ndarray
    scale: np.ndarray
    train: np.ndarray
    test: np.ndarray
    baseline: float


def likelihood_reference(train: np.ndarray, test: np.ndarray) -> LikelihoodReference:
    """Standardises features and computes the baseline of FLD.

    Args:
        train: features of training examples in random order, `[N, D]`, N ≥ 4; the first 2,000 are used.
        test: features of examples that were not trained on, `[M, D]`, M ≥ 2; the first 2,000 are used.
    """
    train, test = (part[:MOST_LIKELIHOOD].astype(np.float64) for part in (train, test))
    centre, scale = np.mean(test, axis=0), np.std(test, axis=0, ddof=1)
    scale = np.where(scale > 0, scale, 1.0)
    train, test = (train - centre) / scale, (test - centre) / scale
    half = len(train) // 2
    return LikelihoodReference(centre, scale, train, test, test_loss(train[:half], train[half:], test))


def likelihood_divergence(x: np.ndarray, reference: LikelihoodReference) -> float:
    """Computes FLD, the feature likelihood divergence (Jiralerspong et al., NeurIPS 2023).

    Args:
        x: features of samples, `[N, D]`; the first 2,000 are used.
        reference: the training and test examples.
    """
    x = (x[:MOST_LIKELIHOOD].astype(np.float64) - reference.centre) / reference.scale
    return 100 * (test_loss(x, reference.train, reference.test) - reference.baseline)


def test_loss(centres: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Returns mean −log p̂(test)/D of the mixture of Gaussians at the centres whose variances fit training examples.

    A test example that is itself a centre is scored by the other centres: so held-out data can stand for samples.

    Args:
        centres: `[N, D]`.
        train: `[M, D]`.
        test: `[T, D]`.
    """
    dims = centres.shape[1]
    variances = fit_variances(_squares(train, centres), dims)
    squares = _squares(test, centres)
    logs = _log_densities(squares, variances, dims)
    others = np.where(squares > dims * SAME**2, logs, -np.inf)
    others = np.where(np.all(np.isneginf(others), axis=1, keepdims=True), logs, others)
    return -float(np.mean(_log_mean(others)[0])) / dims


def fit_variances(squares: np.ndarray, dims: int) -> np.ndarray:
    """Fits a variance for each component of an isotropic mixture with fixed centres and equal weights, by EM.

    Each variance begins with the distance to the nearest example, as in the code of the method's authors.

    Args:
        squares: squared distances of examples to centres, `[M, N]`.
        dims: D.

    Returns:
        Variances `[N]`, between exp(−40) and exp(20).
    """
    variances = np.clip((np.min(squares, axis=0) + 1e-3) / dims, LEAST_VARIANCE, MOST_VARIANCE)
    before = -np.inf
    for _ in range(ROUNDS):
        logs, shares = _log_mean(_log_densities(squares, variances, dims))
        if (now := float(np.mean(logs)) / dims) - before < GAIN:
            break
        before = now
        weights = np.sum(shares, axis=0)
        fitted = np.einsum("ij,ij->j", shares, squares) / (dims * np.maximum(weights, np.finfo(np.float64).tiny))
        # A centre that no example is near to keeps its variance.
        variances = np.clip(np.where(weights > 1e-12, fitted, variances), LEAST_VARIANCE, MOST_VARIANCE)
    return variances


def _squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squares = np.sum(np.square(x), axis=1)[:, None] + np.sum(np.square(y), axis=1) - 2 * x @ y.T
    return np.maximum(squares, 0.0)


def _log_densities(squares: np.ndarray, variances: np.ndarray, dims: int) -> np.ndarray:
    return -squares / (2 * variances) - dims / 2 * np.log(2 * np.pi * variances)


def _log_mean(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns log mean exp over the columns of `[M, N]`, `[M]`, and the share of each column in that mean, `[M, N]`."""
    largest = np.max(logs, axis=1, keepdims=True)
    shares = np.exp(logs - largest)
    total = np.sum(shares, axis=1, keepdims=True)
    return (largest + np.log(total / logs.shape[1]))[:, 0], shares / total
