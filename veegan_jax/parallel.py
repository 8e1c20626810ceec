"""Replicas and devices, composed around a step from the outside: `over_devices(over_seeds(fuse(step)))`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from veegan_jax.step import Step

AXIS = "devices"


def over_seeds(step: Step, mapping: str) -> Step:
    """The step on replicas of different seeds at once: state and scalars gain a leading axis `[S]`.

    Args:
        step: of one replica.
        mapping: 'map' runs one after another, bit-identical to single runs, and is what CPUs want; 'vmap' batches
            them, which accelerators want; 'auto' chooses by platform.
    """
    if mapping == "auto":
        mapping = "map" if jax.default_backend() == "cpu" else "vmap"
    if mapping == "vmap":
        return jax.vmap(step, in_axes=(0, None))
    return lambda state, arrays: jax.lax.map(lambda replica: step(replica, arrays), state)


def over_devices(step: Step, devices: Sequence[jax.Device], parallel: str) -> Callable[..., Any]:
    """Compiles a step that reduces over `AXIS` for these devices; the state is replicated, and donated.

    Args:
        step: which draws its shard of the batch by its index on `AXIS`.
        devices: to run on.
        parallel: 'pmap', or 'shard_map': the same function as `jit(shard_map)`, since pmap is in maintenance mode.
    """
    if parallel == "pmap":
        mapped = jax.pmap(
            lambda state, arrays, _: step(state, arrays),
            axis_name=AXIS,
            in_axes=(None, None, 0),
            out_axes=None,
            devices=list(devices),
            donate_argnums=0,
        )
        # pmap counts its devices by an argument that is split among them; everything real here is replicated.
        index = np.arange(len(devices))
        return lambda state, arrays: mapped(state, arrays, index)
    everywhere = PartitionSpec()
    # check_vma=True would sum the gradients of replicated parameters once more: N times too large after the pmean.
    mapped = jax.shard_map(step, mesh=_mesh(devices), in_specs=everywhere, out_specs=everywhere, check_vma=False)
    return jax.jit(mapped, donate_argnums=0)


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Puts the same arrays on every device."""
    return jax.device_put(tree, NamedSharding(_mesh(devices), PartitionSpec()))


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
    return Mesh(list(devices), (AXIS,))
