"""Mixtures of equally likely Gaussians: the ring, the grid and the 1200-dimensional one (VEEGAN, section 4.1)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import Source


class Mixture(NamedTuple):
    """A mixture of M Gaussians in D dimensions, and the distance at which the paper calls a sample high quality.

    Attributes:
        means: float32 `[M, D]`.
        std: of every mode, in each of its noisy dimensions.
        noisy_dims: the first so many dimensions carry noise; the others are exactly the mean.
        radius: the paper's rule, in units of `std`: a sample is of high quality within so far, in L2, of a mean.
    """

    means: np.ndarray
    std: float
    noisy_dims: int
    radius: float


def sample(mixture: Mixture, means: jax.Array, key: jax.Array) -> jax.Array:
    """One draw `[D]` from the mixture."""
    mode_key, noise_key = jax.random.split(key)
    mean = means[jax.random.randint(mode_key, (), 0, means.shape[0])]
    noise = mixture.std * jax.random.normal(noise_key, (mixture.noisy_dims,))
    return mean + jnp.pad(noise, (0, mean.shape[0] - mixture.noisy_dims))


def _source(
    means: np.ndarray,
    std: float,
    noisy_dims: int,
    radius: float,
    metric: str,
) -> Source:
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
    """Gaussians at `modes` distinct angles on a circle; 2-D."""
    if modes < 1:
        raise ValueError(f"modes is {modes}; a ring has at least 1")
    angles = 2 * np.pi * np.arange(modes) / modes
    means = radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return _source(means, std, 2, 3.0, "mixture")


def grid(*, side: int = 5, spacing: float = 2.0, std: float = 0.05) -> Source:
    """Gaussians on a square grid of `side` × `side` means, centred; 2-D."""
    if side < 1:
        raise ValueError(f"side is {side}; a grid has at least 1")
    ticks = spacing * (np.arange(side) - (side - 1) / 2)
    means = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    return _source(means, std, 2, 3.0, "mixture")


def synthetic1200() -> Source:
    """Ten 700-dimensional unit Gaussians embedded in 1200 dimensions.

    The means are those of PacGAN's code (Lin et al., NeurIPS 2018): m·1 for ten values of m.
    """
    centres = np.array([-1.0, -0.5, 0.0, 0.5, -2.0, -2.5, 10.0, 0.25, -13.0, -5.5])
    means = centres[:, None] * np.ones(1200)
    return _source(means, 1.0, 700, 10.0, "subspace_mixture")
