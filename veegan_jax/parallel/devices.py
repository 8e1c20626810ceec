"""Seeds and devices, composed around a step from the outside.

`over_devices(over_seeds(fuse(step)))` computes all seeds in one program; `side_by_side` calls the program of one
seed for each of them.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from veegan_jax.ops.axis import AXIS

# `step(state, arrays) -> (state, scalars)`.
Step = Callable[[Any, Any], tuple[Any, Any]]


class Replicas(NamedTuple):
    """A state `[S, …]` taken apart.

    Attributes:
        states: the state of each replica, `[1, …]`, on the device that trains it.
    """

    states: tuple[Any, ...]


def take_apart(state: Any, devices: Sequence[jax.Device]) -> Replicas:
    """Returns the replicas of a state `[S, …]`, of which each next one is on the next device, and deletes the state."""
    number = jax.tree.leaves(state)[0].shape[0]
    apart = [_replica(state, i) for i in range(number)]
    # Placed as the step returns them, so that the program of the first call is also that of the next.
    replicas = Replicas(tuple(replicate(own, [devices[i % len(devices)]]) for i, own in enumerate(apart)))
    for leaf in jax.tree.leaves(state):
        leaf.delete()  # A compiled step deletes the state that it is given, too.
    return replicas


def put_together(state: Any) -> Any:
    """Returns the state `[S, …]` of replicas, on the device of the first, and any other state as it is."""
    if not isinstance(state, Replicas):
        return state
    place = jax.tree.leaves(state.states[0])[0].sharding
    return _concatenated(jax.device_put(state.states, place))


@jax.jit
def _replica(state: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, i, 1), state)


@jax.jit
def _concatenated(states: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *states)


def side_by_side(steps: Sequence[Step], devices: Sequence[jax.Device], num_threads: int) -> Step:
    """Returns the step for the replicas of S seeds that calls the program of one replica for each of them.

    Each replica has the bits of a single run, since its program is that of a single run. Calls return before they are
    computed, so that devices compute at once. One CPU device computes at once what different threads call.

    Args:
        steps: for each device the compiled step of one replica `[1, …]`.
        devices: the devices, among which the replicas are shared out.
        num_threads: how many threads call.

    Returns:
        A step that takes a state `[S, …]` or `Replicas`, and returns `Replicas`.
    """
    # Replicas change threads from call to call, so that three replicas keep two threads equally busy.
    threads = itertools.cycle([ThreadPoolExecutor(1) for _ in range(num_threads)])

    def call(state: Any, arrays: Any) -> tuple[Replicas, Any]:
        apart = state if isinstance(state, Replicas) else take_apart(state, devices)
        given, calls, number = [_on(arrays, device) for device in devices], [], len(devices)
        for i, own in enumerate(apart.states):
            calls.append(next(threads).submit(steps[i % number], own, given[i % number]))
            if i < number:
                calls[i].result()  # The first call on each device compiles the program; the others must find it.
        states, scalars = zip(*(called.result() for called in calls), strict=True)
        return Replicas(states), put_together(Replicas(scalars))

    return call


def _on(arrays: Any, device: jax.Device) -> Any:
    """Returns arrays on one device, without a copy of those that are there already."""

    def copy(leaf: Any) -> Any:
        shards = leaf.addressable_shards if isinstance(leaf, jax.Array) and leaf.is_fully_replicated else []
        return next((shard.data for shard in shards if shard.device == device), leaf)

    return replicate(jax.tree.map(copy, arrays), [device])


def over_seeds(step: Step, mapping: str) -> Step:
    """Returns the step for the replicas of S seeds at once: state and scalars gain a leading axis `[S]`.

    Args:
        step: the step of one replica.
        mapping: 'map' runs one replica after another, with the bits of single runs; 'vmap' batches the replicas, which
            accelerators want.
    """
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
