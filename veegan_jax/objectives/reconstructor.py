"""The stochastic reconstructor p(z|x) = N(F(x), σ²I) of the methods whose discriminator sees pairs (z, x)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from veegan_jax.models.network import Network

# `posterior(params of F, x [B, …]) -> (mean [B, K], standard deviation [B, K] or a number)`.
Posterior = Callable[[Any, jax.Array], tuple[jax.Array, jax.Array | float]]

# The bounds of log σ / reconstructor_std, where F gives it: data far from unit scale would otherwise overflow exp
# before the nets have adapted to them.
LOG_STD_RANGE = (-10.0, 10.0)


def gaussian_reconstructor(
    make_net: Callable[[int], Network], latent_dim: int, reconstructor_std: float, learned_std: bool
) -> tuple[Network, Posterior]:
    """Returns the network F, and a function of its parameters and x to the mean and standard deviation of p(z|x).

    Args:
        make_net: The architecture's `Nets.rec`, from a number of outputs to a network.
        latent_dim: K.
        reconstructor_std: σ; 0 for a deterministic reconstructor.
        learned_std: Whether F has K outputs more, s(x): then σ is `reconstructor_std`·exp(s(x)), with s(x) clipped to
            `LOG_STD_RANGE`.

    Raises:
        ValueError: If `reconstructor_std` is negative, or 0 where it scales a learned σ.
    """
    if reconstructor_std < 0:
        raise ValueError(f"reconstructor_std is {reconstructor_std}; it is a standard deviation, so 0 or more")
    if learned_std and reconstructor_std == 0:
        raise ValueError("learned_std is True; then reconstructor_std, which it scales, must be more than 0")
    rec = make_net(2 * latent_dim if learned_std else latent_dim)

    def posterior(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array | float]:
        rec_out = rec.apply(params, x)
        factor = jnp.exp(jnp.clip(rec_out[:, latent_dim:], *LOG_STD_RANGE)) if learned_std else 1.0
        return rec_out[:, :latent_dim], reconstructor_std * factor

    return rec, posterior
