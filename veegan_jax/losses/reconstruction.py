"""Reconstruction losses, in noise space and in data space."""

import math

import jax
import jax.numpy as jnp


def gaussian_nll(z: jax.Array, mean: jax.Array, std: jax.Array | float = 1.0) -> jax.Array:
    """Returns `−log N(z; mean, std²)`, **summed** over the K latent dimensions and averaged over the batch.

    With `std` 1 and F(x_g) for `mean`, this is the `d` of VEEGAN's equation 4 as it stands in the authors' notebook:
    `½‖z − F(x_g)‖² + ½ K log 2π`.

    Args:
        z: Latents, float32 `[B, K]`.
        mean: The means of the reconstructor's Gaussian, float32 `[B, K]`.
        std: The standard deviations of the reconstructor's Gaussian, float32 `[B, K]`, or one number for all of them.

    Returns:
        A float32 scalar, in nats.
    """
    log_std = jnp.log(jnp.broadcast_to(jnp.asarray(std, jnp.float32), z.shape))
    nll = jnp.sum(0.5 * jnp.square((z - mean) / std) + log_std, axis=-1)
    return jnp.mean(nll) + 0.5 * z.shape[-1] * math.log(2 * math.pi)


def half_squared_error(x: jax.Array, reconstruction: jax.Array) -> jax.Array:
    """Returns `½‖x − x'‖²` of examples `[B, …]`, **summed** over an example's dimensions, averaged over the batch."""
    return 0.5 * jnp.mean(jnp.sum(jnp.square(x - reconstruction).reshape(x.shape[0], -1), axis=-1))
