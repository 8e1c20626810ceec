"""Histograms of modes, and the modes of stacked digits (VEEGAN, section 4.2).

A reference here is a set of labelled digits: `train_images` and `test_images`, uint8 `[N, 8, 8]` of 0 to 16, and their
labels, int `[N]` of 0 to 9.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from veegan_jax.metrics.base import Column, Comparison, Features, Metric, MetricType

# A support-vector machine computes this number of decisions at once, in float32, and in float64 those that are nearer
# to 0 than the second number. The rounding is below 1e-5.
ROWS, UNSURE = 2000, 1e-3

MODES = Column(
    name="modes",
    heading="modes",
    unit="",
    direction="higher",
    definition="The number of distinct modes among the samples. A mode of a mixture is a mean that at least one "
    "high-quality sample is nearest to; a mode of stacked digits is a tuple of recognised digits, one a channel.",
    source="Srivastava et al., NIPS 2017 (VEEGAN), sections 4.1 and 4.2",
)
KL = Column(
    name="kl",
    heading="reverse KL",
    unit="nats",
    direction="lower",
    definition="Σ p log(p K), where p is the histogram of the samples over K equally likely modes. Classes of labelled "
    "images count as they do in the training data: Σ p log(p/q). N samples of real data score about (K − 1)/2N.",
    source="Srivastava et al., NIPS 2017 (VEEGAN), section 4.2; Lin et al., NeurIPS 2018 (PacGAN), section 4",
)
EXCESS_KL = Column(
    name="excess_kl",
    heading="excess KL",
    unit="nats",
    direction="lower",
    definition="The reverse KL less what N samples of a uniform sampler score: KL − (K − 1)/2N. It is about 0, of "
    "either sign, for uniform modes, whatever N is.",
    source="the bias of a plug-in entropy: Miller, Information Theory in Psychology 1955",
)
JSD = Column(
    name="jsd",
    heading="JSD",
    unit="nats",
    direction="lower",
    definition="The Jensen-Shannon divergence between the histograms p and q of the reverse KL, 0 to log 2.",
    source="Lin, IEEE Transactions on Information Theory 1991",
)


def histogram_divergences(modes: np.ndarray, num_modes: int, expected: np.ndarray | None = None) -> dict[str, float]:
    """Computes how far a histogram of modes is from the expected one, in nats.

    Args:
        modes: the mode of each sample, int `[N]`, 0 to `num_modes` − 1.
        num_modes: K, how many modes there are.
        expected: the probability of each mode, more than 0, `[K]`; None for equally likely ones.

    Returns:
        `kl`: the reverse Kullback-Leibler divergence Σ p log(p/q), empty bins skipped (VEEGAN, section 4.2).
        `excess_kl`: `kl` less (K − 1)/2N, its mean for N samples of a uniform sampler.
        `jsd`: the Jensen-Shannon divergence, 0 to log 2.
    """
    p = np.bincount(modes, minlength=num_modes) / len(modes)
    q = np.full(num_modes, 1 / num_modes) if expected is None else expected
    middle = (p + q) / 2
    kl = divergence(p, q)
    return {
        "kl": kl,
        "excess_kl": kl - (num_modes - 1) / (2 * len(modes)),
        "jsd": (divergence(p, middle) + divergence(q, middle)) / 2,
    }


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Computes the Kullback-Leibler divergence Σ p log(p/q) of histograms `[K]`, in nats; empty bins of p add 0."""
    filled = p > 0
    return float(np.sum(p[filled] * np.log(p[filled] / q[filled])))


def split_channels(samples: np.ndarray) -> np.ndarray:
    """Returns the channels of samples `[N, H, W, C]` as single images `[N·C, H, W]`."""
    return np.moveaxis(samples, -1, 1).reshape(-1, *samples.shape[1:3])


