"""A metric: the energy distance of each coordinate. Its place would be veegan_jax/metrics/energy.py."""

from typing import Any

import numpy as np

from veegan_jax.metrics.base import Column, Comparison, Features, Metric, MetricType

ENERGY = Column(
    name="energy",  # the key in logs, JSON and TensorBoard
    heading="energy distance",  # the name in tables and curves
    unit="units of the data",
    direction="lower",
    definition="The energy distance between samples and real examples in each coordinate, averaged over coordinates.",
    source="Székely and Rizzo, Journal of Statistical Planning and Inference 2013",
)


def make_energy(reference: Any, features: Features) -> Metric:
    """Makes the mean over coordinates of the energy distance between samples and real examples.

    A source of data asks for it by `references={"energy": None}`; what a source gives there arrives as `reference`.
    """
    from scipy.stats import energy_distance  # imported here, since it takes a second that other metrics need not wait

    def against(real: np.ndarray) -> Comparison:
        def score(samples: np.ndarray) -> dict[str, float]:
            pairs = zip(samples.reshape(len(samples), -1).T, real.reshape(len(real), -1).T, strict=True)
            return {"energy": float(np.mean([energy_distance(x, y) for x, y in pairs]))}

        return Comparison(score, note=lambda: "energy distance: of single coordinates, averaged")

    return Metric(against, energy.columns)


energy = MetricType((ENERGY,), make_energy)
