"""Reconstruction losses in noise space."""

import math

import jax
import jax.numpy as jnp


def gaussian_nll(z: jax.Array, mean: jax.Array) -> jax.Array:
    """`−log N(z; mean, I)`, **summed** over the K latent dimensions, averaged over the batch.

    This is the `d` of VEEGAN's equation 4 as the authors' notebook has it: `½‖z − F(x)‖² + ½ K log 2π`.

    Args:
        z: latents, float32 `[B, K]`.
        mean: the reconstructor's means `F(x)`, float32 `[B, K]`.

    Returns:
        A float32 scalar, in nats.
    """
    squares = jnp.sum(jnp.square(z - mean), axis=-1)
    return 0.5 * jnp.mean(squares) + 0.5 * z.shape[-1] * math.log(2 * math.pi)
