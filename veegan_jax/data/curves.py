"""Noisy curves in the plane, which have no discrete modes: two half moons and a spiral."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import Source
from veegan_jax.ops import draws


def _source(point: Callable[[jax.Array], jax.Array], noise: float) -> Source:
    """Returns the source of points of a curve with Gaussian noise.

    Args:
        point: The point of the curve, float32 `[2]`, at two uniforms, float32 `[2]`.
        noise: The standard deviation of the noise on both coordinates.

    Raises:
        ValueError: if `noise` is not more than 0.
    """
    if noise <= 0:
        raise ValueError(f"noise is {noise}; it is a standard deviation, so more than 0")
    std = np.asarray(noise, np.float32)

    def sample(std: jax.Array, key: jax.Array) -> jax.Array:
        uniforms = draws.uniforms(draws.fold_in(key, 0), 2)
        return point(uniforms) + std * draws.normals(draws.fold_in(key, 1), 2)

    return Source(
        shape=(2,),
        bounded=False,
        train=std,
        held_out=std,
        sample=sample,
        references={"plane": None},
        num_eval=2500,
    )


def moons(*, noise: float = 0.05) -> Source:
    """Two interleaved half circles of radius 1, equally likely, one around (0, 0) and one around (1, 0.5).

    Args:
        noise: The standard deviation of the noise on both coordinates, more than 0.

    Raises:
        ValueError: if an option is out of range.
    """

    def point(uniforms: jax.Array) -> jax.Array:
        angle = jnp.pi * uniforms[0]
        arc = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        return jnp.where(uniforms[1] < 0.5, arc, jnp.array([1.0, 0.5]) - arc)

    return _source(point, noise)


def spiral(*, turns: float = 2.0, radius: float = 2.0, noise: float = 0.02) -> Source:
    """A spiral of Archimedes from the origin outwards, whose neighbouring turns are `radius / turns` apart.

    The root of a uniform number is the share of the angle and of the radius that a point has reached, so that the
    points lie about evenly along the curve.

    Args:
        turns: The number of turns, more than 0.
        radius: The distance of the outer end from the origin, more than 0.
        noise: The standard deviation of the noise on both coordinates, more than 0.

    Raises:
        ValueError: if an option is out of range.
    """
    for name, value in (("turns", turns), ("radius", radius)):
        if value <= 0:
            raise ValueError(f"{name} is {value}; it must be more than 0")

    def point(uniforms: jax.Array) -> jax.Array:
        share = jnp.sqrt(uniforms[0])
        angle = 2 * jnp.pi * turns * share
        return radius * share * jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    return _source(point, noise)
