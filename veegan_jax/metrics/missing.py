"""Which real examples a generator misses: VEEGAN's idea of telling collapse by a reconstructor, without labels."""

from typing import NamedTuple

import numpy as np


class Missing(NamedTuple):
    """How well each of N real examples is reached; float32 `[N]` each.

    Attributes:
        nearest: RMS of x − G(z) per coordinate for the best z that was found (IvOM): what the generator can make.
        reconstruction: RMS of x − G(F(x)) per coordinate: what the reconstructor leads it to. None without one.
        prior: (‖F(x)‖² − K) / √(2K): by how many standard deviations of its law under the prior, χ²(K), F(x) lies too
            far out (above 0) or too near the origin. None without a reconstructor.
        worst: the examples' positions, int `[N]`, the one that is reached worst first.
    """

    nearest: np.ndarray
    reconstruction: np.ndarray | None
    prior: np.ndarray | None
    worst: np.ndarray


def missing(
    x: np.ndarray, nearest: np.ndarray, reconstruction: np.ndarray | None = None, z: np.ndarray | None = None
) -> Missing:
    """Ranks real examples by how far the generator stays from them, IvOM's best before G(F(x)).

    Args:
        x: real examples, float32 `[N, …]`.
        nearest: IvOM's G(z) for each, of the same shape.
        reconstruction: G(F(x)), of the same shape; None without a reconstructor.
        z: F(x), `[N, K]`; None without one.
    """
    reached = _rms(x - nearest)
    by_encoding = None if reconstruction is None else _rms(x - reconstruction)
    # What F finds, optimisation may have missed: an example is as near as the nearer of both.
    distance = reached if by_encoding is None else np.minimum(reached, by_encoding)
    return Missing(
        reached, by_encoding, None if z is None else prior_deviation(z), np.argsort(-distance, kind="stable")
    )


def prior_deviation(z: np.ndarray) -> np.ndarray:
    """(‖z‖² − K) / √(2K) of latents `[N, K]`: of mean 0 and variance 1 under N(0, I)."""
    latent_dim = z.shape[-1]
    return (np.sum(np.square(z), axis=-1) - latent_dim) / np.sqrt(np.float32(2 * latent_dim))


def _rms(difference: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(difference.reshape(len(difference), -1)), axis=-1))
