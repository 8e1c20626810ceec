"""The step as JAX is usually written: one call a step, one gradient for each player, lax's convolutions."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax

from veegan_jax.config.build import Experiment
from veegan_jax.objectives.base import Batch
from veegan_jax.train.state import TrainState
from veegan_jax.train.step import turns


@contextmanager
def laxs_convolutions() -> Iterator[None]:
    """Convolutions and their gradients as accelerators have them, lax's own, while a step is traced."""

    def default_form(*operands: Any, default: Callable[..., Any], **_: Callable[..., Any]) -> Any:
        return default(*operands)

    with mock.patch.object(jax.lax, "platform_dependent", default_form):
        yield


class NaiveJax:
    """Training of one replica with the product's losses and optimizers.

    Args:
        experiment: the config, data and method.
        state: the product's state, from which the steps begin.
    """

    def __init__(self, experiment: Experiment, state: TrainState):
        config = experiment.config
        self._experiment = experiment
        self._turns = turns(config.update_order, config.disc_updates, config.gen_updates)
        self._state: TrainState = jax.tree.map(lambda leaf: leaf[0], state)
        self._arrays = jax.tree.map(jnp.asarray, experiment.source.train)
        self._step = jax.jit(self._traced_step)

    def _traced_step(self, state: TrainState, arrays: Any, draws: Sequence[Any]) -> tuple[TrainState, Any]:
        objective, optimizers, config = self._experiment.objective, self._experiment.optimizers, self._experiment.config
        key, losses = jax.random.fold_in(state.key, state.step), {}
        for turn, players in enumerate(self._turns):
            noise, x = draws[turn] if draws else self._draw(arrays, jax.random.fold_in(key, turn))
            batch = Batch(x, noise, state.step, state.opt_state)
            params, opt_state = dict(state.params), dict(state.opt_state)
            for player in players:
                owned = {net: state.params[net] for net in objective.players[player]}

                def loss(owned: Any, player: str = player, params: Any = state.params, batch: Batch = batch) -> Any:
                    return objective.losses({**params, **owned}, batch)[0][player]

                losses[player], grads = jax.value_and_grad(loss)(owned)
                updates, opt_state[player] = optimizers[player].update(grads, state.opt_state[player], owned)
                params.update(optax.apply_updates(owned, updates))
            state = dataclasses.replace(state, params=params, opt_state=opt_state)
        ema = state.ema
        if config.ema_half_life:
            t = state.step.astype(jnp.float32)
            decay = jnp.minimum(0.5 ** (config.batch_size / config.ema_half_life), (1 + t) / (10 + t))
            new = {net: state.params[net] for net in ema}
            ema = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, ema, new)
        return dataclasses.replace(state, step=state.step + 1, ema=ema), losses

    def _draw(self, arrays: Any, key: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        config, source = self._experiment.config, self._experiment.source
        size, mixture = config.batch_size, source.references.get("mixture")
        keys = jax.random.split(key, 5)
        dims = {"z": config.latent_dim, "eps": config.noise_dim, "xi": config.latent_dim}
        noise = {name: jax.random.normal(k, (size, n)) for k, (name, n) in zip(keys[2:], dims.items(), strict=True)}
        if mixture:
            means = arrays[jax.random.randint(keys[0], (size,), 0, len(arrays))]
            x = mixture.std * jax.random.normal(keys[1], (size, mixture.noisy_dims))
            return noise, means + jnp.pad(x, ((0, 0), (0, means.shape[1] - x.shape[1])))
        stacked, white = arrays.ndim == 3, 16 if source.train.max() <= 16 else 255
        chosen = jax.random.randint(keys[0], (size, source.shape[-1]) if stacked else (size,), 0, len(arrays))
        images = jnp.moveaxis(arrays[chosen], 1, -1) if stacked else arrays[chosen]
        return noise, images.astype(jnp.float32) / (white / 2) - 1

    def step(self, draws: Sequence[tuple[Mapping[str, np.ndarray], np.ndarray]] = ()) -> Mapping[str, jax.Array]:
        """Takes one step, and returns the losses.

        Args:
            draws: the noise and the data of each turn; draws of its own where there are none.
        """
        with laxs_convolutions():
            self._state, losses = self._step(self._state, self._arrays, list(draws))
        return losses

    def run(self, num_steps: int) -> None:
        """Takes steps with draws of its own."""
        for _ in range(num_steps):
            self.step()
        jax.block_until_ready(self._state.params)

    def in_products_form(self) -> tuple[Any, Any]:
        """Returns parameters and moving averages, `{net: parameters}`."""
        return jax.tree.map(np.asarray, (self._state.params, self._state.ema))
