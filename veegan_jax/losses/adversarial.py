"""Adversarial losses of raw logits, for a discriminator whose class 1 is *generated*.

With q the distribution of generated examples and p that of real ones, the best discriminator's logit is
`D = log q / p` (VEEGAN, section 3). The logit of most other papers, whose class 1 is *real*, is `−D`.

Every loss takes the float32 logits `[B]` of generated and of real examples, and returns a float32 scalar.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

Loss = Callable[[jax.Array, jax.Array], jax.Array]


class Family(NamedTuple):
    """The losses that belong together.

    Attributes:
        disc: The discriminator's loss.
        gen: The loss of a generator, which wants generated examples to pass for real ones.
        swapped: The loss of a generator and an encoder who each want their own examples to pass for the other's, as if
            the labels were swapped (ALI, section 2).
    """

    disc: Loss
    gen: Loss
    swapped: Loss


def logistic(generated: jax.Array, real: jax.Array) -> jax.Array:
    """The discriminator's `O_LR = −E_q[log σ(D)] − E_p[log(1 − σ(D))]` (VEEGAN, equation 5)."""
    return jnp.mean(jax.nn.softplus(-generated)) + jnp.mean(jax.nn.softplus(real))


def logistic_swapped(generated: jax.Array, real: jax.Array) -> jax.Array:
    """The generator's and encoder's `−E_q[log(1 − σ(D))] − E_p[log σ(D)]` (ALI, Dumoulin et al. 2017, section 2)."""
    return logistic(-generated, -real)


def nonsaturating(generated: jax.Array, real: jax.Array) -> jax.Array:
    """The generator's `−E_q[log(1 − σ(D))]`, whose gradient does not saturate (Goodfellow et al. 2014, section 3)."""
    return jnp.mean(jax.nn.softplus(generated))


def minimax(generated: jax.Array, real: jax.Array) -> jax.Array:
    """The generator's `E_q[log σ(D)]`, minus the discriminator's own term (Goodfellow et al. 2014, equation 1)."""
    return -jnp.mean(jax.nn.softplus(-generated))


def minimax_swapped(generated: jax.Array, real: jax.Array) -> jax.Array:
    """The generator's and encoder's `−O_LR`, the negative of the discriminator's loss (ALI, equation 2)."""
    return -logistic(generated, real)


def kl(generated: jax.Array, real: jax.Array) -> jax.Array:
    """The generator's `E_q[D]`, the mean raw logit: an estimate of `KL[q ‖ p]` (VEEGAN, equation 6)."""
    return jnp.mean(generated)


def kl_swapped(generated: jax.Array, real: jax.Array) -> jax.Array:
    """The generator's and encoder's `E_q[D] − E_p[D]`, an estimate of `KL[q ‖ p] + KL[p ‖ q]`."""
    return jnp.mean(generated) - jnp.mean(real)


def relativistic(generated: jax.Array, real: jax.Array) -> jax.Array:
    """The discriminator's `E[−log σ(D(x_g) − D(x))]` over pairs (Jolicoeur-Martineau 2019; R3GAN, equation 2)."""
    return jnp.mean(jax.nn.softplus(real - generated))


def relativistic_gen(generated: jax.Array, real: jax.Array) -> jax.Array:
    """The generator's `E[−log σ(D(x) − D(x_g))]`, which is `relativistic` with the labels swapped."""
    return jnp.mean(jax.nn.softplus(generated - real))


def hinge(generated: jax.Array, real: jax.Array) -> jax.Array:
    """The discriminator's `E_q[max(0, 1 − D)] + E_p[max(0, 1 + D)]` (Lim and Ye 2017; Miyato et al. 2018, eq. 16)."""
    return jnp.mean(jax.nn.relu(1 - generated)) + jnp.mean(jax.nn.relu(1 + real))


FamilyName = Literal["kl", "nonsaturating", "minimax", "relativistic", "hinge"]
FAMILIES: dict[str, Family] = {
    "kl": Family(disc=logistic, gen=kl, swapped=kl_swapped),
    "nonsaturating": Family(disc=logistic, gen=nonsaturating, swapped=logistic_swapped),
    "minimax": Family(disc=logistic, gen=minimax, swapped=minimax_swapped),
    "relativistic": Family(disc=relativistic, gen=relativistic_gen, swapped=relativistic_gen),
    "hinge": Family(disc=hinge, gen=kl, swapped=kl_swapped),
}
