"""Distances of distributions, against closed forms."""

import numpy as np
import pytest

from veegan_jax.metrics.two_sample import frechet_distance, kernel_distance, mmd, sliced_wasserstein

RNG = np.random.default_rng(0)


def normal(n, d=2):
    return RNG.standard_normal((n, d)).astype(np.float32)


def test_sliced_wasserstein_of_a_shift_a_scaling_and_a_permutation():
    x = normal(500)
    np.testing.assert_allclose(sliced_wasserstein(x + np.float32([3, 4]), x), 5 / np.sqrt(2), rtol=1e-5)
    # Scaled by a, every projection is transported by (a − 1) times itself: the root of E‖x‖²/2.
    np.testing.assert_allclose(
        sliced_wasserstein(3 * x, x), 2 * np.sqrt(np.mean(np.sum(np.square(x), -1)) / 2), rtol=1e-5
    )
    assert sliced_wasserstein(x[::-1], x) == 0
    with pytest.raises(ValueError, match="must be the same"):
        sliced_wasserstein(x[1:], x)


def test_sliced_wasserstein_of_two_gaussians():
    # N(0, I) and N(0, diag(4, 4)): W₂ of every projection is 2 − 1.
    np.testing.assert_allclose(sliced_wasserstein(2 * normal(20_000), normal(20_000)), 1, atol=0.03)


def test_frechet_distance_of_gaussians_by_hand():
    x = RNG.standard_normal((200_000, 3))
    y = RNG.standard_normal((200_000, 3)) @ np.diag([2.0, 1.0, 0.5]) + np.array([1.0, 0.0, 2.0])
    np.testing.assert_allclose(frechet_distance(x, y), 5 + (2 - 1) ** 2 + (0.5 - 1) ** 2, rtol=0.02)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_where_covariances_do_not_commute():
    rotation = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    x, y = normal(50_000) @ np.diag([3.0, 0.5]), normal(50_000) @ np.diag([2.0, 1.0]) @ rotation
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    from scipy.linalg import sqrtm

    by_scipy = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    np.testing.assert_allclose(frechet_distance(x, y), by_scipy, rtol=1e-6)


def test_frechet_distance_of_fewer_examples_than_features():
    x = normal(20, 50)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(frechet_distance(x + 1, x), 50, rtol=1e-4)


def brute_force(kernel, x, y):
    def mean(a, b, distinct):
        pairs = [kernel(p, q) for i, p in enumerate(a) for j, q in enumerate(b) if not distinct or i != j]
        return np.mean(pairs)

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


def test_kernel_distance_is_that_of_its_definition():
    x, y = np.float64(normal(12, 5)), np.float64(normal(9, 5) + 0.5)
    np.testing.assert_allclose(kernel_distance(x, y), brute_force(lambda p, q: (p @ q / 5 + 1) ** 3, x, y), rtol=1e-6)


def test_mmd_is_that_of_its_definition():
    x, y = np.float64(normal(12)), np.float64(normal(9) + 0.5)
    median = np.median([np.linalg.norm(p - q) for i, p in enumerate(y) for q in y[:i]])

    def kernel(p, q):
        return np.mean([np.exp(-np.sum((p - q) ** 2) / (2 * (median / 2**i) ** 2)) for i in range(8)])

    np.testing.assert_allclose(mmd(x, y), brute_force(kernel, x, y), rtol=1e-4)


@pytest.mark.parametrize("distance", [mmd, kernel_distance])
def test_discrepancies_are_unbiased(distance):
    values = [distance(normal(60, 4), normal(80, 4)) for _ in range(300)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error
    assert min(values) < 0 < max(values)
    assert distance(normal(60, 4) + 1, normal(80, 4)) > 10 * np.std(values)


def test_mmd_sees_what_is_lost_within_a_mode_of_many():
    means = 4 * np.float32([[i, j] for i in range(5) for j in range(5)])
    real, other = (means[RNG.integers(25, size=1000)] + 0.3 * normal(1000) for _ in range(2))
    collapsed = means[RNG.integers(25, size=1000)]
    assert mmd(collapsed, real) > 8 * abs(mmd(other, real))
