"""Replicas and devices change nothing: neither bits (of mapped seeds) nor gradients (beyond float error)."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.helpers import tiny
from veegan_jax.config.build import build
from veegan_jax.errors import UserError
from veegan_jax.objectives import OBJECTIVES
from veegan_jax.objectives.unrolled import unrolled
from veegan_jax.ops.axis import AXIS
from veegan_jax.parallel import devices as parallel
from veegan_jax.train.compile import fused_step, initial_state, select_devices
from veegan_jax.train.step import fuse, make_init, make_step, resident, streamed


def run(config, steps=6):
    experiment = build(config)
    devices = select_devices(config)
    call = fused_step(experiment, devices, steps)
    arrays = parallel.replicate(jnp.asarray(experiment.source.train), devices)
    state, scalars = call(parallel.replicate(initial_state(experiment), devices), arrays)
    return jax.tree.map(np.asarray, (state.params, state.opt_state, state.ema, scalars))


def replica(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


@pytest.mark.parametrize("data", ["ring", "stacked_digits"])
def test_mapped_seeds_are_bit_identical_to_single_runs(data):
    many = run(tiny(data=data, num_seeds=3, seed_mapping="map"))
    for i in range(3):
        chex.assert_trees_all_equal(replica(many, i), replica(run(tiny(data=data, seed=i)), 0))


def test_vmapped_seeds_are_close_to_single_runs():
    many = run(tiny(num_seeds=3, seed_mapping="vmap"))
    for i in range(3):
        chex.assert_trees_all_close(replica(many, i), replica(run(tiny(seed=i)), 0), rtol=1e-3, atol=1e-5)


def one_gradient_step(count, kind, objective="veegan", unroll=0):
    """One step of plain gradient descent, whose size is that of the gradient: Adam would hide a factor N."""
    experiment = build(tiny(objective, data="grid"))
    sgd = {"disc": optax.sgd(1.0), "gen": optax.sgd(1.0)}
    objective = experiment.objective
    objective = unrolled(objective, sgd["disc"], unroll) if unroll else objective
    step = make_step(objective, resident(experiment.source.sample), sgd, batch_size=16, axis=AXIS, shards=count)
    devices = jax.devices()[:count]
    state = jax.jit(make_init(objective, sgd, ema=False))(0)
    before = jax.tree.map(np.asarray, state.params)
    call = parallel.over_devices(step, devices, kind)
    arrays = parallel.replicate(jnp.asarray(experiment.source.train), devices)
    after, scalars = call(parallel.replicate(state, devices), arrays)
    moved = jax.tree.map(lambda a, b: np.asarray(a) - b, after.params, before)
    return moved, jax.tree.map(np.asarray, scalars)


@pytest.mark.parametrize(("kind", "objective"), [("shard_map", "veegan"), *(("pmap", o) for o in sorted(OBJECTIVES))])
def test_gradients_on_four_devices_are_those_on_one(kind, objective):
    one = one_gradient_step(1, kind, objective)
    four = one_gradient_step(4, kind, objective)
    chex.assert_trees_all_close(one, four, rtol=1e-4, atol=1e-6)
    assert all(np.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves(one[0]) if leaf.ndim == 2)


@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_unrolling_looks_ahead_by_the_gradients_of_the_whole_batch(kind):
    one, four = (one_gradient_step(count, kind, "gan", unroll=3) for count in (1, 4))
    chex.assert_trees_all_close(one, four, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_a_stream_is_split_over_devices_as_a_batch_is(kind):
    experiment = build(tiny("gan"))
    sgd = {"disc": optax.sgd(1.0), "gen": optax.sgd(1.0)}
    batches = np.asarray(jax.random.randint(jax.random.key(0), (3, 16, 2), 0, 9), np.uint8)

    def run(count):
        fetch = streamed(lambda x: x.astype(jnp.float32))
        step = make_step(experiment.objective, fetch, sgd, batch_size=16, axis=AXIS, shards=count)
        state = jax.jit(make_init(experiment.objective, sgd, ema=False))(0)
        devices = jax.devices()[:count]
        call = parallel.over_devices(fuse(step, 3), devices, kind, split=True)
        return jax.tree.map(np.asarray, call(parallel.replicate(state, devices), (batches, np.int32(0)))[0].params)

    chex.assert_trees_all_close(run(1), run(4), rtol=1e-4, atol=1e-5)


def test_pmap_and_shard_map_give_the_same_bits():
    chex.assert_trees_all_equal(run(tiny(devices=4, parallel="pmap")), run(tiny(devices=4, parallel="shard_map")))


def test_four_devices_train_as_one():
    four = run(tiny(devices=4, num_seeds=2))
    chex.assert_trees_all_close(four, run(tiny(devices=1, num_seeds=2)), rtol=1e-2, atol=1e-4)


def test_state_has_no_device_axis():
    experiment = build(tiny(devices=4))
    state = parallel.replicate(initial_state(experiment), jax.devices())
    shapes = jax.tree.map(jnp.shape, state.params)
    after, _ = fused_step(experiment, jax.devices(), 2)(
        state, parallel.replicate(experiment.source.train, jax.devices())
    )
    assert jax.tree.map(jnp.shape, after.params) == shapes


def test_too_many_devices_and_uneven_batches_are_refused():
    with pytest.raises(UserError, match=r"config.devices is 64; this machine has 4 \(cpu\)"):
        select_devices(tiny(devices=64))
    with pytest.raises(UserError, match=r"batch_size is 18; it must divide by 4 devices × packing 1, as 16 or 20 does"):
        select_devices(tiny(devices=4, batch_size=18))
    with pytest.raises(UserError, match=r"4 devices × packing 3, as 12 or 24 does"):
        select_devices(tiny(devices=4, batch_size=15, packing=3))
