"""Scores of samples. A source of data names the metrics that apply to it, and what each compares samples with."""

from collections.abc import Sequence

from veegan_jax.metrics.base import Column, Comparison, Features, Metric, MetricType
from veegan_jax.metrics.features import digit_modes, inception, labelled_images
from veegan_jax.metrics.latent import INVERSION_COLUMNS, RECONSTRUCTOR_COLUMNS
from veegan_jax.metrics.manifold import NDB, manifold, plane, unlabelled_images
from veegan_jax.metrics.mixture import BIN_KL, mixture, subspace_mixture
from veegan_jax.metrics.modes import KL, stacked_modes
from veegan_jax.metrics.neighbours import FIDELITY_DIVERSITY

METRICS: dict[str, MetricType] = {
    "mixture": mixture,
    "subspace_mixture": subspace_mixture,
    "stacked_modes": stacked_modes,
    "digit_modes": digit_modes,
    "labelled_images": labelled_images,
    "manifold": manifold,
    "unlabelled_images": unlabelled_images,
    "plane": plane,
    "inception": inception,
}
# Every column by its name, in the order of the glossary: those of the metrics, and those that need no reference.
COLUMNS: dict[str, Column] = {
    column.name: column
    for columns in (*(metric.columns for metric in METRICS.values()), RECONSTRUCTOR_COLUMNS, INVERSION_COLUMNS)
    for column in columns
}

# Checkpoints are ranked by the first of these that the data have: where modes are known, one number for modes and
# quality, or the reverse KL; else fidelity and diversity. Version 0.1.0 measured the second and the last only.
RANKING = (BIN_KL, KL, FIDELITY_DIVERSITY, NDB)

# The scores that a terminal shows first, since it has room for about four.
HEADLINE = ("high_quality", "kl", "fid", "classifier_fid", "fidelity_diversity", "precision", "recall")


def default_best(columns: Sequence[Column]) -> Column:
    """Returns the column by which checkpoints are ranked where the config names none.

    It is the first of `RANKING` among the columns, else the first column.
    """
    return next((column for column in RANKING if column in columns), columns[0])


def headline(columns: Sequence[Column], best: Column) -> tuple[Column, ...]:
    """Returns the columns that a terminal shows, the most important first.

    They are the first column, as the number of modes, the one that ranks checkpoints, and those of `HEADLINE`, four in
    all.
    """
    named = {column.name: column for column in columns}
    return tuple(dict.fromkeys((columns[0], best, *(named[name] for name in HEADLINE if name in named))))[:4]


__all__ = [
    "COLUMNS",
    "HEADLINE",
    "METRICS",
    "RANKING",
    "Column",
    "Comparison",
    "Features",
    "Metric",
    "MetricType",
    "default_best",
    "headline",
]
