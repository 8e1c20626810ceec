"""Draws: the hash is JAX's, and what is made of its words has the distribution that it is named for."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from veegan_jax.ops import draws

N = 1_000_001


@pytest.fixture(scope="module")
def normals():
    return np.asarray(jax.jit(lambda key: draws.normals(key, N))(jax.random.key(3)), np.float64)


def test_the_hash_is_that_of_jax():
    key = jax.random.key(2**32 - 5)
    counters = jax.random.bits(jax.random.key(1), (2, 1000))
    ours = draws.threefry(key, *counters)
    np.testing.assert_array_equal(jnp.concatenate(ours), threefry_2x32(jax.random.key_data(key), counters.ravel()))


@pytest.mark.parametrize("data", [0, 7, 2**31 - 1, np.int32(12), jnp.int32(5)])
def test_fold_in_is_that_of_jax(data):
    key = jax.random.key(5)
    assert draws.fold_in(key, data) == jax.random.fold_in(key, data)


def test_normals_have_the_moments_and_the_distribution_function_of_normals(normals):
    """All bounds are five standard errors; a probability's is that of the normal distribution function."""
    assert normals.shape == (N,)
    assert np.all(np.isfinite(normals))
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10_170)):
        assert np.mean(normals**power) == pytest.approx(moment, abs=5 * math.sqrt(variance / N))
    for x in (-4, -3, -2, -1, -0.5, -0.01, 0, 0.01, 0.5, 1, 2, 3, 4):
        p = 0.5 * math.erfc(-x / math.sqrt(2))
        assert np.mean(normals < x) == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / N))
    # The Kolmogorov-Smirnov statistic exceeds 1.95 / √n with probability 0.001.
    p = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in np.sort(normals)[::10]])
    assert np.max(np.abs(p - np.arange(0, N, 10) / N)) < 1.95 / math.sqrt(N)


def test_normals_are_fine_grained_and_independent_of_each_other(normals):
    assert len(np.unique(normals)) > 0.97 * N  # float32 itself repeats some of a million normals
    half = (N + 1) // 2
    pairs = {"of one hash": (normals[: half - 1], normals[half:]), "neighbours": (normals[:-1], normals[1:])}
    for x, y in pairs.values():
        for a, b in ((x, y), (x**2 - 1, y**2 - 1), (x, y**2 - 1)):
            assert np.mean(a * b) == pytest.approx(0, abs=5 * math.sqrt(np.mean(a**2) * np.mean(b**2) / len(x)))


def test_the_direction_is_that_of_an_angle_with_steps_of_a_word():
    """All four quarters of the circle, and the middle and the ends of each."""
    lower = np.array([0, 1, 2**28, 2**29 - 1, 2**29, 2**30 - 1], np.uint32)
    words = (np.arange(4, dtype=np.uint32)[:, None] << np.uint32(30)) | lower
    cos, sin = draws._direction(jnp.asarray(words))
    t = np.where(lower < 2**29, lower, lower - 2.0**30) * (np.pi / 2 / 2**30)
    angles = np.stack([t, np.pi / 2 - t, np.pi + t, 3 * np.pi / 2 - t])
    np.testing.assert_allclose(cos, np.cos(angles), atol=4e-7)
    np.testing.assert_allclose(sin, np.sin(angles), atol=4e-7)


def test_the_tails_reach_as_far_as_documented(monkeypatch):
    """The least and the largest word give the largest and the least radius."""
    words = jnp.asarray([0, 2**32 - 1], jnp.uint32)
    monkeypatch.setattr(draws, "_words", lambda key, n: (words, jnp.zeros_like(words)))
    largest, least, *_ = np.asarray(draws.normals(jax.random.key(0), 4))
    assert largest == pytest.approx(math.sqrt(2 * 32 * math.log(2)))
    assert 0 <= abs(least) < 1e-3


def test_integers_and_uniforms_cover_their_range_evenly():
    integers = np.asarray(draws.integers(jax.random.key(0), 100_000, 7))
    assert integers.dtype == np.int32
    np.testing.assert_allclose(np.bincount(integers, minlength=7), 100_000 / 7, atol=5 * math.sqrt(100_000 / 7))
    uniforms = np.asarray(draws.uniforms(jax.random.key(0), 100_000), np.float64)
    assert uniforms.min() >= 0
    assert uniforms.max() < 1
    np.testing.assert_array_equal(uniforms * 2**24 % 1, 0)
    counts, _ = np.histogram(uniforms, 50, (0, 1))
    np.testing.assert_allclose(counts, 2000, atol=5 * math.sqrt(2000))


@pytest.mark.parametrize("draw", [lambda key: draws.normals(key, 5), lambda key: draws.integers(key, 5, 10**6)])
def test_draws_of_many_keys_are_those_of_each_key(draw):
    keys = jax.random.split(jax.random.key(0), 20)
    together = jax.vmap(draw)(keys)
    np.testing.assert_allclose(together, jnp.stack([draw(key) for key in keys]), rtol=1e-6)
    assert len(np.unique(together)) > 95
