"""Modes of stacked digits, told by a classifier of single ones (the protocol of VEEGAN, section 4.2).

A reference here has `train_images` and `test_images`, `[N, 8, 8]` of 0 to 16, and their labels, as
`data.stacked_digits.LabelledDigits` documents them.
"""

import functools
from typing import Any

import numpy as np

from veegan_jax.metrics.base import Metric, histogram_divergences


def stacked_modes(reference: Any) -> Metric:
    """Distinct triples of digits, of 1000, and the divergence of their histogram from uniform.

    The classifier is an RBF support-vector machine, taught on the training digits only.
    """

    def flat(images: np.ndarray) -> np.ndarray:
        return np.asarray(images, np.float64).reshape(len(images), -1)

    @functools.cache
    def classifier() -> Any:
        from sklearn.svm import SVC  # here, since it takes a second that other metrics need not wait

        svm = SVC(gamma=0.001, C=10.0, cache_size=500)
        return svm.fit(flat(reference.train_images), reference.train_labels)

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        digits = np.moveaxis(samples, -1, 1).reshape(-1, *samples.shape[1:3])  # [N·C, 8, 8]
        labels = classifier().predict(flat((digits + 1) * 8)).reshape(len(samples), -1)  # [N, C]
        base = 10 ** np.arange(labels.shape[1])
        triples = labels @ base
        return {"modes": float(len(np.unique(triples))), **histogram_divergences(triples, 10 ** labels.shape[1])}

    def note() -> str:
        accuracy = classifier().score(flat(reference.test_images), reference.test_labels)
        tested = len(reference.test_labels)
        return f"digits told by an SVM of {100 * accuracy:.1f} % accuracy on {tested} held-out digits"

    return Metric(score, ("modes", "kl", "jsd"), note)
