"""Manifolds, bins and duplicates on samples whose scores are known."""

import time

import numpy as np
import pytest

from veegan_jax.data import SOURCES
from veegan_jax.metrics import METRICS
from veegan_jax.metrics.manifold import Bins, birthday_support, precision_recall

RNG = np.random.default_rng(0)


def grid(n, modes=25, std=0.05):
    means = SOURCES["grid"]().references["mixture"].means
    return (means[RNG.integers(modes, size=n)] + std * RNG.standard_normal((n, 2))).astype(np.float32)


def test_precision_and_recall_by_hand():
    # The third nearest neighbours are 3, 2, 2, 3 and 9 away: the manifold is [−3, 3], [−1, 3], [0, 4], [0, 6], [1, 19].
    real = np.float32([[0], [1], [2], [3], [10]])
    spread = np.float32([[-4], [-3], [2], [6.5], [20]])
    assert precision_recall(spread, real) == {"precision": 60, "recall": 100}
    # The radii are 0.3, 0.2, 0.2 and 0.3: of the real examples, 1 alone is within.
    narrow = np.float32([[1.0], [1.1], [1.2], [1.3]])
    assert precision_recall(narrow, real) == {"precision": 100, "recall": 20}


def test_same_distribution_scores_high_on_all():
    real = grid(2500)
    scores = [METRICS["plane"].make(None, None).score(grid(2500), real) for _ in range(10)]
    mean = {name: np.mean([score[name] for score in scores]) for name in scores[0]}
    assert mean["precision"] > 95
    assert mean["recall"] > 95
    assert 2 < mean["ndb"] < 8  # 5 % of bins differ by chance
    assert abs(mean["mmd"]) < 3e-4
    assert mean["sliced_wasserstein"] < 0.3
    np.testing.assert_allclose(birthday_support(real, real), mean["support"], rtol=0.3)


def test_a_manifold_needs_more_examples_than_neighbours():
    with pytest.raises(ValueError, match="a 3-NN manifold needs more than 3 examples, and there are 3"):
        precision_recall(grid(3), grid(10))


def test_missing_modes_lower_recall_and_not_precision():
    real, score = grid(2500), METRICS["plane"].make(None, None).score
    missing = score(grid(2500, modes=15), real)
    np.testing.assert_allclose(missing["recall"], 60, atol=4)  # 15 of 25
    assert missing["precision"] > 95
    assert missing["ndb"] > 60
    whole = score(grid(2500), real)
    assert missing["mmd"] > 10 * abs(whole["mmd"])
    np.testing.assert_allclose(missing["support"] / whole["support"], 15 / 25, rtol=0.3)


def test_noise_lowers_precision_and_not_recall():
    noisy = precision_recall(grid(2500, std=0.3), grid(2500))
    assert noisy["precision"] < 30
    assert noisy["recall"] > 95


def test_points_in_the_place_of_modes_are_precise_and_cover_nothing():
    real = grid(2500)
    points = np.repeat(grid(25), 100, axis=0)
    score = METRICS["manifold"].make(None, None).score(points, real)
    assert score["precision"] > 80
    assert score["recall"] == 0
    assert score["ndb"] == 100
    np.testing.assert_allclose(score["support"], 25, rtol=0.2)


def test_different_bins_by_hand():
    real = np.repeat(np.float32([[0.0], [1.0]]), [500, 500], axis=0)  # two bins of a half each

    def samples(in_first):
        return np.repeat(np.float32([[0.0], [1.0]]), [in_first, 1000 - in_first], axis=0)

    # z = (p − ½) / √(p̄ (1 − p̄) · 2/1000), p̄ = (p + ½)/2: 1.92 for 457 of 1000 and 1.97 for 456.
    assert Bins(real).different(samples(457)) == 0
    assert Bins(real).different(samples(456)) == 100


@pytest.mark.parametrize("size", [50, 400, 2000])
def test_birthday_support_of_a_discrete_uniform_distribution(size):
    support = RNG.standard_normal((size, 2)).astype(np.float32)
    x, real = (support[RNG.integers(size, size=2500)] for _ in range(2))
    np.testing.assert_allclose(birthday_support(x, real), size, rtol=0.3)


def test_birthday_batch_holds_a_duplicate_with_an_even_chance():
    size = 1000
    support = RNG.standard_normal((size, 2)).astype(np.float32)
    draw = lambda n: support[RNG.integers(size, size=n)]  # noqa: E731
    batch = round(1.18 * np.sqrt(birthday_support(draw(2500), draw(2500))))
    held = [len(np.unique(draw(batch), axis=0)) < batch for _ in range(2000)]
    np.testing.assert_allclose(np.mean(held), 0.5, atol=0.08)


def test_birthday_support_at_its_ends():
    x = RNG.standard_normal((100, 2)).astype(np.float32)
    assert birthday_support(np.tile(x[:1], (100, 1)), x) == 1
    assert birthday_support(100 * x, x) == 100 * 99 / 2  # no duplicate: the number of pairs
    assert birthday_support(x, np.zeros_like(x)) == 100 * 99 / 2  # real data are one point


def test_images_are_compared_by_their_coordinates():
    images = RNG.uniform(-1, 1, (60, 4, 4, 3)).astype(np.float32)
    score = METRICS["manifold"].make(None, None).score(images, images)
    assert (score["precision"], score["recall"], score["ndb"]) == (100, 100, 0)


def test_large_images_are_compared_by_projections():
    images = RNG.uniform(-1, 1, (300, 32, 32, 3)).astype(np.float32)
    score = METRICS["manifold"].make(None, None).score
    same = score(images[:150], images[:150])
    assert (same["precision"], same["recall"], same["ndb"]) == (100, 100, 0)
    assert score(images[:150], images[150:])["support"] > 500
    half = score(np.repeat(images[:75], 2, axis=0), images[150:])
    np.testing.assert_allclose(half["support"], 149, rtol=0.3)  # 75 of 11,175 pairs are duplicates, and few by chance


def test_the_plane_is_scored_in_seconds_and_the_same_again():
    x, real = grid(2500), grid(2500)
    score = METRICS["plane"].make(None, None).score
    first = score(x, real)
    start = time.process_time()
    assert score(x, real) == first
    assert time.process_time() - start < 5
    assert set(first) == {column.name for column in METRICS["plane"].columns}
