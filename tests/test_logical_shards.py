"""Logical shards: the same bits on any number of devices, and the same mathematics as without them."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import METHODS, tiny
from veegan_jax.config.build import build
from veegan_jax.errors import UserError
from veegan_jax.experiments.run import feed
from veegan_jax.ops.axis import AXIS
from veegan_jax.parallel import devices as parallel
from veegan_jax.parallel.logical_shards import over_shards
from veegan_jax.train.compile import fused_step, initial_state, select_devices
from veegan_jax.train.state import TrainState

SHARDS = 4


def run(config, steps=3):
    experiment, devices = build(config), select_devices(config)
    arrays = feed(experiment.source, config.batch_size, devices)(0)(steps)
    state, scalars = fused_step(experiment, devices, steps)(
        parallel.replicate(initial_state(experiment), devices), arrays
    )
    return jax.tree.map(np.asarray, (state.params, state.opt_state, state.ema, scalars))


def assert_bits_do_not_depend_on_devices(fields, *counts, parallel="pmap"):
    one = run(tiny(**fields, logical_shards=SHARDS, devices=1))
    for count in counts:
        chex.assert_trees_all_equal(run(tiny(**fields, logical_shards=SHARDS, devices=count, parallel=parallel)), one)
    return one


@pytest.mark.parametrize("objective", METHODS)
def test_every_method_has_the_same_bits_on_any_number_of_devices(objective):
    one = assert_bits_do_not_depend_on_devices({"objective": objective}, 4)
    plain = run(tiny(objective, devices=1))
    chex.assert_trees_all_close(one, plain, rtol=5e-3, atol=1e-4)  # Adam makes much of small differences


def test_batch_normalisation_sums_over_all_shards():
    fields = {"model": "dcgan", "data": "stacked_digits"}
    config = {"smallest": 2}  # two convolutions, of which the second is normalised

    def normalised(**more):
        changed = tiny(**fields, **more)
        changed.dcgan.update(config)
        return run(changed, 1)

    one, two, four = (normalised(logical_shards=SHARDS, devices=count) for count in (1, 2, 4))
    chex.assert_trees_all_equal(one, two, four)
    chex.assert_trees_all_equal(one, normalised(logical_shards=SHARDS, devices=4, parallel="shard_map"))
    chex.assert_trees_all_close(one[3], normalised(devices=1)[3], rtol=1e-3, atol=1e-5)  # the losses


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "resnet", "data": "stacked_digits", "update_order": "alternating", "gen_updates": 2},
        {"data": "stream"},
        {"num_seeds": 2, "packing": 2, "spectral_norm": True, "penalty": {"r1": 0.1, "r2": 0.1}},
    ],
    ids=["resnet", "stream", "penalties"],
)
def test_options_have_the_same_bits_too(fields):
    assert_bits_do_not_depend_on_devices(fields, 2, parallel="shard_map")


def reduced(step, devices):
    """What a step of sums makes of 2, over that many devices."""

    def stepped(state, arrays):
        value, scalars = step(state.params, arrays)
        return dataclasses.replace(state, params=value), scalars

    call = parallel.over_devices(over_shards(stepped, SHARDS, devices, AXIS), jax.devices()[:devices], "pmap")
    state = TrainState(jnp.int32(0), jax.random.key(0), jnp.float32(2.0), {}, {})
    after, scalars = call(state, jnp.arange(3.0))
    return np.asarray(after.params), jax.tree.map(np.asarray, scalars)


def test_sums_by_hand():
    def step(state, arrays):
        mine = state + jax.lax.axis_index(AXIS).astype(jnp.float32) * arrays  # 2, 2 + i, 2 + 2i
        mean = jax.lax.pmean(mine, AXIS)
        spread = jax.lax.psum(jnp.square(mine - mean), AXIS)  # of a sum of a sum
        return jax.lax.psum(state, AXIS) / SHARDS, {"mean": mean, "spread": spread, "kept": arrays}

    for devices in (1, 2, 4):
        state, scalars = reduced(step, devices)
        assert state == 2.0
        np.testing.assert_array_equal(scalars["mean"], [2.0, 3.5, 5.0])
        np.testing.assert_array_equal(scalars["spread"], [0.0, 5.0, 20.0])
        np.testing.assert_array_equal(scalars["kept"], [0.0, 1.0, 2.0])


def test_sums_in_loops_and_calls_and_their_gradients():
    def loss(state, index):
        def turn(carry, x):
            carry = carry + jax.jit(lambda v: jax.lax.psum(v * x, AXIS))(index * carry)
            return carry, carry

        return sum(jnp.sum(part) for part in jax.lax.scan(turn, state, jnp.arange(1.0, 4.0), reverse=True))

    def step(state, arrays):
        index = jax.lax.axis_index(AXIS).astype(jnp.float32)
        value, slope = jax.value_and_grad(loss)(state, index)
        return state, {"value": jax.lax.pmean(value, AXIS), "slope": jax.lax.psum(slope, AXIS)}

    # Shards 0 to 3 sum to 6, so that the carry is multiplied by 1 + 6x: 19, 13, 7; the value is linear in the state.
    expected = 2.0 * (19 + 19 * 13 + 2 * 19 * 13 * 7)
    found = [reduced(step, devices)[1] for devices in (1, 2, 4)]
    chex.assert_trees_all_equal(*found)
    np.testing.assert_allclose(found[0]["value"], expected)
    np.testing.assert_allclose(found[0]["slope"], SHARDS * expected / 2.0)


def test_what_is_no_sum_is_refused():
    with pytest.raises(NotImplementedError, match="pmax"):
        reduced(lambda state, arrays: (state, jax.lax.pmax(arrays, AXIS)), 2)


def test_shards_must_divide():
    with pytest.raises(UserError, match=r"config.logical_shards is 3, over 2 devices; it must divide"):
        select_devices(tiny(logical_shards=3, devices=2))
    with pytest.raises(UserError, match=r"it must divide by config.logical_shards 8 × packing 4, as 32 does"):
        select_devices(tiny(logical_shards=8, packing=4, batch_size=16))
