"""The training step, written once for all objectives (VEEGAN, Algorithm 1)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from veegan_jax.models.network import Network
from veegan_jax.objectives.base import Noise, Objective, Params, Scalars
from veegan_jax.state import TrainState

Step = Callable[[TrainState, Any], tuple[TrainState, Scalars]]
Optimizers = Mapping[str, optax.GradientTransformation]

# What a draw is for, folded into its key.
DATA, NOISE = 0, 1


def make_init(
    nets: Mapping[str, Network], objective: Objective, optimizers: Optimizers, *, ema: bool
) -> Callable[[int | jax.Array], TrainState]:
    """A function of a seed to the state before the first step."""

    def init(seed: int | jax.Array) -> TrainState:
        root = jax.random.key(seed)
        # The keys of initialisation and of the steps come from different children of the seed's key.
        init_key, step_key = jax.random.split(root)
        names = sorted(objective.inputs)
        keys = jax.random.split(init_key, len(names))
        params = {n: nets[n].init(k, *objective.inputs[n]) for n, k in zip(names, keys, strict=True)}
        opt_state = {
            player: optimizers[player].init({n: params[n] for n in owned})
            for player, owned in objective.players.items()
        }
        averaged = {n: jax.tree.map(jnp.copy, params[n]) for n in objective.players["gen"]} if ema else {}
        return TrainState(jnp.zeros((), jnp.int32), step_key, params, opt_state, averaged)

    return init


def make_step(
    objective: Objective,
    sample: Callable[[Any, jax.Array], jax.Array],
    optimizers: Optimizers,
    *,
    batch_size: int,
    ema_half_life: float = 0.0,
    axis: str | None = None,
    shards: int = 1,
) -> Step:
    """One update of all players: all gradients at one point, then all updates.

    Each player's loss sees the other players' parameters behind a stop-gradient, and the sum of the losses is
    differentiated in one backward pass. The players' forward passes are identical but for that, so XLA merges them.

    Every example's draws are a function of (seed, step, index in the global batch, purpose) alone, so it makes no
    difference over how many devices or calls the steps are spread.

    Args:
        objective: what to minimise.
        sample: a source's `sample(arrays, key)`.
        optimizers: one per player.
        batch_size: B, the global batch.
        ema_half_life: of the moving average of the generator player's nets, in examples; 0 for none.
        axis: the name of the device axis over which the batch is split; None for one device.
        shards: the number of devices on that axis.

    Returns:
        `step(state, arrays) -> (state, scalars)`; the scalars are `loss/{player}` and the objective's metrics.
    """
    local = batch_size // shards

    def draw(state: TrainState, arrays: Any) -> tuple[jax.Array, Any]:
        step_key = jax.random.fold_in(state.key, state.step)
        shard = jax.lax.axis_index(axis) if axis else jnp.zeros((), jnp.int32)
        index = shard * local + jnp.arange(local, dtype=jnp.int32)
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(step_key, index)
        x = jax.vmap(lambda key: sample(arrays, jax.random.fold_in(key, DATA)))(keys)
        noise = jax.vmap(lambda key: objective.noise(jax.random.fold_in(key, NOISE)))(keys)
        return x, noise

    def step(state: TrainState, arrays: Any) -> tuple[TrainState, Scalars]:
        grads, scalars = gradients(objective, state.params, *draw(state, arrays))
        if axis:
            grads, scalars = jax.lax.pmean((grads, scalars), axis)
        params, opt_state = dict(state.params), {}
        for player, nets in objective.players.items():
            owned = {n: state.params[n] for n in nets}
            updates, opt_state[player] = optimizers[player].update(
                {n: grads[n] for n in nets}, state.opt_state[player], owned
            )
            params.update(optax.apply_updates(owned, updates))
        ema = _average(state, params, batch_size, ema_half_life) if ema_half_life else state.ema
        return dataclasses.replace(state, step=state.step + 1, params=params, opt_state=opt_state, ema=ema), scalars

    return step


def gradients(objective: Objective, params: Params, x: jax.Array, noise: Noise) -> tuple[Params, Scalars]:
    """Each net's gradient of its own player's loss, all of them in one backward pass.

    Args:
        objective: whose losses to differentiate.
        params: `{net: parameters}`.
        x: data `[B, …]`.
        noise: `{name: [B, …]}`.

    Returns:
        `{net: gradient}`, and the scalars `loss/{player}` and the objective's metrics.
    """

    def total(params: Params) -> tuple[jax.Array, Scalars]:
        own: Scalars = {}
        for player, nets in objective.players.items():
            view = {n: p if n in nets else jax.lax.stop_gradient(p) for n, p in params.items()}
            losses, metrics = objective.losses(view, x, noise)
            own[player] = losses[player]
        scalars = {**{f"loss/{player}": loss for player, loss in own.items()}, **metrics}
        return jnp.sum(jnp.stack(list(own.values()))), scalars

    return jax.grad(total, has_aux=True)(params)


def _average(state: TrainState, params: Params, batch_size: int, half_life: float) -> dict[str, Any]:
    """The next moving average. Young averages forget faster, so that the initial parameters leave no trace."""
    t = state.step.astype(jnp.float32)
    decay = jnp.minimum(0.5 ** (batch_size / half_life), (1 + t) / (10 + t))
    averaged: dict[str, Any] = jax.tree.map(
        lambda old, new: new + decay * (old - new), state.ema, {n: params[n] for n in state.ema}
    )
    return averaged


def fuse(step: Step, num_steps: int) -> Step:
    """`num_steps` steps in one call; the scalars gain a trailing axis `[num_steps]`."""

    def fused(state: TrainState, arrays: Any) -> tuple[TrainState, Scalars]:
        return jax.lax.scan(lambda carry, _: step(carry, arrays), state, length=num_steps)

    return fused
