"""Which real examples a generator misses: VEEGAN's idea of telling collapse by a reconstructor, without labels."""

from typing import NamedTuple

import numpy as np


class Missing(NamedTuple):
    """How well each of N real examples is reached; float32 `[N]` each.

    Attributes:
        nearest: RMS of x − G(z) per coordinate for the best z that was found (IvOM): what the generator can make.
        nearest_prior: how improbable that z is, see `prior_deviation`: far above 0, G makes such examples hardly ever.
        reconstruction: RMS of x − G(F(x)) per coordinate: what the reconstructor leads it to. None without one.
        reconstruction_prior: how improbable F(x) is. None without a reconstructor.
        worst: the examples' positions, int `[N]`, the one that is reached worst first.
    """

    nearest: np.ndarray
    nearest_prior: np.ndarray
    reconstruction: np.ndarray | None
    reconstruction_prior: np.ndarray | None
    worst: np.ndarray


class Made(NamedTuple):
    """What a generator makes of real examples: latents `[N, K]`, and G of them, `[N, …]`, of the examples' shape."""

    z: np.ndarray
    x: np.ndarray


def missing(x: np.ndarray, nearest: Made, encoded: Made | None = None) -> Missing:
    """Ranks real examples by how far the generator stays from them.

    Args:
        x: real examples, float32 `[N, …]`.
        nearest: the latents that IvOM finds, and G of them.
        encoded: F(x) and G(F(x)); None without a reconstructor.
    """
    found = _rms(x - nearest.x), prior_deviation(nearest.z)
    if encoded is None:
        return Missing(*found, None, None, _worst(found[0]))
    led = _rms(x - encoded.x), prior_deviation(encoded.z)
    return Missing(*found, *led, _worst(np.minimum(found[0], led[0])))  # F may find what optimisation missed


def _worst(distance: np.ndarray) -> np.ndarray:
    return np.argsort(-distance, kind="stable")


def prior_deviation(z: np.ndarray) -> np.ndarray:
    """(‖z‖² − K) / √(2K) of latents `[N, K]`: by how many standard deviations of χ²(K) they lie too far out.

    Of mean 0 and variance 1 under N(0, I); below 0 they lie too near the origin.
    """
    latent_dim = z.shape[-1]
    return (np.sum(np.square(z), axis=-1) - latent_dim) / np.sqrt(np.float32(2 * latent_dim))


def _rms(difference: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(difference.reshape(len(difference), -1)), axis=-1))
