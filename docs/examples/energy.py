"""A metric: the energy distance of each coordinate. It would be veegan_jax/metrics/energy.py."""

from typing import Any

import numpy as np

from veegan_jax.metrics.base import Metric


def energy(reference: Any) -> Metric:
    """The mean over coordinates of the energy distance between samples' and real examples' (Székely and Rizzo, 2013).

    A source of data asks for it by `references={"energy": None}`; what a source gives there arrives as `reference`.
    """
    from scipy.stats import energy_distance  # here, since it takes a second that other metrics need not wait

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        pairs = zip(samples.reshape(len(samples), -1).T, real.reshape(len(real), -1).T, strict=True)
        return {"energy": float(np.mean([energy_distance(x, y) for x, y in pairs]))}

    return Metric(score, ("energy",), note=lambda: "energy: energy distance of coordinates, averaged")
