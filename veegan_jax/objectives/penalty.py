"""Gradient penalties of the discriminator, and their schedule."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Penalty(NamedTuple):
    """The weights of the gradient penalties, and their schedule. `penalty` makes it, checked."""

    r1: float
    r2: float
    final: float
    anneal_steps: int
    every: int

    def fraction(self, step: jax.Array) -> jax.Array:
        """Returns the factor on the weights at a step: float32 `[]`, from 1 to `final` along half a cosine."""
        if not self.anneal_steps:
            return jnp.ones(())
        progress = jnp.minimum(step.astype(jnp.float32) / self.anneal_steps, 1.0)
        return self.final + (1 - self.final) * 0.5 * (1 + jnp.cos(jnp.pi * progress))


def penalty(*, r1: float = 0.0, r2: float = 0.0, final: float = 1.0, anneal_steps: int = 0, every: int = 1) -> Penalty:
    """Penalties `½ r1·E_p‖∇D‖² + ½ r2·E_q‖∇D‖²` of the discriminator (Mescheder et al. 2018; R3GAN, equation 4).

    The gradient ∇D is that with respect to all that D sees: x, and z where D sees pairs.

    Args:
        r1: The weight of the penalty on real examples (R1's γ); 0 for none.
        r2: The weight of the penalty on generated examples (R2's γ); 0 for none.
        final: The fraction of both weights that is left at the end of the schedule; 1 for constant weights.
        anneal_steps: The number of steps over which the weights change from their full value to that fraction, along
            half a cosine; 0 for constant weights.
        every: The penalties are taken in every k-th step, at k times their weight, where k is this number (lazy
            regularisation: StyleGAN2, Karras et al. 2020, section 3.1); 1 for penalties in each step.

    Raises:
        ValueError: If a number is too small, or if a schedule or `every` is given without a penalty.
    """
    checked = Penalty(r1, r2, final, anneal_steps, every)
    for name, value in checked._asdict().items():
        if value < (least := 1 if name == "every" else 0):
            raise ValueError(f"{name} is {value}; it must be {least} or more")
    if not (r1 or r2):
        if anneal_steps:
            raise ValueError(f"anneal_steps is {anneal_steps}, but r1 and r2 are 0: there is no penalty to anneal")
        if every != 1:
            raise ValueError(f"every is {every}, but r1 and r2 are 0: there is no penalty to leave out of steps")
    return checked
