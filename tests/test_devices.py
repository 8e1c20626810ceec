"""Seeds and devices change nothing: neither bits (of mapped seeds) nor gradients (beyond float error).

test_logical_shards.py compares the gradients of every method on one device with those on an axis of four shards.
"""

import functools

import chex
import jax
import pytest

from tests.helpers import tiny
from tests.steps import GradientStep, assert_close, trained
from veegan_jax.errors import UserError
from veegan_jax.train.compile import select_devices

SEEDS = (0, 1, 2)


@functools.cache
def trained_at_once(objective, data, mapping="map", devices=1):
    """The replicas of all seeds; three tests use those that are mapped on one device."""
    return trained(tiny(objective, data=data, num_seeds=len(SEEDS), seed_mapping=mapping, devices=devices))


@functools.cache
def trained_apart(objective, data):
    """The single replica of each seed; two tests use it."""
    return trained(tiny(objective, data=data), *SEEDS)


def assert_each_replica(check, many, singles):
    for i, single in enumerate(singles):
        check(*(jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i, tree in ((i, many), (0, single))))


@pytest.mark.parametrize(("mapping", "devices"), [("map", 1), ("side_by_side", 1), ("side_by_side", 2)])
@pytest.mark.parametrize(("objective", "data"), [("veegan", "ring"), ("gan", "stacked_digits"), ("veegan", "stream")])
def test_replicas_are_bit_identical_to_single_runs(objective, data, mapping, devices):
    many = trained_at_once(objective, data, mapping, devices)
    assert_each_replica(chex.assert_trees_all_equal, many, trained_apart(objective, data))


def test_vmapped_seeds_are_close_to_single_runs():
    close = functools.partial(chex.assert_trees_all_close, rtol=1e-3, atol=1e-5)
    many = trained(tiny("veegan", num_seeds=len(SEEDS), seed_mapping="vmap"))
    assert_each_replica(close, many, trained_apart("veegan", "ring"))


def test_four_devices_train_as_one_by_pmap_and_by_shard_map():
    fields = {"num_seeds": len(SEEDS), "seed_mapping": "map", "devices": 4}
    four = trained(tiny("veegan", **fields, parallel="pmap"))
    chex.assert_trees_all_equal(four, trained(tiny("veegan", **fields, parallel="shard_map")))
    one = trained_at_once("veegan", "ring")
    chex.assert_trees_all_close(four, one, rtol=1e-2, atol=1e-4)
    # Neither has an axis of devices.
    chex.assert_trees_all_equal_shapes(four, one)


@pytest.mark.parametrize(
    ("objective", "parallel", "steps"),
    [
        # An example's data and noise belong together, so that each device must get its own part of a batch.
        ("veegan", "pmap", 1),
        # The objective itself sums over devices, and finds their axis by its name, which pmap and shard_map bind in
        # ways of their own; and each of several steps takes its own batch of a stream.
        ("unrolled", "shard_map", 3),
    ],
)
def test_gradients_on_four_devices_are_those_on_one(objective, parallel, steps):
    step = GradientStep(tiny(objective), steps=steps)
    assert_close(step(devices=4, parallel=parallel), step(devices=1, parallel=parallel))


def test_too_many_devices_and_uneven_batches_are_refused():
    with pytest.raises(UserError, match=r"config.devices is 64; this machine has 4 \(cpu\)"):
        select_devices(tiny(devices=64))
    with pytest.raises(UserError, match=r"batch_size is 18; it must divide by 4 devices × packing 1, as 16 or 20 does"):
        select_devices(tiny(devices=4, batch_size=18))
    with pytest.raises(UserError, match=r"4 devices × packing 3, as 12 or 24 does"):
        select_devices(tiny(devices=4, batch_size=15, packing=3))
    with pytest.raises(UserError, match=r"config.logical_shards is 3, over 2 devices; it must divide"):
        select_devices(tiny(logical_shards=3, devices=2))
    with pytest.raises(UserError, match=r"it must divide by config.logical_shards 8 × packing 4, as 32 does"):
        select_devices(tiny(logical_shards=8, packing=4, batch_size=16))
