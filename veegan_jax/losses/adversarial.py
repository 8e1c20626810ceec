"""Adversarial losses on raw logits, for a discriminator whose class 1 is *generated*.

`D = log q(generated) / p(real)` at the optimum (VEEGAN, section 3): the usual GAN logit, whose class 1 is real, is
`−D`. All functions take float32 logits `[B]` and return a float32 scalar.
"""

import jax
import jax.numpy as jnp


def logistic(generated: jax.Array, real: jax.Array) -> jax.Array:
    """Discriminator: `O_LR = −E_q[log σ(D)] − E_p[log(1 − σ(D))]` (VEEGAN, equation 5)."""
    return jnp.mean(jax.nn.softplus(-generated)) + jnp.mean(jax.nn.softplus(real))


def kl(generated: jax.Array) -> jax.Array:
    """Generator: the raw logit, `E_q[D]`, an estimate of `KL[q ‖ p]` (VEEGAN, equation 6)."""
    return jnp.mean(generated)


def nonsaturating(generated: jax.Array) -> jax.Array:
    """Generator: `−E_q[log(1 − σ(D))]` (Goodfellow et al. 2014, section 3, the trick against saturation)."""
    return jnp.mean(jax.nn.softplus(generated))


def minimax(generated: jax.Array) -> jax.Array:
    """Generator: `E_q[log σ(D)]`, the negative of the discriminator's own term (Goodfellow et al. 2014, equation 1)."""
    return -jnp.mean(jax.nn.softplus(-generated))


GENERATOR_LOSSES = {"kl": kl, "nonsaturating": nonsaturating, "minimax": minimax}
