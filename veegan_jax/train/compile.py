"""The compiled parts of an experiment: its first state, and several of its steps in one call."""

from typing import Any

import jax
import numpy as np

from veegan_jax.config.build import Experiment
from veegan_jax.errors import UserError
from veegan_jax.ops.axis import AXIS
from veegan_jax.parallel.cores import num_cpus
from veegan_jax.parallel.devices import over_devices, over_seeds, side_by_side
from veegan_jax.parallel.logical_shards import over_shards
from veegan_jax.train.state import TrainState
from veegan_jax.train.step import Step, batches_in_memory, batches_of_stream, fuse, make_init, make_step, turns


def select_devices(config: Any) -> list[jax.Device]:
    """Returns the devices that the config asks for, grouped by process.

    Args:
        config: the run's fields, of which `devices`, `logical_shards`, `batch_size`, `packing` and `seed_mapping` are
            read.

    Raises:
        UserError: if there are fewer, the batch does not divide among them, or replicas side by side are asked of
            several processes.
    """
    available = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    count = config.devices or len(available)
    if count > len(available):
        raise UserError(f"config.devices is {count}; this machine has {len(available)} ({available[0].platform})")
    if count < len(available) and jax.process_count() > 1:
        raise UserError(f"config.devices is {count}; it must be 0 for several processes, which use all their devices")
    apart = config.seed_mapping == "side_by_side"
    if apart and jax.process_count() > 1:
        raise UserError("config.seed_mapping is 'side_by_side', which is for one process; use 'auto' for several")
    split = 1 if apart else count
    shards = config.logical_shards or split
    if shards % split:
        raise UserError(
            f"config.logical_shards is {shards}, over {split} devices; it must divide by their number, or "
            "config.devices name one that divides it"
        )
    share = shards * config.packing
    if config.batch_size % share:
        below, above = config.batch_size // share * share, (config.batch_size // share + 1) * share
        parts = f"config.logical_shards {shards}" if config.logical_shards else f"{split} devices"
        raise UserError(
            f"config.batch_size is {config.batch_size}; it must divide by {parts} × packing {config.packing}, "
            f"as {' or '.join(str(size) for size in (below, above) if size)} does"
        )
    return available[:count]


def initial_state(experiment: Experiment) -> TrainState:
    """Returns the replicas before the first step, on the default device, each leaf `[S, …]`."""
    config = experiment.config
    init = make_init(experiment.objective, experiment.optimizers, ema=config.ema_half_life > 0)
    seeds = np.arange(config.seed, config.seed + config.num_seeds).astype(np.uint32)
    # The seeds are an argument, so that one program serves all of them.
    return jax.jit(lambda seeds: jax.lax.map(init, seeds))(seeds)


def abstract_state(experiment: Experiment) -> TrainState:
    """Returns the shapes and dtypes of `initial_state`, and computes nothing."""
    state: TrainState = jax.eval_shape(lambda: initial_state(experiment))
    return state


def fused_step(experiment: Experiment, devices: list[jax.Device], num_steps: int) -> Step:
    """Compiles `num_steps` steps of all replicas on all devices into one call."""
    config, split = experiment.config, experiment.source.stream is not None
    mapping = seed_mapping(config, len(devices))
    if mapping == "side_by_side":
        step = over_seeds(_fused(experiment, 1, num_steps), "map")
        steps = [over_devices(step, [device], config.parallel, split=split) for device in devices]
        return side_by_side(steps, devices, num_cpus())
    step = over_seeds(_fused(experiment, len(devices), num_steps), mapping)
    return over_devices(step, devices, config.parallel, split=split)


def _fused(experiment: Experiment, num_devices: int, num_steps: int) -> Step:
    """Returns `num_steps` steps of one replica, whose batch is split over devices, as one function."""
    config, source = experiment.config, experiment.source
    shards = config.logical_shards or num_devices
    step = make_step(
        experiment.objective,
        batches_of_stream(source.stream.decode) if source.stream else batches_in_memory(source.sample),
        experiment.optimizers,
        batch_size=config.batch_size,
        ema_half_life=config.ema_half_life,
        turns=turns(config.update_order, config.disc_updates, config.gen_updates),
        axis=AXIS,
        shards=shards,
    )
    if config.logical_shards:
        step = over_shards(step, shards, num_devices, AXIS, split=source.stream is not None)
    return fuse(step, num_steps)


def seed_mapping(config: Any, num_devices: int) -> str:
    """Returns the `seed_mapping` among the fields of a config, or what 'auto' stands for on this machine."""
    if config["seed_mapping"] != "auto":
        return str(config["seed_mapping"])
    if jax.default_backend() == "cpu":
        # Programs that wait for other devices must not be queued: on simulated devices such a queue may stand still.
        return "side_by_side" if num_devices == 1 and config["num_seeds"] > 1 else "map"
    # Batched replicas would have other bits on another number of devices, which logical shards are there to prevent.
    return "map" if config["logical_shards"] else "vmap"
