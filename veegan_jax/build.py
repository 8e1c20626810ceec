"""From a config to the parts it names: the one place where fields become keyword arguments."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from veegan_jax import parallel
from veegan_jax.config import REGISTRIES, suggestion, validate
from veegan_jax.data.base import Source
from veegan_jax.errors import UserError
from veegan_jax.metrics import METRICS, Metric
from veegan_jax.models.network import Network, packed
from veegan_jax.objectives.base import Objective
from veegan_jax.optim import adam
from veegan_jax.state import TrainState
from veegan_jax.step import Step, fuse, make_init, make_step

# Scores of the reconstructor, which every objective that has one gets on every source of data.
LATENT_COLUMNS = ("reconstruction", "prior_gap")


class Experiment(NamedTuple):
    """The parts of a run, built and checked; nothing is compiled yet."""

    config: ConfigDict
    source: Source
    nets: Mapping[str, Network]
    objective: Objective
    optimizers: Mapping[str, optax.GradientTransformation]
    metrics: tuple[Metric, ...]
    columns: tuple[str, ...]

    @property
    def num_eval(self) -> int:
        """How many samples a measurement takes."""
        return self.config.eval_samples or self.source.num_eval


def build(config: ConfigDict) -> Experiment:
    """Builds what a config names.

    Raises:
        UserError: naming the field that is wrong, its value, and what would be right.
    """
    validate(config)
    source: Source = _entry(config, "data")
    sizes = {"shape": source.shape, "latent_dim": config.latent_dim}
    nets = _entry(config, "model", **sizes, bounded=source.bounded, dtype=config.dtype)
    nets["disc"] = packed(nets["disc"], config.packing)
    objective: Objective = _entry(config, "objective", nets, **sizes, noise_dim=config.noise_dim)
    optimizers = {player: _optimizer(config, player) for player in objective.players}
    metrics = tuple(METRICS[name](reference) for name, reference in source.references.items())
    columns = tuple(c for metric in metrics for c in metric.columns) + (LATENT_COLUMNS if objective.encode else ())
    if config.best_metric not in columns:
        raise UserError(f"config.best_metric is {config.best_metric!r}; {suggestion(config.best_metric, columns)}")
    return Experiment(config, source, nets, objective, optimizers, metrics, columns)


def _entry(config: ConfigDict, field: str, *args: Any, **sizes: Any) -> Any:
    name = config[field]
    try:
        return REGISTRIES[field][name](*args, **sizes, **config[name])
    except ValueError as error:
        raise UserError(f"config.{name}.{error}") from error


def _optimizer(config: ConfigDict, player: str) -> optax.GradientTransformation:
    try:
        return adam(num_steps=config.num_steps, **config.optim[player])
    except ValueError as error:
        raise UserError(f"config.optim.{player}.{error}") from error


def select_devices(config: ConfigDict) -> list[jax.Device]:
    """The devices that the config asks for.

    Raises:
        UserError: if there are fewer, or the batch does not divide among them.
    """
    available = jax.local_devices()
    count = config.devices or len(available)
    if count > len(available):
        raise UserError(f"config.devices is {count}; this machine has {len(available)} ({available[0].platform})")
    share = count * config.packing
    if config.batch_size % share:
        below, above = config.batch_size // share * share, (config.batch_size // share + 1) * share
        raise UserError(
            f"config.batch_size is {config.batch_size}; it must divide by {count} devices × packing {config.packing}, "
            f"as {' or '.join(str(size) for size in (below, above) if size)} does"
        )
    return available[:count]


def initial_state(experiment: Experiment) -> TrainState:
    """The replicas before the first step, on the default device, each leaf `[S, …]`."""
    config = experiment.config
    init = make_init(experiment.nets, experiment.objective, experiment.optimizers, ema=config.ema_half_life > 0)
    seeds = np.arange(config.seed, config.seed + config.num_seeds).astype(np.uint32)
    return jax.jit(lambda seeds: jax.lax.map(init, seeds))(seeds)  # seeds as an argument: one program for all


def fused_step(experiment: Experiment, devices: list[jax.Device], num_steps: int) -> Step:
    """`num_steps` steps of all replicas on all devices, in one compiled call."""
    config = experiment.config
    step = make_step(
        experiment.objective,
        experiment.source.sample,
        experiment.optimizers,
        batch_size=config.batch_size,
        ema_half_life=config.ema_half_life,
        axis=parallel.AXIS,
        shards=len(devices),
    )
    replicas = parallel.over_seeds(fuse(step, num_steps), config.seed_mapping)
    return parallel.over_devices(replicas, devices, config.parallel)
