"""Histograms of modes, and the modes of stacked digits (VEEGAN, section 4.2).

A reference here is a set of labelled digits: `train_images` and `test_images`, uint8 `[N, 8, 8]` of 0 to 16, and their
labels, int `[N]` of 0 to 9.
"""

import functools
from typing import Any

import numpy as np

from veegan_jax.metrics.base import Column, Features, Metric, MetricType

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
    def classifier() -> Any:
        from sklearn.svm import SVC  # imported here, since it takes a second that other metrics need not wait

        svm = SVC(gamma=0.001, C=10.0, cache_size=500)
        return svm.fit(flat(reference.train_images), reference.train_labels)

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        digits = classifier().predict(flat((split_channels(samples) + 1) * 8))
        return tuple_scores(digits, samples.shape[-1])

    def note() -> str:
        accuracy = classifier().score(flat(reference.test_images), reference.test_labels)
        tested = len(reference.test_labels)
        return f"digits classified by an SVM of {100 * accuracy:.1f} % accuracy on {tested} held-out digits"

    return Metric(score, stacked_modes.columns, note)


stacked_modes = MetricType((MODES, KL, EXCESS_KL, JSD), make_stacked_modes)
