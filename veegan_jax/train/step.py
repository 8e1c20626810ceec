"""The training step, written once for all objectives (VEEGAN, Algorithm 1)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from veegan_jax.objectives.base import Batch, Objective, Params, Scalars
from veegan_jax.ops import draws
from veegan_jax.ops.opaque import opaque_zero
from veegan_jax.train.state import TrainState

Step = Callable[[TrainState, Any], tuple[TrainState, Scalars]]
Optimizers = Mapping[str, optax.GradientTransformation]
# `read_batch(arrays, step, keys) -> x`: this device's examples `[b, …]` of a step, with a key for each.
BatchReader = Callable[[Any, jax.Array, jax.Array], jax.Array]

# The purposes of draws, each folded into the key of its draw.
DATA, NOISE = 0, 1


def make_init(objective: Objective, optimizers: Optimizers, *, ema: bool) -> Callable[[int | jax.Array], TrainState]:
    """Returns a function of a seed to the state before the first step."""

    def init(seed: int | jax.Array) -> TrainState:
        root = jax.random.key(seed)
        # The keys of initialisation and of the steps come from different children of the seed's key.
        init_key, step_key = jax.random.split(root)
        names = sorted(objective.inputs)
        keys = jax.random.split(init_key, len(names))
        params = {n: objective.nets[n].init(k, *objective.inputs[n]) for n, k in zip(names, keys, strict=True)}
        opt_state = {
            player: optimizers[player].init({n: params[n] for n in owned})
            for player, owned in objective.players.items()
        }
        averaged = {n: jax.tree.map(jnp.copy, params[n]) for n in objective.players["gen"]} if ema else {}
        return TrainState(jnp.zeros((), jnp.int32), step_key, params, opt_state, averaged)

    return init


def batches_in_memory(sample: Callable[[Any, jax.Array], jax.Array]) -> BatchReader:
    """Draws each example with replacement from arrays on the device, by a source's `sample(arrays, key)`."""
    return lambda arrays, step, keys: jax.vmap(lambda key: sample(arrays, key))(keys)


def batches_of_stream(decode: Callable[[jax.Array], jax.Array]) -> BatchReader:
    """Takes the batches that a stream hands to a call: `arrays` are `[steps, b, …]` and the step of the first batch."""

    def read_batch(arrays: tuple[jax.Array, jax.Array], step: jax.Array, keys: jax.Array) -> jax.Array:
        batches, first = arrays
        return jax.vmap(decode)(batches[step - first])

    return read_batch


def turns(order: str, disc_updates: int, gen_updates: int) -> Sequence[tuple[str, ...]]:
    """Returns the players that are updated in each turn of one step.

    Args:
        order: 'simultaneous': all gradients at one point, then all updates (VEEGAN, Algorithm 1); the player that has
            more updates than the other takes the rest alone, the discriminator before that turn, the generator after
            it. 'alternating': the discriminator's updates, then the generator's.
        disc_updates: updates of the discriminator's player.
        gen_updates: updates of the generator's player.
    """
    if order == "alternating":
        return [*[("disc",)] * disc_updates, *[("gen",)] * gen_updates]
    return [*[("disc",)] * (disc_updates - 1), ("disc", "gen"), *[("gen",)] * (gen_updates - 1)]


def make_step(
    objective: Objective,
    read_batch: BatchReader,
    optimizers: Optimizers,
    *,
    batch_size: int,
    ema_half_life: float = 0.0,
    turns: Sequence[tuple[str, ...]] = (("disc", "gen"),),
    axis: str | None = None,
    shards: int = 1,
) -> Step:
    """Makes one step: in each turn the players named are updated from gradients taken at one point.

    Each player's loss sees the other players' parameters behind a stop-gradient, and the sum of the losses is
    differentiated in one backward pass. Apart from that the players' forward passes are identical, so XLA merges them.

    Every example's draws are a function of (seed, step, turn, index in the global batch, purpose) alone, so the number
    of devices and of calls over which the steps are spread makes no difference.

    Args:
        objective: the losses to minimise.
        read_batch: `batches_in_memory` or `batches_of_stream`; a stream's batch serves all turns of its step.
        optimizers: one for each player.
        batch_size: B, the global batch.
        ema_half_life: the half-life of the moving average of the generator player's nets, in examples; 0 for none.
        turns: the players of each turn.
        axis: the name of the device axis over which the batch is split; None for one device.
        shards: the number of devices on that axis.

    Returns:
        `step(state, arrays) -> (state, scalars)`; the scalars are `loss/{player}` and the objective's metrics, each
        from the last turn that had it.
    """
    local = batch_size // shards

    def draw(state: TrainState, arrays: Any, turn: int) -> Batch:
        shard = jax.lax.axis_index(axis) if axis else jnp.zeros((), jnp.int32)
        data_keys, noise_keys = _keys(state, shard * local + jnp.arange(local, dtype=jnp.int32), turn)
        x = read_batch(arrays, state.step, data_keys)
        return Batch(x, jax.vmap(objective.noise)(noise_keys), state.step, state.opt_state)

    def step(state: TrainState, arrays: Any) -> tuple[TrainState, Scalars]:
        scalars: Scalars = {}
        for turn, players in enumerate(turns):
            grads, latest = gradients(objective, state.params, draw(state, arrays, turn), players)
            if axis and shards > 1:  # XLA would copy all gradients for a mean over one device.
                grads, latest = jax.lax.pmean((grads, latest), axis)
            state = _updated(state, grads, {player: objective.players[player] for player in players}, optimizers)
            scalars.update(latest)
        ema = _average(state, batch_size, ema_half_life) if ema_half_life else state.ema
        return dataclasses.replace(state, step=state.step + 1, ema=ema), scalars

    return step


