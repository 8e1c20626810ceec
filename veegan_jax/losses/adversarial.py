"""Adversarial losses on raw logits, for a discriminator whose class 1 is *generated*.

`D = log q(generated) / p(real)` at the optimum (VEEGAN, section 3): the usual GAN logit, whose class 1 is real, is
`−D`. All functions take float32 logits `[B]` of generated and of real examples, and return a float32 scalar.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

Loss = Callable[[jax.Array, jax.Array], jax.Array]


class Family(NamedTuple):
    """The losses that belong together.

    Attributes:
        disc: what the discriminator minimises.
        gen: what a generator minimises that sees its own examples' logits only.
        both: what a generator and an encoder minimise who each try to pass for the other (ALI's swapped labels).
    """

    disc: Loss
    gen: Loss
    both: Loss


def logistic(generated: jax.Array, real: jax.Array) -> jax.Array:
    """Discriminator: `O_LR = −E_q[log σ(D)] − E_p[log(1 − σ(D))]` (VEEGAN, equation 5)."""
    return jnp.mean(jax.nn.softplus(-generated)) + jnp.mean(jax.nn.softplus(real))


def hinge(generated: jax.Array, real: jax.Array) -> jax.Array:
    """Discriminator: `E_q[max(0, 1 − D)] + E_p[max(0, 1 + D)]` (Lim and Ye 2017; Miyato et al. 2018, equation 16)."""
    return jnp.mean(jax.nn.relu(1 - generated)) + jnp.mean(jax.nn.relu(1 + real))


def relativistic(generated: jax.Array, real: jax.Array) -> jax.Array:
    """Discriminator: `E[−log σ(D(x_g) − D(x))]` over pairs (Jolicoeur-Martineau 2019; R3GAN, equation 2)."""
    return jnp.mean(jax.nn.softplus(real - generated))


def relativistic_gen(generated: jax.Array, real: jax.Array) -> jax.Array:
    """Generator: the same with the labels swapped, `E[−log σ(D(x) − D(x_g))]`."""
    return jnp.mean(jax.nn.softplus(generated - real))


def kl(generated: jax.Array, real: jax.Array) -> jax.Array:
    """Generator: the raw logit, `E_q[D]`, an estimate of `KL[q ‖ p]` (VEEGAN, equation 6)."""
    return jnp.mean(generated)


def kl_both(generated: jax.Array, real: jax.Array) -> jax.Array:
    """Generator and encoder: `E_q[D] − E_p[D]`, an estimate of `KL[q ‖ p] + KL[p ‖ q]`."""
    return jnp.mean(generated) - jnp.mean(real)


def nonsaturating(generated: jax.Array, real: jax.Array) -> jax.Array:
    """Generator: `−E_q[log(1 − σ(D))]` (Goodfellow et al. 2014, section 3, the trick against saturation)."""
    return jnp.mean(jax.nn.softplus(generated))


def minimax(generated: jax.Array, real: jax.Array) -> jax.Array:
    """Generator: `E_q[log σ(D)]`, the negative of the discriminator's own term (Goodfellow et al. 2014, equation 1)."""
    return -jnp.mean(jax.nn.softplus(-generated))


def minimax_both(generated: jax.Array, real: jax.Array) -> jax.Array:
    """Generator and encoder: the negative of the discriminator's loss (ALI, Dumoulin et al. 2017, equation 2)."""
    return -logistic(generated, real)


def swapped(generated: jax.Array, real: jax.Array) -> jax.Array:
    """Generator and encoder: the discriminator's loss with its labels swapped (ALI, Dumoulin et al. 2017)."""
    return logistic(-generated, -real)


FamilyName = Literal["kl", "nonsaturating", "minimax", "relativistic", "hinge"]
FAMILIES: dict[str, Family] = {
    "kl": Family(logistic, kl, kl_both),
    "nonsaturating": Family(logistic, nonsaturating, swapped),
    "minimax": Family(logistic, minimax, minimax_both),
    "relativistic": Family(relativistic, relativistic_gen, relativistic_gen),
    "hinge": Family(hinge, kl, kl_both),
}
