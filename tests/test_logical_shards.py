"""Logical shards: the same bits on any number of devices, and the same mathematics as without them."""

import collections
import dataclasses
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import METHODS, slow, tiny
from tests.steps import GradientStep, assert_close, trained
from veegan_jax.ops.axis import AXIS
from veegan_jax.parallel import logical_shards
from veegan_jax.parallel.devices import over_devices, over_seeds
from veegan_jax.parallel.logical_shards import Shards, over_shards
from veegan_jax.train.compile import seed_mapping
from veegan_jax.train.state import TrainState

SHARDS = 4

# By hand: steps of a few operations, which compile in no time.


def variance(state, arrays):
    """The example of the module's docstring, which also returns the mean."""
    x = jax.lax.axis_index(AXIS).astype(jnp.float32) * arrays
    mean = jax.lax.pmean(x, AXIS)
    var = jax.lax.pmean((x - mean) ** 2, AXIS)
    return state, {"mean": mean, "var": var}


def normalised(state, arrays):
    """A step of gradient descent on two losses that share a layer with batch normalisation, on a stream's batch."""

    def layer(params, x):
        h = x @ params["w"]
        mean = jax.lax.pmean(jnp.mean(h, 0), AXIS)
        var = jax.lax.pmean(jnp.mean(jnp.square(h), 0), AXIS) - jnp.square(mean)
        return jnp.tanh((h - mean[None]) * jax.lax.rsqrt(var + 1e-5)[None])

    def loss(params):
        x = arrays[0][0]
        disc = jnp.mean(jax.nn.softplus(layer(params, x) @ params["v"]))
        gen = jnp.mean(jnp.square(layer(params, x) @ jax.lax.stop_gradient(params["v"])))
        return disc + gen

    value, grads = jax.lax.pmean(jax.value_and_grad(loss)(state.params), AXIS)
    params = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, grads)
    return dataclasses.replace(state, params=params), {"loss": value}


def a_state(params):
    return TrainState(jnp.int32(0), jax.random.key(0), params, {}, {})


def layer_and_batches():
    rng = np.random.default_rng(0)
    shapes = {"w": (2, 8), "v": (8,), "x": (1, 16, 2)}
    w, v, x = (rng.standard_normal(shape).astype(np.float32) for shape in shapes.values())
    return a_state({"w": jnp.asarray(w), "v": jnp.asarray(v)}), (x, np.int32(0))


def on_devices(step, devices, *, split=False, parallel="pmap"):
    return over_devices(
        over_shards(step, SHARDS, devices, AXIS, split=split), jax.devices()[:devices], parallel, split=split
    )


def flattened(step, *inputs):
    traced = jax.make_jaxpr(step, axis_env=[(AXIS, SHARDS)])(*inputs)
    return logical_shards._flattened(traced, Shards(AXIS, SHARDS, 1, jnp.int32(0))).jaxpr


def names(eqns):
    return [eqn.primitive.name for eqn in eqns]


def test_the_stages_of_the_example_are_those_of_the_docstring():
    plan = logical_shards._Plan(flattened(variance, a_state(jnp.float32(2)), jnp.arange(3.0)), [], AXIS)
    assert [tuple(map(names, stage)) for stage in plan.stages] == [
        ([], ["axis_index", "convert_element_type", "mul"]),
        (["psum", "div"], ["sub", "integer_pow"]),
        (["psum", "div"], []),
    ]


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_sums_by_hand(devices):
    def step(state, arrays):
        return state, {**variance(state, arrays)[1], "sum": jax.lax.psum(state.params, AXIS), "kept": arrays}

    state, scalars = on_devices(step, devices)(a_state(jnp.float32(2)), jnp.arange(3.0))
    assert state.params == 2.0
    # Shards 0 to 3 have 0, a, 2a and 3a of a = (0, 1, 2): their mean is 1.5 a, and their variance 1.25 a².
    np.testing.assert_array_equal(scalars["mean"], [0.0, 1.5, 3.0])
    np.testing.assert_array_equal(scalars["var"], [0.0, 1.25, 5.0])
    np.testing.assert_array_equal(scalars["sum"], SHARDS * 2.0)
    np.testing.assert_array_equal(scalars["kept"], [0.0, 1.0, 2.0])


