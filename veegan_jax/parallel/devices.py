"""Seeds and devices, composed around a step from the outside: `over_devices(over_seeds(fuse(step)))`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from veegan_jax.ops.axis import AXIS

# `step(state, arrays) -> (state, scalars)`.
Step = Callable[[Any, Any], tuple[Any, Any]]


def over_seeds(step: Step, mapping: str) -> Step:
    """Returns the step for the replicas of S seeds at once: state and scalars gain a leading axis `[S]`.

    Args:
        step: the step of one replica.
        mapping: 'map' runs one replica after another, which gives the bits of single runs and is the fastest form on a
            CPU; 'vmap' batches the replicas, which accelerators want; 'auto' chooses by the platform.
    """
    if mapping == "auto":
        mapping = "map" if jax.default_backend() == "cpu" else "vmap"
    if mapping == "vmap":
        return jax.vmap(step, in_axes=(0, None))
    return lambda state, arrays: jax.lax.map(lambda replica: step(replica, arrays), state)


def over_devices(
    step: Step, devices: Sequence[jax.Device], parallel: str, *, split: bool = False
) -> Callable[..., Any]:
    """Returns a step compiled for devices, over whose axis `AXIS` it reduces; the state is replicated, and donated.

    The compiled step takes `(state, arrays)` or, when split, `(state, (batches, first))`.

    Args:
        step: a step that draws its shard of the batch by its index on `AXIS`.
        devices: the devices to run on, those of other processes included.
        parallel: 'pmap', or 'shard_map' for the same function as `jit(shard_map)`, since pmap is in maintenance mode.
        split: whether the arrays are a stream's batches `[steps, B, …]` and the number of the first step. Each device
            then gets its share of every batch; otherwise each device gets all arrays.
    """
    num_local = len(_of_this_process(devices))

    def divide(arrays: Any) -> tuple[Any, np.ndarray]:
        """Returns what all devices get, and what is divided along its first axis: pmap needs one such array."""
        if not split:
            return arrays, np.arange(num_local)
        batches, first = arrays
        steps, size, *rest = batches.shape
        return first, batches.reshape(steps, num_local, size // num_local, *rest).swapaxes(0, 1)

    def on_device(state: Any, common: Any, share: Any) -> Any:
        return step(state, (share, common) if split else common)

    if parallel == "pmap":
        mapped = jax.pmap(
            on_device,
            axis_name=AXIS,
            in_axes=(None, None, 0),
            out_axes=None,
            devices=list(devices),
            donate_argnums=0,
        )
    else:
        replicated, divided = PartitionSpec(), PartitionSpec(AXIS)
        # check_vma=True would sum the gradients of replicated parameters once more: N times too large after the pmean.
        sharded = jax.shard_map(
            lambda state, common, share: on_device(state, common, share[0]),
            mesh=_mesh(devices),
            in_specs=(replicated, replicated, divided),
            out_specs=replicated,
            check_vma=False,
        )
        mapped = jax.jit(sharded, donate_argnums=0)
        if num_local < len(devices):
            mapped = _on_local_arrays(mapped, devices)
    return lambda state, arrays: mapped(state, *divide(arrays))


def _on_local_arrays(mapped: Callable[..., Any], devices: Sequence[jax.Device]) -> Callable[..., Any]:
    """Returns a function of each process's own arrays, as pmap's is, for a function of the arrays of all processes."""
    mesh, replicated = _mesh(devices), PartitionSpec()

    def call(state: Any, common: Any, share: Any) -> Any:
        of_all = multihost_utils.host_local_array_to_global_array(
            (state, common, share), mesh, (replicated, replicated, PartitionSpec(AXIS))
        )
        return multihost_utils.global_array_to_host_local_array(mapped(*of_all), mesh, replicated)

    return call


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Returns the arrays of a tree, copied to each of the devices that belong to this process."""
    return jax.device_put(tree, NamedSharding(_mesh(_of_this_process(devices)), PartitionSpec()))


def _of_this_process(devices: Sequence[jax.Device]) -> list[jax.Device]:
    return [device for device in devices if device.process_index == jax.process_index()]


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
    return Mesh(list(devices), (AXIS,))
