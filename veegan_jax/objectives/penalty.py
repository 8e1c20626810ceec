"""Gradient penalties of the discriminator, and their schedule."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Penalty(NamedTuple):
    """Weights of the gradient penalties, and how they change over training; see `penalty`."""

    r1: float
    r2: float
    final: float
    anneal_steps: int

    def fraction(self, step: jax.Array) -> jax.Array:
        """What the weights are multiplied by at `step`: from 1 to `final`, along half a cosine."""
        if not self.anneal_steps:
            return jnp.ones(())
        progress = jnp.minimum(step.astype(jnp.float32) / self.anneal_steps, 1.0)
        return self.final + (1 - self.final) * 0.5 * (1 + jnp.cos(jnp.pi * progress))


def penalty(*, r1: float = 0.0, r2: float = 0.0, final: float = 1.0, anneal_steps: int = 0) -> Penalty:
    """`r1/2 E_p‖∇D‖² + r2/2 E_q‖∇D‖²` for the discriminator (Mescheder et al. 2018; both in R3GAN, equation 4).

    The gradient is that by all that D sees: x, and z where it judges pairs.

    Args:
        r1: γ on real data; 0 for none.
        r2: γ on generated data; 0 for none.
        final: the fraction of γ that is left at the end of the schedule.
        anneal_steps: steps over which γ falls (or rises) to it, along half a cosine; 0 for a constant γ.

    Raises:
        ValueError: if a number is negative, or there is a schedule of nothing.
    """
    chosen = Penalty(r1, r2, final, anneal_steps)
    for name, value in chosen._asdict().items():
        if value < 0:
            raise ValueError(f"{name} is {value}; it must be 0 or more")
    if anneal_steps and not (r1 or r2):
        raise ValueError(f"anneal_steps is {anneal_steps}, but r1 and r2 are 0: there is no penalty to anneal")
    return chosen
