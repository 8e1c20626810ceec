"""Replicas and devices, composed around a step from the outside: `over_devices(over_seeds(fuse(step)))`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from veegan_jax.ops.axis import AXIS
from veegan_jax.train.step import Step


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


def over_devices(
    step: Step, devices: Sequence[jax.Device], parallel: str, *, split: bool = False
) -> Callable[..., Any]:
    """Compiles a step that reduces over `AXIS` for these devices; the state is replicated, and donated.

    The compiled step takes `(state, arrays)` or, when split, `(state, (batches, first))`.

    Args:
        step: which draws its shard of the batch by its index on `AXIS`.
        devices: to run on.
        parallel: 'pmap', or 'shard_map': the same function as `jit(shard_map)`, since pmap is in maintenance mode.
        split: whether the arrays are a stream's batches `[steps, B, …]` and the step of the first, of which each
            device gets its share of every batch; otherwise each gets all arrays.
    """
    n = len(_own(devices))

    def shares(arrays: Any) -> tuple[Any, np.ndarray]:
        """What is replicated, and what is split along its first axis: at least an index, by which pmap counts."""
        if not split:
            return arrays, np.arange(n)
        batches, first = arrays
        steps, size, *rest = batches.shape
        return first, batches.reshape(steps, n, size // n, *rest).swapaxes(0, 1)

    def local(state: Any, common: Any, share: Any) -> Any:
        return step(state, (share, common) if split else common)

    if parallel == "pmap":
        mapped = jax.pmap(
            local,
            axis_name=AXIS,
            in_axes=(None, None, 0),
            out_axes=None,
            devices=list(devices),
            donate_argnums=0,
        )
    else:
        everywhere, each = PartitionSpec(), PartitionSpec(AXIS)
        # check_vma=True would sum the gradients of replicated parameters once more: N times too large after the pmean.
        sharded = jax.shard_map(
            lambda state, common, share: local(state, common, share[0]),
            mesh=_mesh(devices),
            in_specs=(everywhere, everywhere, each),
            out_specs=everywhere,
            check_vma=False,
        )
        mapped = jax.jit(sharded, donate_argnums=0)
        mapped = _of_own_arrays(mapped, devices) if n < len(devices) else mapped
    return lambda state, arrays: mapped(state, *shares(arrays))


def _of_own_arrays(mapped: Callable[..., Any], devices: Sequence[jax.Device]) -> Callable[..., Any]:
    """A function of arrays of all processes as one of what each has of them, which `pmap` is by itself."""
    mesh, everywhere = _mesh(devices), PartitionSpec()

    def call(state: Any, common: Any, share: Any) -> Any:
        given = multihost_utils.host_local_array_to_global_array(
            (state, common, share), mesh, (everywhere, everywhere, PartitionSpec(AXIS))
        )
        return multihost_utils.global_array_to_host_local_array(mapped(*given), mesh, everywhere)

    return call


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Puts the same arrays on every device of this process."""
    return jax.device_put(tree, NamedSharding(_mesh(_own(devices)), PartitionSpec()))


def _own(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """Those of this process."""
    return [device for device in devices if device.process_index == jax.process_index()]


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
    return Mesh(list(devices), (AXIS,))
