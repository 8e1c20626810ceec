"""What a metric is to the rest of the code, and what two of them share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Metric(NamedTuple):
    """A score of samples against a reference.

    Attributes:
        score: `score(samples, real) -> {column: float}`; both are float32 `[N, …]`, `real` being examples of
            the training data, so that what real data themselves score, the ceiling, is what held-out ones do.
        columns: the names that `score` gives.
        note: gives the line that a reader of the table needs (how the score is defined, a classifier's accuracy). A
            function, since a metric is made for every run, also one that only samples, and costs nothing until then.
    """

    score: Callable[[np.ndarray, np.ndarray], dict[str, float]]
    columns: tuple[str, ...]
    note: Callable[[], str]


MetricFactory = Callable[[Any], Metric]


def histogram_divergences(modes: np.ndarray, num_modes: int) -> dict[str, float]:
    """How far a histogram of modes is from uniform, in nats.

    Args:
        modes: the mode of each sample, int `[N]`, 0 to `num_modes` − 1.
        num_modes: how many equally likely modes there are.

    Returns:
        `kl`: the reverse Kullback-Leibler divergence Σ p log(p / (1/M)), empty bins skipped (VEEGAN, section 4.2).
        `jsd`: the Jensen-Shannon divergence, 0 to log 2.
    """
    p = np.bincount(modes, minlength=num_modes) / len(modes)
    q = np.full(num_modes, 1 / num_modes)

    def kl(a: np.ndarray, b: np.ndarray) -> float:
        nonzero = a > 0
        return float(np.sum(a[nonzero] * np.log(a[nonzero] / b[nonzero])))

    middle = (p + q) / 2
    return {"kl": kl(p, q), "jsd": (kl(p, middle) + kl(q, middle)) / 2}
