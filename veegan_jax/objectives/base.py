"""What a method is to the rest of the code."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from veegan_jax.models.network import Nets, Network
from veegan_jax.objectives.penalty import Penalty

Params = Mapping[str, Any]
Noise = Mapping[str, jax.Array]
Scalars = dict[str, jax.Array]


class NetsAndDims(NamedTuple):
    """What every method is made from.

    Attributes:
        nets: G, F and D, to be composed; those that a method does not use cost nothing.
        shape: of one data example.
        latent_dim: K.
        noise_dim: dimensions of the generator's own noise ε; 0 for none.
        penalty: on the discriminator's gradients.
    """

    nets: Nets
    shape: tuple[int, ...]
    latent_dim: int
    noise_dim: int
    penalty: Penalty


class Batch(NamedTuple):
    """What losses are computed from, besides parameters.

    Attributes:
        x: data, float32 `[B, …]`.
        noise: `{name: [B, …]}`, everything random in the losses.
        step: int32 `[]`, how many steps have been taken, for weights that follow a schedule.
        opt_state: `{player: optax state}`, for losses that look ahead at a player's next updates.
    """

    x: jax.Array
    noise: Noise
    step: jax.Array
    opt_state: Mapping[str, Any]


class Objective(NamedTuple):
    """How nets compose into losses. It never touches the step: which gradients move what is the step's affair.

    Attributes:
        nets: the networks, `{net: Network}`; 'gen' takes (z, ε), and 'rec', where there is one, takes x.
        inputs: the shapes of one example of each net's inputs, `{net: (shape, …)}`.
        players: who minimises what by updating which nets, `{player: (net, …)}`; they are 'disc' and 'gen'.
        noise: `noise(key) -> {name: array}`, one example's draw of everything random in the losses; 'z' and 'eps' are
            what the generator takes.
        losses: `losses(params, batch) -> ({player: scalar}, {metric: scalar})`.
        generate: `generate(params, noise) -> x` `[B, …]`.
        encode: `encode(params, x) -> z` `[B, K]`, the mean of p(z|x); None where the method infers no whole latent.
    """

    nets: Mapping[str, Network]
    inputs: Mapping[str, tuple[tuple[int, ...], ...]]
    players: Mapping[str, tuple[str, ...]]
    noise: Callable[[jax.Array], Noise]
    losses: Callable[[Params, Batch], tuple[Scalars, Scalars]]
    generate: Callable[[Params, Noise], jax.Array]
    encode: Callable[[Params, jax.Array], jax.Array] | None


def frozen(objective: Objective, params: Params, x: jax.Array, noise: Noise) -> Params:
    """Parameters for inference: batch normalisation by the statistics of these data and this noise ever after."""
    nets = objective.nets
    still = {**params, "gen": nets["gen"].freeze(params["gen"], noise["z"], noise["eps"])}
    return {**still, "rec": nets["rec"].freeze(params["rec"], x)} if "rec" in nets else still


def standard_normals(key: jax.Array, **dims: int) -> dict[str, jax.Array]:
    """Independent standard normals of the given dimensions, `{name: [dim]}`, in one draw, which compiles faster."""
    drawn = jax.random.normal(key, (sum(dims.values()),))
    ends = list(itertools.accumulate(dims.values()))
    return dict(zip(dims, jnp.split(drawn, ends[:-1]), strict=True))
