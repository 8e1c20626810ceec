"""Mixtures of equally likely Gaussians: the ring, the grid and the 1200-dimensional one (VEEGAN, section 4.1)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import Source
from veegan_jax.ops import draws


class Mixture(NamedTuple):
    """A mixture of M equally likely Gaussians in D dimensions, and the paper's radius of high quality.

    Attributes:
        means: float32 `[M, D]`.
        std: The standard deviation of each Gaussian in each noisy dimension.
        noisy_dims: The number of dimensions with noise, which come first; in the others a sample equals its mean.
        radius: The largest L2 distance from a mean, in units of `std`, at which the paper calls a sample high quality.
    """

    means: np.ndarray
    std: float
    noisy_dims: int
    radius: float


def sample(mixture: Mixture, means: jax.Array, key: jax.Array) -> jax.Array:
    """Draws one example, float32 `[D]`, around one of `means` `[M, D]`."""
    mode_key, noise_key = draws.fold_in(key, 0), draws.fold_in(key, 1)
    mean = means[draws.integers(mode_key, 1, means.shape[0])[0]]
    noise = mixture.std * draws.normals(noise_key, mixture.noisy_dims)
    return mean + jnp.pad(noise, (0, mean.shape[0] - mixture.noisy_dims))


def _source(means: np.ndarray, std: float, noisy_dims: int, radius: float, metric: str) -> Source:
    if std <= 0:
        raise ValueError(f"std is {std}; it is a standard deviation, so more than 0")
    mixture = Mixture(means.astype(np.float32), std, noisy_dims, radius)
    return Source(
        shape=means.shape[1:],
        bounded=False,
        train=mixture.means,
        held_out=mixture.means,
        sample=lambda arrays, key: sample(mixture, arrays, key),
        references={metric: mixture, **({"plane": None} if mixture.means.shape[1] == 2 else {})},
        num_eval=2500,
    )


def ring(*, modes: int = 8, radius: float = 1.0, std: float = 0.01) -> Source:
    """Gaussians in the plane, with means at equal angles on a circle.

    Args:
        modes: The number of Gaussians, at least 1.
        radius: The radius of the circle.
        std: The standard deviation of each Gaussian in both coordinates, more than 0.

    Raises:
        ValueError: if an option is out of range.
    """
    if modes < 1:
        raise ValueError(f"modes is {modes}; a ring has at least 1")
    angles = 2 * np.pi * np.arange(modes) / modes
    means = radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return _source(means, std, 2, 3.0, "mixture")


def grid(*, side: int = 5, spacing: float = 2.0, std: float = 0.05) -> Source:
    """Gaussians in the plane, with means on a square grid around the origin.

    Args:
        side: The number of means along each side of the grid, at least 1; the grid has `side` × `side`.
        spacing: The distance between neighbouring means.
        std: The standard deviation of each Gaussian in both coordinates, more than 0.

    Raises:
        ValueError: if an option is out of range.
    """
    if side < 1:
        raise ValueError(f"side is {side}; a grid has at least 1")
    ticks = spacing * (np.arange(side) - (side - 1) / 2)
    means = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    return _source(means, std, 2, 3.0, "mixture")


def synthetic1200() -> Source:
    """Ten 700-dimensional unit Gaussians embedded in 1200 dimensions.

    The means are the vectors m·1 for the ten values of m in PacGAN's code (Lin et al., NeurIPS 2018).
    """
    centres = np.array([-1.0, -0.5, 0.0, 0.5, -2.0, -2.5, 10.0, 0.25, -13.0, -5.5])
    means = centres[:, None] * np.ones(1200)
    return _source(means, 1.0, 700, 10.0, "subspace_mixture")
