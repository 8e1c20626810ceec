"""What of an experiment is compiled: its first state, and several of its steps in one call."""

import jax
import numpy as np
from ml_collections import ConfigDict

from veegan_jax.config.build import Experiment
from veegan_jax.errors import UserError
from veegan_jax.ops.axis import AXIS
from veegan_jax.parallel import devices as parallel
from veegan_jax.parallel import logical_shards as elastic
from veegan_jax.train import step
from veegan_jax.train.state import TrainState
from veegan_jax.train.step import Step


def select_devices(config: ConfigDict) -> list[jax.Device]:
    """The devices that the config asks for, those of each process together.

    Raises:
        UserError: if there are fewer, or the batch does not divide among them.
    """
    available = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    count = config.devices or len(available)
    if count > len(available):
        raise UserError(f"config.devices is {count}; this machine has {len(available)} ({available[0].platform})")
    if count < len(available) and jax.process_count() > 1:
        raise UserError(f"config.devices is {count}; it must be 0 for several processes, which use all their devices")
    shards = config.logical_shards or count
    if shards % count:
        raise UserError(
            f"config.logical_shards is {shards}, over {count} devices; it must divide by their number, or "
            "config.devices name one that divides it"
        )
    share = shards * config.packing
    if config.batch_size % share:
        below, above = config.batch_size // share * share, (config.batch_size // share + 1) * share
        parts = f"config.logical_shards {shards}" if config.logical_shards else f"{count} devices"
        raise UserError(
            f"config.batch_size is {config.batch_size}; it must divide by {parts} × packing {config.packing}, "
            f"as {' or '.join(str(size) for size in (below, above) if size)} does"
        )
    return available[:count]


def initial_state(experiment: Experiment) -> TrainState:
    """The replicas before the first step, on the default device, each leaf `[S, …]`."""
    config = experiment.config
    init = step.make_init(experiment.objective, experiment.optimizers, ema=config.ema_half_life > 0)
    seeds = np.arange(config.seed, config.seed + config.num_seeds).astype(np.uint32)
    return jax.jit(lambda seeds: jax.lax.map(init, seeds))(seeds)  # seeds as an argument: one program for all


def fused_step(experiment: Experiment, devices: list[jax.Device], num_steps: int) -> Step:
    """`num_steps` steps of all replicas on all devices, in one compiled call."""
    config, source = experiment.config, experiment.source
    shards, split = config.logical_shards or len(devices), source.stream is not None
    one = step.make_step(
        experiment.objective,
        step.streamed(source.stream.decode) if source.stream else step.resident(source.sample),
        experiment.optimizers,
        batch_size=config.batch_size,
        ema_half_life=config.ema_half_life,
        turns=step.turns(config.update_order, config.disc_updates, config.gen_updates),
        axis=AXIS,
        shards=shards,
    )
    if config.logical_shards:
        one = elastic.over_shards(one, shards, len(devices), AXIS, split=split)
    replicas = parallel.over_seeds(step.fuse(one, num_steps), config.seed_mapping)
    return parallel.over_devices(replicas, devices, config.parallel, split=split)
