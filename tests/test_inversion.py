"""GAN inversion finds the nearest latents there are, by the right gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from veegan_jax.inference.inversion import invert
from veegan_jax.models import MODELS

K = 4


@pytest.fixture(scope="module")
def net():
    nets = MODELS["mlp"](shape=(4, 4, 2), bounded=True, dtype="float32", gen_hidden=(64, 64), activation="tanh")
    return nets.gen, nets.gen.init(jax.random.key(0), (K,), (0,))


@pytest.fixture(scope="module")
def generate(net):
    gen, params = net
    return lambda z: gen.apply(params, z, jnp.zeros((z.shape[0], 0)))


@pytest.fixture(scope="module")
def inverted(generate):
    return jax.jit(functools.partial(invert, generate), static_argnames="iterations")


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def test_recovers_the_latents_of_generated_images(generate, inverted):
    z = normal(1, 64, K)
    found = inverted(generate(z), normal(2, 64, 3, K))
    assert float(found.error.max()) < 1e-8
    np.testing.assert_allclose(found.z, z, atol=2e-3)
    np.testing.assert_allclose(
        found.error, jnp.mean(jnp.square(generate(found.z) - generate(z)), (1, 2, 3)), atol=1e-12
    )


def test_an_example_out_of_reach_ends_at_a_stationary_point_by_finite_differences(generate, inverted):
    x = jnp.clip(generate(normal(1, 6, K)) + 0.3 * normal(3, 6, 4, 4, 2), -1, 1)
    found = inverted(x, normal(2, 6, 3, K), iterations=300)

    def error(z):
        return np.mean(np.square(np.asarray(generate(jnp.asarray(z, jnp.float32)) - x, np.float64)), axis=(1, 2, 3))

    np.testing.assert_allclose(found.error, error(found.z), rtol=1e-5)
    start = error(np.asarray(normal(2, 6, 3, K))[:, 0])
    for k in range(K):
        h = 1e-2 * np.eye(K, dtype=np.float32)[k : k + 1]
        slope = (error(found.z + h) - error(found.z - h)) / 2e-2
        curvature = (error(found.z + h) - 2 * error(found.z) + error(found.z - h)) / 1e-4
        assert np.all(np.abs(slope) < 1e-3), slope
        assert np.all(curvature > -1e-4)
    assert np.all(error(found.z) < start)


def test_the_first_step_follows_the_gradient_of_finite_differences(generate):
    """The first step is −t times the gradient, since there is no memory yet."""
    x, z0 = generate(normal(1, 1, K)), normal(2, 1, 1, K)
    step = np.asarray(invert(generate, x, z0, iterations=1).z[0] - z0[0, 0], np.float64)

    def error(z):
        return float(jnp.mean(jnp.square(generate(z[None]) - x)))

    z, basis = z0[0, 0], 1e-2 * np.eye(K, dtype=np.float32)
    gradient = np.array([(error(z + h) - error(z - h)) / 2e-2 for h in basis])
    np.testing.assert_allclose(-step / np.linalg.norm(step), gradient / np.linalg.norm(gradient), atol=2e-3)


def test_minimum_of_a_quadratic_by_hand():
    scale = jnp.asarray([[1.0, 3.0, 10.0]])
    x = jnp.asarray([[1.0, -3.0, 5.0], [0.0, 6.0, -20.0]])
    found = invert(lambda z: z * scale, x, normal(0, 2, 2, 3), iterations=40)
    np.testing.assert_allclose(found.z, x / scale, atol=1e-4)
    # A coordinate that no latent moves stays as wrong as it is: (5² + 0 + 0)/3.
    flat = invert(lambda z: z * jnp.asarray([[0.0, 1.0, 1.0]]), jnp.asarray([[5.0, 1.0, 2.0]]), normal(0, 1, 2, 3))
    np.testing.assert_allclose(flat.error, [25 / 3], rtol=1e-5)


def test_best_start_is_kept():
    """(z² − 1)² + a slope has two minima: the start on the better side decides."""

    def well(z):
        return jnp.concatenate([jnp.square(z) - 1, 0.5 * (z - 1)], axis=-1)

    x, left, right = jnp.zeros((1, 2)), jnp.full((1, 1, 1), -1.0), jnp.full((1, 1, 1), 0.7)
    alone, both = invert(well, x, left), invert(well, x, jnp.concatenate([left, right], axis=1))
    assert float(alone.error[0]) > 0.3
    np.testing.assert_allclose(both.z, [[1]], atol=1e-3)
    assert float(both.error[0]) < 1e-6


def test_error_never_grows_with_iterations_and_where_a_generator_is_undefined():
    def broken(z):
        return jnp.where(jnp.abs(z) > 3, jnp.nan, jnp.sin(3 * z))

    x, z0 = normal(0, 20, 2), normal(1, 20, 2, 2)
    errors = [np.asarray(invert(broken, x, z0, iterations=n).error) for n in (0, 1, 5, 20)]
    assert np.isfinite(errors).all()
    assert (np.diff(errors, axis=0) <= 0).all()
    assert errors[-1].mean() < 0.5 * errors[0].mean()


def test_problems_are_independent_and_repeat_to_the_bit(generate, inverted):
    x, z0 = generate(normal(1, 8, K)), normal(2, 8, 3, K)
    whole, again = inverted(x, z0), inverted(x, z0)
    np.testing.assert_array_equal(whole.z, again.z)
    alone = inverted(x[5:6], z0[5:6])
    np.testing.assert_allclose(alone.z[0], whole.z[5], atol=1e-2)
