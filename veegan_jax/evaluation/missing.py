"""The real examples that a generator misses: VEEGAN's idea of detecting collapse by a reconstructor, without labels."""

from typing import NamedTuple

import numpy as np

from veegan_jax.config.build import Experiment
from veegan_jax.errors import UserError
from veegan_jax.evaluation.regions import Coverage, coverage, verdict
from veegan_jax.evaluation.spaces import Space, space
from veegan_jax.inference.model import Sampler
from veegan_jax.objectives.base import Params

# The number of held-out examples that are judged, and of samples and of reference examples that they are judged by.
JUDGED, COMPARED = 2000, 10_000
# Stacks have many modes, and need more.
MOST_COMPARED = 20_000
# The largest size, in bytes, of the samples and the reference examples together.
MOST_BYTES = 2**30
# The reference examples of a distribution are drawn from a seed that is this far from that of the held-out ones.
REFERENCE_SEED = 2**20


class Reconstruction(NamedTuple):
    """How a model reconstructs N real examples.

    Attributes:
        z: a latent for each, float32 `[N, K]`.
        x: what the generator makes of the latents, float32 `[N, …]`, of the examples' shape.
    """

    z: np.ndarray
    x: np.ndarray


class Judged(NamedTuple):
    """Held-out examples, and what is found around them.

    Attributes:
        x: the held-out examples, float32 `[N, …]`.
        real: the reference examples, real ones of the training data, `[M, …]`.
        generated: the samples that the examples are judged by, `[M, …]`.
        coverage: the examples and regions that the generator misses.
        note: how distances are taken.
    """

    x: np.ndarray
    real: np.ndarray
    generated: np.ndarray
    coverage: Coverage
    note: str

    @property
    def verdict(self) -> str:
        """The finding as a sentence."""
        return verdict(self.coverage)


class Missing(NamedTuple):
    """How well each of N real examples is reached; float32 `[N]` each.

    Attributes:
        nearest: RMS of x − G(z) per coordinate for the best z that inversion found (IvOM): what the generator can make.
        nearest_prior: how improbable that z is, see `prior_deviation`; far above 0, G hardly ever makes such examples.
        reconstruction: RMS of x − G(F(x)) per coordinate: what G makes of the reconstructor's latents. None without a
            reconstructor.
        reconstruction_prior: how improbable F(x) is. None without a reconstructor.
        worst: the positions of the examples, int `[N]`, the worst reached first.
    """

    nearest: np.ndarray
    nearest_prior: np.ndarray
    reconstruction: np.ndarray | None
    reconstruction_prior: np.ndarray | None
    worst: np.ndarray


def judge(
    sampler: Sampler, experiment: Experiment, params: Params, x: np.ndarray, seed: int, measured: Space | None = None
) -> Judged:
    """Judges held-out examples by the samples around them; half of the reference examples show the false alarms.

    Args:
        sampler: the networks' compiled functions.
        experiment: the experiment that they were trained in.
        params: the parameters of the replica to judge.
        x: held-out examples, float32 `[N, …]`.
        seed: the seed of samples and reference examples.
        measured: what `space` returns for the data, if it is known; otherwise made here.

    Raises:
        UserError: if samples are not finite, or the data have fewer than two training examples.
    """
    source = experiment.source
    bytes_each = 3 * 4 * int(np.prod(source.shape))  # three sets of float32
    most = min(max(COMPARED, experiment.num_eval), MOST_COMPARED, MOST_BYTES // bytes_each)
    reference = sampler.training(2 * most, seed + REFERENCE_SEED)
    compared = len(reference) // 2
    if not compared:
        raise UserError(f"{len(reference)} training examples; at least 2 are needed to judge what is missing")
    generated = sampler.generate(params, compared, seed)[1]
    if not np.isfinite(generated).all():
        raise UserError("the generator's samples are not finite numbers, so that nothing can be said of what it misses")
    real, other_real = reference[:compared], reference[compared : 2 * compared]
    measured = measured or space(source)
    to = measured.coordinates
    found = coverage(to(x), to(real), to(other_real), to(generated), measured.modes(x), seed)
    return Judged(x, real, generated, found, measured.note)


def missing(x: np.ndarray, nearest: Reconstruction, encoded: Reconstruction | None = None) -> Missing:
    """Ranks real examples by how far the generator stays from them.

    Args:
        x: real examples, float32 `[N, …]`.
        nearest: the latents that inversion finds, and G of them.
        encoded: F(x) and G(F(x)); None without a reconstructor.
    """
    inverted = _rms(x - nearest.x), prior_deviation(nearest.z)
    if encoded is None:
        return Missing(*inverted, None, None, _worst(inverted[0]))
    reconstructed = _rms(x - encoded.x), prior_deviation(encoded.z)
    # F may find a latent that optimisation missed, so an example is as far as the nearer of the two.
    return Missing(*inverted, *reconstructed, _worst(np.minimum(inverted[0], reconstructed[0])))


def _worst(distance: np.ndarray) -> np.ndarray:
    return np.argsort(-distance, kind="stable")


def prior_deviation(z: np.ndarray) -> np.ndarray:
    """Computes (‖z‖² − K) / √(2K): by how many standard deviations of χ²(K) latents lie too far from the origin.

    Args:
        z: latents, float32 `[N, K]`.

    Returns:
        float32 `[N]`, of mean 0 and variance 1 under N(0, I); below 0 where latents lie too near the origin.
    """
    latent_dim = z.shape[-1]
    return (np.sum(np.square(z), axis=-1) - latent_dim) / np.sqrt(np.float32(2 * latent_dim))


def _rms(difference: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(difference.reshape(len(difference), -1)), axis=-1))
