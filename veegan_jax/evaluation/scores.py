"""The scores of a model's samples, beside what real data score."""

import numpy as np

from veegan_jax.config.build import LATENT_COLUMNS, Experiment
from veegan_jax.inference.inversion import ivom_scores
from veegan_jax.inference.model import Sampler
from veegan_jax.metrics.latent import prior_gap, reconstruction_error
from veegan_jax.objectives.base import Params

Scores = dict[str, float]


# The seeds of what is drawn to measure: model and real data, the same at every step, and apart from one another.
MODEL_SEED, REAL_SEED, PRIOR_SEED, REFERENCE_SEED = 1, 2, 3, 5


# What `invert` gives.
IVOM_COLUMNS = ("ivom_train", "ivom_held_out")


def measure(experiment: Experiment, sampler: Sampler, params: Params) -> tuple[Scores, np.ndarray]:
    """All scores of one replica, and the samples `[N, …]` that were scored."""
    n = experiment.num_eval
    z, x = sampler.generate(params, n, MODEL_SEED)
    scores = _score(experiment, x, sampler.training(n, REFERENCE_SEED))
    if experiment.objective.encode:
        error = reconstruction_error(z, sampler.encode(params, x))
        gap = prior_gap(sampler.encode(params, sampler.real(n, REAL_SEED)))
        scores.update(zip(LATENT_COLUMNS, (error, gap), strict=True))
    return scores, x


def invert(experiment: Experiment, sampler: Sampler, params: Params) -> Scores:
    """IvOM of one replica on training and on held-out examples; nothing if the config asks for none."""
    if not (n := experiment.config.ivom_images):
        return {}
    examples = sampler.training(n, REAL_SEED), sampler.real(n, REAL_SEED)
    return ivom_scores(*(sampler.invert(params, x, MODEL_SEED)[1] for x in examples))


def measure_real(experiment: Experiment, sampler: Sampler) -> Scores:
    """The ceiling: the same scores of as many held-out real samples, and of latents of the prior itself."""
    n = experiment.num_eval
    scores = _score(experiment, sampler.real(n, REAL_SEED), sampler.training(n, REFERENCE_SEED))
    if experiment.objective.encode:
        z = np.random.default_rng(PRIOR_SEED).standard_normal((n, experiment.config.latent_dim))
        scores["prior_gap"] = prior_gap(z)
    return scores


def _score(experiment: Experiment, x: np.ndarray, real: np.ndarray) -> Scores:
    return {name: value for metric in experiment.metrics for name, value in metric.score(x, real).items()}
