"""Scores of samples. An entry takes a reference, which a source of data names, and gives a `Metric`."""

from veegan_jax.evaluation.inception import inception
from veegan_jax.metrics.base import Metric, MetricFactory
from veegan_jax.metrics.features import digit_modes, labelled_images
from veegan_jax.metrics.manifold import manifold, plane
from veegan_jax.metrics.mixture import mixture, subspace_mixture
from veegan_jax.metrics.modes import stacked_modes

METRICS: dict[str, MetricFactory] = {
    "digit_modes": digit_modes,
    "inception": inception,
    "labelled_images": labelled_images,
    "manifold": manifold,
    "mixture": mixture,
    "plane": plane,
    "stacked_modes": stacked_modes,
    "subspace_mixture": subspace_mixture,
}
# Every other column is better when lower.
HIGHER_IS_BETTER = frozenset(
    {"modes", "high_quality", "calibrated_modes", "calibrated_high_quality", "precision", "recall", "support"}
)

__all__ = ["HIGHER_IS_BETTER", "METRICS", "Metric", "MetricFactory"]
