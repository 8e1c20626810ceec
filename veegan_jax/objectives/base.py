"""What a method is to the rest of the code."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Params = Mapping[str, Any]
Noise = Mapping[str, jax.Array]
Scalars = dict[str, jax.Array]


class Objective(NamedTuple):
    """How nets compose into losses. It never touches a gradient: the step differentiates.

    Attributes:
        players: who minimises what by updating which nets, `{player: (net, …)}`.
        inputs: the shapes of one example of each net's inputs, `{net: (shape, …)}`.
        noise: `noise(key) -> {name: array}`, one example's draw of everything random in the losses.
        losses: `losses(params, x, noise) -> ({player: scalar}, {metric: scalar})`, `x` being `[B, …]` and each noise
            `[B, …]`.
        generate: `generate(params, noise) -> x` `[B, …]`.
        encode: `encode(params, x) -> z` `[B, K]`, the mean of p(z|x); None where the method has no reconstructor.
    """

    players: Mapping[str, tuple[str, ...]]
    inputs: Mapping[str, tuple[tuple[int, ...], ...]]
    noise: Callable[[jax.Array], Noise]
    losses: Callable[[Params, jax.Array, Noise], tuple[Scalars, Scalars]]
    generate: Callable[[Params, Noise], jax.Array]
    encode: Callable[[Params, jax.Array], jax.Array] | None


def standard_normals(key: jax.Array, **dims: int) -> Noise:
    """Independent standard normals of the given dimensions, `{name: [dim]}`, in one draw, which compiles faster."""
    drawn = jax.random.normal(key, (sum(dims.values()),))
    ends = list(itertools.accumulate(dims.values()))
    return dict(zip(dims, jnp.split(drawn, ends[:-1]), strict=True))
