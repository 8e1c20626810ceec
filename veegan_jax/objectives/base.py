"""The contract of a method: what it is given, and what the step and the evaluation know of it."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from veegan_jax.models.network import STATISTICS, Nets, Network, with_statistics
from veegan_jax.objectives.penalty import Penalty
from veegan_jax.ops import draws

Params = Mapping[str, Any]
Noise = Mapping[str, jax.Array]
# The statistics of batch normalisation in each net that has any, `{net: …}`.
Statistics = Mapping[str, Any]
Scalars = dict[str, jax.Array]


class NetsAndDims(NamedTuple):
    """What every method is built from.

    Attributes:
        nets: G, F and D of one architecture. A net that a method does not use costs nothing.
        shape: The shape of one example of the data.
        latent_dim: K, the number of dimensions of the latent z.
        noise_dim: The number of dimensions of the generator's own noise ε; 0 for none.
        penalty: The penalty on the discriminator's gradients.
    """

    nets: Nets
    shape: tuple[int, ...]
    latent_dim: int
    noise_dim: int
    penalty: Penalty


class Batch(NamedTuple):
    """What the losses are computed from, besides the parameters.

    Attributes:
        x: Data, float32 `[B, …]`.
        noise: Everything random in the losses, `{name: [B, …]}`.
        step: The number of steps that have been taken, int32 `[]`, for weights that follow a schedule.
        opt_state: `{player: optax state}`, for losses that look ahead at the next updates of a player.
    """

    x: jax.Array
    noise: Noise
    step: jax.Array
    opt_state: Mapping[str, Any]


class Objective(NamedTuple):
    """A method: how its nets compose into the losses of its players. It takes no gradient; `train.step` does.

    Attributes:
        nets: The networks, `{net: Network}`. 'gen' maps (z, ε) to x; 'rec', in the methods that have one, takes x.
        inputs: The shapes of one example of each input of each net, `{net: (shape, …)}`.
        players: The nets that each player updates to minimise its loss, `{player: (net, …)}`. There are two players,
            'disc' and 'gen'. A net of neither stays as it is.
        noise: `noise(key) -> {name: array}` draws everything random in the losses of one example. The generator's
            inputs are among it by the names 'z' and 'eps'.
        losses: `losses(params, batch) -> ({player: loss}, {metric: scalar})`, all of them float32 `[]`.
        encode: `encode(params, x) -> z` `[B, K]` is the mean of p(z|x); None for a method that does not infer all of z.
        to_data: `to_data(params, output) -> x` `[B, …]` maps what the generator returns to the units of the data.
    """

    nets: Mapping[str, Network]
    inputs: Mapping[str, tuple[tuple[int, ...], ...]]
    players: Mapping[str, tuple[str, ...]]
    noise: Callable[[jax.Array], Noise]
    losses: Callable[[Params, Batch], tuple[Scalars, Scalars]]
    encode: Callable[[Params, jax.Array], jax.Array] | None
    to_data: Callable[[Params, jax.Array], jax.Array] = lambda params, output: output

    def generate(self, params: Params, noise: Noise) -> jax.Array:
        """Returns x_g = G(z, ε), float32 `[B, …]`, of the 'z' `[B, K]` and 'eps' `[B, E]` of the noise."""
        return self.to_data(params, self.nets["gen"].apply(params["gen"], noise["z"], noise["eps"]))


def statistics(objective: Objective, params: Params, x: jax.Array, noise: Noise) -> Statistics:
    """Computes the statistics by which batch normalisation normalises in inference: those of these data and this noise.

    Returns:
        `{net: statistics}`, float32; only the generator and the reconstructor infer, and only nets with batch
        normalisation have any.
    """
    nets = objective.nets
    found = {"gen": nets["gen"].freeze(params["gen"], noise["z"], noise["eps"])}
    if "rec" in nets:
        found["rec"] = nets["rec"].freeze(params["rec"], x)
    return {net: frozen_params[STATISTICS] for net, frozen_params in found.items() if STATISTICS in frozen_params}


def frozen(params: Params, statistics: Statistics) -> Params:
    """Returns parameters for inference, whose batch normalisation uses these statistics.

    An example's output then no longer depends on the batch that it is in.
    """
    return {n: with_statistics(p, statistics[n]) if n in statistics else p for n, p in params.items()}


def standard_normals(key: jax.Array, /, **dims: int) -> dict[str, jax.Array]:
    """Draws independent standard normals of the given dimensions, `{name: [dim]}`: one draw, which compiles faster."""
    drawn = draws.normals(key, sum(dims.values()))
    ends = list(itertools.accumulate(dims.values()))
    return dict(zip(dims, jnp.split(drawn, ends[:-1]), strict=True))