def tuple_scores(digits: np.ndarray, channels: int) -> dict[str, float]:
    """Computes `modes`, `kl`, `excess_kl` and `jsd` of tuples of digits.

    Args:
        digits: the recognised digits, int `[N·C]` of 0 to 9, in the order of `split_channels`.
        channels: C; there are 10^C tuples.
    """
    tuples = digits.reshape(-1, channels) @ 10 ** np.arange(channels)
    return {"modes": float(len(np.unique(tuples))), **histogram_divergences(tuples, 10**channels)}


def make_stacked_modes(reference: Any, features: Features) -> Metric:
    """Makes the scores of stacked 8×8 digits, which a support-vector machine with an RBF kernel recognises.

    The machine is trained on the training digits only.
    """

    def flat(images: np.ndarray) -> np.ndarray:
        return np.asarray(images, np.float64).reshape(len(images), -1)

    @functools.cache
    def classify() -> Callable[[np.ndarray], np.ndarray]:
        from sklearn.svm import SVC  # imported here, since it takes a second that other metrics need not wait

        return support_vector_classifier(
            SVC(gamma=0.001, C=10.0).fit(flat(reference.train_images), reference.train_labels)
        )

    def score(samples: np.ndarray) -> dict[str, float]:
        return tuple_scores(classify()(flat((split_channels(samples) + 1) * 8)), samples.shape[-1])

    def note() -> str:
        accuracy = np.mean(classify()(flat(reference.test_images)) == reference.test_labels)
        tested = len(reference.test_labels)
        return f"digits classified by an SVM of {100 * accuracy:.1f} % accuracy on {tested} held-out digits"

    return Metric(lambda real: Comparison(score, note), stacked_modes.columns)


def support_vector_classifier(svm: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from examples `[N, D]` to the labels `[N]` of libsvm, `svm.predict`, ten times as fast.

    Each pair of classes has a decision Σ_s α_s exp(−γ‖x − s‖²) + b over the support vectors s of both: a vote for the
    first class where it is positive, else for the second. The first class with the most votes wins (Chang and Lin, ACM
    TIST 2011, section 7). All decisions are two products of matrices in float32. Examples with a decision so near to 0
    that its rounding may change the vote, one in thirty, are computed again in float64.

    Args:
        svm: a trained `sklearn.svm.SVC` of three classes or more, with an RBF kernel.
    """
    ends, pairs = np.cumsum(svm.n_support_), list(itertools.combinations(range(len(svm.classes_)), 2))
    of_class = [slice(end - count, end) for end, count in zip(ends, svm.n_support_, strict=True)]
    weights, votes = np.zeros((ends[-1], len(pairs))), np.zeros((len(pairs), len(of_class)))
    for pair, (a, b) in enumerate(pairs):
        weights[of_class[a], pair] = svm.dual_coef_[b - 1, of_class[a]]
        weights[of_class[b], pair] = svm.dual_coef_[a, of_class[b]]
        votes[pair, [a, b]] = 1, -1
    vectors, gamma = svm.support_vectors_, svm.gamma
    norms, one = np.sum(np.square(vectors), axis=1, keepdims=True), np.ones((len(vectors), 1))
    exponents = -gamma * np.hstack([-2 * vectors, one, norms]).T  # a row [x, ‖x‖², 1] gives −γ‖x − s‖²

    def decide(x: np.ndarray) -> np.ndarray:
        rows = np.column_stack([x, np.sum(np.square(x), axis=1), np.ones(len(x), x.dtype)])
        kernel = rows @ exponents.astype(x.dtype)
        decisions: np.ndarray = np.exp(kernel, out=kernel) @ weights.astype(x.dtype) + svm.intercept_
        return decisions

    def classify(x: np.ndarray) -> np.ndarray:
        decisions = np.concatenate([decide(x[i : i + ROWS].astype(np.float32)) for i in range(0, len(x), ROWS)])
        unsure = np.any(np.abs(decisions) < UNSURE, axis=1)
        decisions[unsure] = decide(x[unsure])
        labels: np.ndarray = svm.classes_[np.argmax(np.where(decisions > 0, 1, -1) @ votes, axis=1)]
        return labels

    return classify


stacked_modes = MetricType((MODES, KL, EXCESS_KL, JSD), make_stacked_modes)
