"""A source of data: two circles in the plane, one within the other. Its place would be veegan_jax/data/circles.py."""

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import Source


def circles(*, noise: float = 0.05) -> Source:
    """Two circles around the origin, of radius 1 and 2, equally likely.

    Args:
        noise: The standard deviation of the noise on both coordinates: `config.circles.noise`.

    Raises:
        ValueError: If the standard deviation is not positive.
    """
    if noise <= 0:
        raise ValueError(f"noise is {noise}; it is a standard deviation, so more than 0")
    radii = np.array([1.0, 2.0], np.float32)

    def sample(radii: jax.Array, key: jax.Array) -> jax.Array:
        """Draws one example `[2]`, a function of the arrays and a key alone: it is compiled into the step."""
        circle_key, angle_key, noise_key = jax.random.split(key, 3)
        radius = radii[jax.random.randint(circle_key, (), 0, 2)]
        angle = 2 * jnp.pi * jax.random.uniform(angle_key)
        point = radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        return point + noise * jax.random.normal(noise_key, (2,))

    return Source(
        shape=(2,),
        bounded=False,
        train=radii,  # the arrays that `sample` draws from: uint8 images, for a source of images
        held_out=radii,  # the arrays that real data for the metrics are drawn from
        sample=sample,
        references={"energy": None},  # the metrics that apply, and what they compare with
        num_eval=2500,
    )
