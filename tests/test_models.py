"""Shapes and dtypes of every architecture, and packing."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from veegan_jax.models import MODELS
from veegan_jax.models.network import INITIALISERS, Network, packed

SIZES = {"shape": (8, 8, 3), "latent_dim": 5}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_shapes_and_dtypes(name, dtype):
    nets = MODELS[name](**SIZES, bounded=True, dtype=dtype)
    z, eps, x = jnp.ones((4, 5)), jnp.ones((4, 0)), jnp.ones((4, 8, 8, 3))
    cases = {"gen": ((z, eps), (4, 8, 8, 3)), "rec": ((x,), (4, 5)), "disc": ((z, x), (4,))}
    for net, (inputs, expected) in cases.items():
        params = nets[net].init(jax.random.key(0), *(i.shape[1:] for i in inputs))
        chex.assert_tree_all_finite(params)
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
        output = nets[net].apply(params, *inputs)
        chex.assert_shape(output, expected)
        assert output.dtype == jnp.float32


@pytest.mark.parametrize("name", sorted(MODELS))
def test_bfloat16_computes_in_bfloat16(name):
    outputs = []
    for dtype in ("float32", "bfloat16"):
        net = MODELS[name](**SIZES, bounded=False, dtype=dtype)["rec"]
        outputs.append(net.apply(net.init(jax.random.key(0), (8, 8, 3)), jnp.ones((4, 8, 8, 3))))
    difference = jnp.max(jnp.abs(outputs[0] - outputs[1]))
    assert 0 < difference < 0.05


def test_bounded_generator_stays_in_range():
    net = MODELS["mlp"](**SIZES, bounded=True, dtype="float32")["gen"]
    params = net.init(jax.random.key(0), (5,), (0,))
    x = net.apply(params, 100 * jnp.ones((4, 5)), jnp.ones((4, 0)))
    assert jnp.max(jnp.abs(x)) <= 1


@pytest.mark.parametrize("init", sorted(INITIALISERS))
def test_initialisers(init):
    net = MODELS["mlp"](**SIZES, bounded=False, dtype="float32", init=init)["rec"]
    chex.assert_tree_all_finite(net.init(jax.random.key(0), (8, 8, 3)))


def test_packing_concatenates_neighbours_along_the_last_axis():
    echo = Network(init=lambda key, *shapes: shapes, apply=lambda params, *inputs: inputs)
    two = packed(echo, 2)
    assert two.init(jax.random.key(0), (3,), (8, 8, 1)) == ((6,), (8, 8, 2))
    z = jnp.arange(12.0).reshape(4, 3)
    x = jnp.arange(4 * 64.0).reshape(4, 8, 8, 1)
    packed_z, packed_x = two.apply(None, z, x)
    np.testing.assert_array_equal(packed_z, np.arange(12.0).reshape(2, 6))
    chex.assert_shape(packed_x, (2, 8, 8, 2))
    np.testing.assert_array_equal(packed_x[1, ..., 0], x[2, ..., 0])
    np.testing.assert_array_equal(packed_x[1, ..., 1], x[3, ..., 0])