def test_sums_in_loops_and_calls_and_their_gradients():
    def loss(state, index):
        def turn(carry, x):
            carry = carry + jax.jit(lambda v: jax.lax.psum(v * x, AXIS))(index * carry)
            return carry, carry

        return sum(jnp.sum(part) for part in jax.lax.scan(turn, state, jnp.arange(1.0, 4.0), reverse=True))

    def step(state, arrays):
        index = jax.lax.axis_index(AXIS).astype(jnp.float32)
        value, slope = jax.value_and_grad(loss)(state.params, index)
        return state, {"value": jax.lax.pmean(value, AXIS), "slope": jax.lax.psum(slope, AXIS)}

    # Shards 0 to 3 sum to 6, so that the carry is multiplied by 1 + 6x: 19, 13, 7; the value is linear in the state.
    expected = 2.0 * (19 + 19 * 13 + 2 * 19 * 13 * 7)
    found = [on_devices(step, devices)(a_state(jnp.float32(2)), jnp.zeros(()))[1] for devices in (1, 2, 4)]
    chex.assert_trees_all_equal(*jax.tree.map(np.asarray, found))
    np.testing.assert_allclose(found[0]["value"], expected)
    np.testing.assert_allclose(found[0]["slope"], SHARDS * expected / 2.0)


@pytest.mark.parametrize(
    "communicate",
    [
        lambda x: jax.lax.pmax(x, AXIS),
        lambda x: jax.lax.psum(x, AXIS, axis_index_groups=[[0, 1], [2, 3]]),
    ],
    ids=["pmax", "psum"],
)
def test_what_is_no_sum_over_all_shards_is_refused(communicate, request):
    with pytest.raises(NotImplementedError, match=f"by sums over all of them only, not by {request.node.callspec.id}"):
        flattened(lambda x: communicate(x), jnp.arange(3.0))


# What hides the number of devices from XLA. Each of these tests was seen to fail without what it names.


def test_xla_compiles_the_stages_alike_for_any_number_of_devices():
    """Fails without `opaque_zero`, without `_at_least_two`, without `_compiled_apart` and without `_Once`."""
    found = []
    for devices in (1, 2, 4):
        call = jax.jit(on_devices(normalised, devices, split=True, parallel="shard_map"))
        found.append(operations_of_branches(call.lower(*layer_and_batches()).compile().as_text()))
    # Each of four stages is one branch of a condition, whose other branch never runs.
    assert [len(branches) for branches in found] == [8, 8, 8]
    assert found[0] == found[1] == found[2]


def operations_of_branches(program):
    """Returns how often each operation is in each branch of a compiled program, given as text, and in what it calls."""
    computations, current = {}, []
    for line in program.splitlines():
        if header := re.match(r"(?:ENTRY )?%?([\w.\-]+) .*\{$", line):
            current = computations[header[1]] = []
        current.append(line)

    def called(line):
        named = r"(?:calls|to_apply|body|condition|\w+_computations?)=(?:\{([^}]*)\}|(%[\w.\-]+))"
        return [name.strip(" %") for found in re.findall(named, line) for name in "".join(found).split(",")]

    def operations(name):
        found = collections.Counter()
        for line in computations[name][1:]:
            if operation := re.search(r" = .*? ([a-z][\w\-]*)\(", line):
                found[operation[1]] += 1
            for inner in called(line):
                found += operations(inner)
        return found

    conditions = [line for lines in computations.values() for line in lines if " conditional(" in line]
    moves = {"fusion", "parameter", "get-tuple-element", "tuple", "constant", "bitcast", "copy"}
    branches = [operations(name) for line in conditions for name in called(line)]
    return [{name: count for name, count in branch.items() if name not in moves} for branch in branches]


