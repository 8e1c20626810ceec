"""The real examples that a generator misses: VEEGAN's idea of detecting collapse by a reconstructor, without labels."""

from typing import NamedTuple

import numpy as np


class Reconstruction(NamedTuple):
    """How a model reconstructs N real examples.

    Attributes:
        z: a latent for each, float32 `[N, K]`.
        x: what the generator makes of the latents, float32 `[N, …]`, of the examples' shape.
    """

    z: np.ndarray
    x: np.ndarray


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