def _keys(state: TrainState, index: jax.Array, turn: int) -> tuple[jax.Array, jax.Array]:
    """Returns the keys `[b]` of the data and of the noise of the examples at int32 `[b]` places of the global batch."""
    step_key = draws.fold_in(state.key, state.step)
    keys = jax.vmap(draws.fold_in, in_axes=(None, 0))(step_key, index)
    fold = jax.vmap(draws.fold_in, in_axes=(0, None))
    return fold(keys, 2 * turn + DATA), fold(keys, 2 * turn + NOISE)


def _updated(
    state: TrainState, grads: Params, players: Mapping[str, tuple[str, ...]], optimizers: Optimizers
) -> TrainState:
    """Returns the state after one update of these players' nets."""
    params, opt_state = dict(state.params), dict(state.opt_state)
    for player, nets in players.items():
        owned = {n: state.params[n] for n in nets}
        updates, opt_state[player] = optimizers[player].update(
            {n: grads[n] for n in nets}, state.opt_state[player], owned
        )
        params.update(optax.apply_updates(owned, updates))
    return dataclasses.replace(state, params=params, opt_state=opt_state)


def gradients(
    objective: Objective, params: Params, batch: Batch, players: Sequence[str] = ("disc", "gen")
) -> tuple[Params, Scalars]:
    """Computes each net's gradient of its own player's loss, all of them in one backward pass.

    Args:
        objective: the losses to differentiate.
        params: `{net: parameters}`.
        batch: the data and noise of the losses.
        players: the players whose gradients are wanted; the gradients of the other players' nets are 0.

    Returns:
        `{net: gradient}`, and the scalars `loss/{player}` and the objective's metrics.
    """

    def total(params: Params) -> tuple[jax.Array, Scalars]:
        own: Scalars = {}
        for player in players:
            nets = objective.players[player]
            view = {n: p if n in nets else jax.lax.stop_gradient(p) for n, p in params.items()}
            losses, metrics = objective.losses(view, batch)
            own[player] = losses[player]
        scalars = {**{f"loss/{player}": loss for player, loss in own.items()}, **metrics}
        return jnp.sum(jnp.stack(list(own.values()))), scalars

    return jax.grad(total, has_aux=True)(params)


def _average(state: TrainState, batch_size: int, half_life: float) -> dict[str, Any]:
    """Returns the next moving average. Young averages forget faster, so the initial parameters leave no trace."""
    t = state.step.astype(jnp.float32)
    decay = jnp.minimum(0.5 ** (batch_size / half_life), (1 + t) / (10 + t))
    averaged: dict[str, Any] = jax.tree.map(
        lambda old, new: new + decay * (old - new), state.ema, {n: state.params[n] for n in state.ema}
    )
    return averaged


def fuse(step: Step, num_steps: int) -> Step:
    """Fuses `num_steps` steps into one call; the scalars gain a trailing axis `[num_steps]`.

    The bits of each step do not depend on `num_steps`.
    """

    def fused(state: TrainState, arrays: Any) -> tuple[TrainState, Scalars]:
        return jax.lax.scan(lambda carry, _: step(carry, arrays), state, length=num_steps)

    def once(state: TrainState, arrays: Any) -> tuple[TrainState, Scalars]:
        def turn(_: jax.Array, carry: tuple[TrainState, Scalars]) -> tuple[TrainState, Scalars]:
            after, scalars = step(carry[0], arrays)
            return after, jax.tree.map(lambda scalar: scalar[None], scalars)

        shapes = jax.eval_shape(step, state, arrays)[1]
        empty = jax.tree.map(lambda scalar: jnp.zeros((1, *scalar.shape), scalar.dtype), shapes)
        return jax.lax.fori_loop(0, 1 + opaque_zero(state.step), turn, (state, empty))

    # XLA would take the only turn of a scan out of its loop. A GPU waits for the host before each turn of a loop whose
    # number of turns is not known, so longer scans stay scans.
    return once if num_steps == 1 else fused
