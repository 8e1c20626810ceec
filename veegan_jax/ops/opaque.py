"""A number that XLA cannot know, so that it compiles a loop of one turn as it compiles longer ones."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


@jax.custom_batching.custom_vmap
def opaque_zero(step: jax.Array) -> jax.Array:
    """Returns int32 0, which XLA cannot know to be 0: no step is negative, but XLA does not know that either.

    XLA unrolls a loop of a known number of turns, and a loop of one turn becomes part of what is around it, where it is
    compiled to other operations and so to other bits. A condition on a known number vanishes likewise. A loop whose
    number of turns has this zero added, and a condition that compares this zero, stay as they are.

    Args:
        step: int32 `[]`, the number of steps that have been taken.
    """
    return jnp.where(step < 0, 1, 0)


@opaque_zero.def_vmap
def _one_zero_for_all_seeds(axis_size: int, batched: Sequence[bool], step: jax.Array) -> tuple[jax.Array, bool]:
    """Returns one zero for vmapped replicas: a condition on a zero of each would run both branches, and select.

    test_stages_of_batched_seeds_stay_conditions fails without it.
    """
    return opaque_zero(step[0]), False