def test_losses_that_share_a_layer_run_it_once():
    """Fails without `_Once`: XLA does not see that what follows a sum over shards is the same in both losses."""
    state, (batches, first) = layer_and_batches()
    flat = names(flattened(normalised, state, (batches[:, : 16 // SHARDS], first)).eqns)
    # Forward h, and one product with v for each loss; backward for v once, for h twice, and for w once.
    assert collections.Counter(flat)["dot_general"] == 7
    assert collections.Counter(flat)["tanh"] == 1


def test_stages_of_batched_seeds_stay_conditions():
    """Fails without `_one_zero_for_all_seeds`: a condition on a batched number runs both its branches, and selects."""
    step = over_seeds(over_shards(variance, SHARDS, 1, AXIS), "vmap")
    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), a_state(jnp.float32(2)))
    program = jax.make_jaxpr(step, axis_env=[(AXIS, 1)])(states, jnp.arange(3.0))
    assert names(program.eqns).count("cond") == 3


# Real steps.


@pytest.mark.parametrize("objective", [m if m == "veegan" else slow(m) for m in METHODS])
def test_every_method_has_the_gradients_of_the_whole_batch_and_the_same_bits_on_any_number_of_devices(objective):
    # What is run on logical shards is the step as traced for an axis of four devices. So the first assertion would also
    # find a method whose losses or gradients on several devices are not those of the whole batch.
    step = GradientStep(tiny(objective))
    sharded = step(devices=1, shards=SHARDS)
    assert_close(sharded, step(devices=1))
    chex.assert_trees_all_equal(step(devices=4, shards=SHARDS), sharded)


def test_batch_normalisation_sums_over_all_shards():
    config = tiny("gan", "dcgan", "stacked_digits")
    # D has two convolutions, of which the second is normalised, as is G's first layer.
    config.dcgan.update({"smallest": 2, "kernel_size": 1})
    step = GradientStep(config)
    sharded = step(devices=1, shards=SHARDS)
    assert_close(sharded, step(devices=1), rtol=1e-3, atol=1e-5)  # a variance is a difference of large numbers
    chex.assert_trees_all_equal(step(devices=4, shards=SHARDS), sharded)


@pytest.mark.slow
def test_convolutions_have_the_same_bits_on_any_number_of_devices():
    config = tiny("gan", "resnet", "stacked_digits")
    config.resnet.blocks = 1
    step = GradientStep(config)
    chex.assert_trees_all_equal(step(devices=1, shards=SHARDS), step(devices=4, shards=SHARDS))


@pytest.mark.slow
def test_a_run_with_every_option_has_the_same_bits_on_two_devices_by_shard_map():
    # Only here: several turns in a step, penalties, packed examples, several seeds, and data in memory.
    fields = {"update_order": "alternating", "gen_updates": 2, "penalty": {"r1": 0.1, "r2": 0.1}}
    fields |= {"spectral_norm": True, "packing": 2, "num_seeds": 2, "logical_shards": SHARDS}
    one = trained(tiny("gan", **fields, devices=1))
    chex.assert_trees_all_equal(trained(tiny("gan", **fields, devices=2, parallel="shard_map")), one)


def test_a_run_on_a_stream_has_the_same_bits_on_four_devices():
    # Only here: whole steps of VEEGAN, with Adam and moving averages, beside those without logical shards; and images.
    fields = {"objective": "veegan", "data": "stream"}
    one, four = (trained(tiny(**fields, logical_shards=SHARDS, devices=count)) for count in (1, 4))
    chex.assert_trees_all_equal(one, four)
    # Adam magnifies small differences.
    chex.assert_trees_all_close(one, trained(tiny(**fields, devices=1)), rtol=5e-3, atol=1e-4)


def test_seeds_are_mapped_on_shards_unless_the_config_batches_them(monkeypatch):
    """Batched seeds would have other bits on another number of devices, so accelerators map them by default."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    sharded = {"logical_shards": SHARDS}
    for fields, mapping in ((sharded, "map"), ({**sharded, "seed_mapping": "vmap"}, "vmap"), ({}, "vmap")):
        assert seed_mapping(tiny(num_seeds=2, **fields), 4) == mapping
