"""Spectral normalisation divides every kernel of the discriminator by its largest singular value."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from veegan_jax.config.build import build
from veegan_jax.models import MODELS
from veegan_jax.models.network import Network, spectrally_normalised

KERNELS = Network(init=lambda key: None, apply=lambda params: params, freeze=lambda params: params)


@pytest.mark.parametrize("shape", [(30, 20), (1, 8), (8, 1), (5, 5, 6, 12)])
def test_kernels_are_divided_by_their_largest_singular_value(shape):
    kernel = 3 * jax.random.normal(jax.random.key(0), shape)
    params = {"layer": {"kernel": kernel, "bias": jnp.full(shape[-1], 7.0)}}
    normalised = spectrally_normalised(KERNELS, iterations=100).apply(params)["layer"]
    sigma = np.linalg.svd(np.asarray(kernel).reshape(-1, shape[-1]), compute_uv=False)[0]
    np.testing.assert_allclose(normalised["kernel"], kernel / sigma, rtol=1e-3)
    np.testing.assert_array_equal(normalised["bias"], params["layer"]["bias"])


def test_ten_iterations_are_within_a_tenth():
    for seed in range(10):
        kernel = jax.random.normal(jax.random.key(seed), (200, 128))
        found = spectrally_normalised(KERNELS).apply({"layer": {"kernel": kernel}})["layer"]["kernel"]
        assert 1 <= np.linalg.norm(found, ord=2) < 1.1


def test_the_scale_of_a_kernel_makes_no_difference_and_has_no_gradient():
    kernel = jax.random.normal(jax.random.key(0), (30, 20))
    norm = spectrally_normalised(KERNELS, iterations=50)

    def output(scale):
        return jnp.sum(norm.apply({"layer": {"kernel": scale * kernel}})["layer"]["kernel"])

    np.testing.assert_allclose(output(5.0), output(1.0), rtol=1e-4)
    np.testing.assert_allclose(jax.grad(output)(2.0), 0.0, atol=1e-3)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_discriminator_alone_is_normalised(model):
    config = tiny("gan", model, "stacked_digits", spectral_norm=True)
    objective, plain = (build(c).objective for c in (config, tiny("gan", model, "stacked_digits")))
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    discs = [objective.nets["disc"], plain.nets["disc"]]
    params, plain_params = jax.jit(lambda key: [disc.init(key, (8, 8, 3)) for disc in discs])(jax.random.key(0))
    chex.assert_trees_all_equal(params, plain_params)
    larger = jax.tree_util.tree_map_with_path(lambda p, leaf: 3 * leaf if p[-1].key == "kernel" else leaf, params)
    normalised, unnormalised = (jax.jit(disc.apply) for disc in discs)
    logits = [normalised(p, x) for p in (params, larger)]
    chex.assert_tree_all_finite(logits)
    chex.assert_trees_all_close(*logits, rtol=1e-3, atol=1e-5)
    assert not np.allclose(logits[0], unnormalised(params, x))

    @jax.jit
    def generated(key):
        gen_params = objective.nets["gen"].init(key, (3,), (0,))
        return [o.nets["gen"].apply(gen_params, jnp.ones((2, 3)), jnp.ones((2, 0))) for o in (objective, plain)]

    chex.assert_trees_all_equal(*generated(jax.random.key(0)))
