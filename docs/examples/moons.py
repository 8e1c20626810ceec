"""A source of data: two half moons in the plane. Its place would be veegan_jax/data/moons.py."""

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import Source


def moons(*, noise: float = 0.05) -> Source:
    """Two interleaved half circles of radius 1, equally likely.

    Args:
        noise: The standard deviation of the noise on both coordinates: `config.moons.noise`.

    Raises:
        ValueError: If the standard deviation is not positive.
    """
    if noise <= 0:
        raise ValueError(f"noise is {noise}; it is a standard deviation, so more than 0")
    centres = np.array([[0.0, 0.0], [1.0, 0.5]], np.float32)

    def sample(centres: jax.Array, key: jax.Array) -> jax.Array:
        """Draws one example `[2]`, a function of the arrays and a key alone: it is compiled into the step."""
        moon_key, angle_key, noise_key = jax.random.split(key, 3)
        moon = jax.random.randint(moon_key, (), 0, 2)
        angle = jnp.pi * jax.random.uniform(angle_key)
        arc = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        return centres[moon] + jnp.where(moon == 0, arc, -arc) + noise * jax.random.normal(noise_key, (2,))

    return Source(
        shape=(2,),
        bounded=False,
        train=centres,  # the arrays that `sample` draws from: uint8 images, for a source of images
        held_out=centres,  # the arrays that real data for the metrics are drawn from
        sample=sample,
        references={"energy": None},  # the metrics that apply, and what they compare with
        num_eval=2500,
    )
