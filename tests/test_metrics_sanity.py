"""Every score on samples whose quality is known, on few and on repeated examples, and beside independent formulas."""

import math
import re

import numpy as np
import pytest
from scipy import special, stats
from scipy.spatial.distance import cdist

from tests.helpers import ROOT
from veegan_jax.data import SOURCES
from veegan_jax.data.base import LabelledImages
from veegan_jax.evaluation.sanity import SITUATIONS, as_cells, sanity
from veegan_jax.metrics import COLUMNS, METRICS
from veegan_jax.metrics.base import Features, Recognised
from veegan_jax.metrics.distances import RealDistances, distances
from veegan_jax.metrics.diversity import bandwidth, posterior_vendi, rke_modes, vendi
from veegan_jax.metrics.latent import INVERSION_COLUMNS, RECONSTRUCTOR_COLUMNS
from veegan_jax.metrics.manifold import Bins, birthday_support, density_coverage, precision_recall
from veegan_jax.metrics.memorisation import (
    authentic_share,
    fit_variances,
    likelihood_divergence,
    likelihood_reference,
    test_loss,
)
from veegan_jax.metrics.mixture import bin_divergence, real_quality
from veegan_jax.metrics.modes import histogram_divergences
from veegan_jax.metrics.neighbours import expected_coverage

test_loss.__test__ = False  # a function of the package, whose name begins like that of a test

# The range in which each score of each situation has to lie, in the order of `SITUATIONS`: real data, exact copies, a
# dropped mode, one point, noise. It follows from the definitions: 8 modes of the ring, 10 of synthetic1200, 10 digits.
ANY = (-math.inf, math.inf)
LN8, ZERO, ALL = math.log(8), (-1e-6, 1e-6), (100, 100)
RANGES = {
    "modes": [(8, 8), (8, 8), (7, 7), (1, 1), (0, 8)],
    "high_quality": [(98, 100), (98, 100), (98, 100), ALL, (0, 1)],
    "kl": [(0, 0.01), (0, 0.01), (0.12, 0.16), (LN8 - 1e-6, LN8 + 1e-6), ANY],
    "excess_kl": [(-0.004, 0.006), (-0.004, 0.006), (0.12, 0.16), (LN8 - 0.0036, LN8), ANY],
    "bin_kl": [(0, 0.01), (0, 0.01), (0.12, 0.16), (LN8, LN8 + 0.02), (4, 5)],
    "jsd": [(0, 0.003), (0, 0.003), (0.03, 0.06), (0.45, 0.55), ANY],
    "calibrated_modes": [(10, 10), (10, 10), (9, 9), (1, 1), (0, 0)],
    "calibrated_high_quality": [(99, 100), (99, 100), (99, 100), ALL, (0, 0)],
    "precision": [(95, 100), ALL, (95, 100), ALL, (0, 2)],
    "recall": [(95, 100), ALL, (82, 90), (0, 0), (85, 100)],
    "density": [(90, 110), (99.9, 100.1), (85, 115), ANY, (0, 1)],
    "coverage": [(94, 100), ALL, (82, 90), (0, 2), (0, 2)],
    "clipped_density": [(95, 100), ALL, (95, 100), ANY, (0, 1)],
    "clipped_coverage": [(92, 100), ALL, (80, 92), (0, 2), (0, 2)],
    "fidelity_diversity": [(92, 100), ALL, (80, 92), (0, 2), (0, 1)],
    "rke": [(7.5, 8.5), (7.5, 8.5), (6.5, 7.5), (1, 1.0001), (20, 1000)],
    "ndb": [(0, 12), (0, 0), (10, 25), (85, 100), (50, 100)],
    "support": [(8e3, 16e3), (8e3, 16e3), (7e3, 15e3), (1, 1), (1e5, 1e6)],
    "sliced_wasserstein": [(0, 0.2), ZERO, (0.15, 0.4), (0.8, 1.2), (0.4, 1.5)],
    "mmd": [(-2e-3, 2e-3), (-3e-3, 0), (0.005, 0.05), (0.5, 1.5), (0.05, 0.2)],
    "vendi": [(5.5, 6.5), (5.5, 6.5), (5.5, 6.4), (1, 1.0001), (50, 64)],
    "classifier_fid": [(0.1, 0.6), ZERO, (0.5, 1.5), (20, 50), (20, 60)],
    "classifier_kid": [(-0.01, 0.01), (-0.01, 0), (0.005, 0.05), (1, 3), (1, 3)],
    "authpct": [(45, 70), (0, 0), (45, 70), ANY, ALL],
    "fld": [(0, 20), (1000, math.inf), (12, 40), (50, 500), (100, 1000)],
    "fid": [(0.02, 0.2), ZERO, (0.1, 0.5), (5, 15), (5, 15)],
    "kid": [(-0.002, 0.002), (-0.002, 0), (5e-4, 5e-3), (0.1, 1), (0.1, 1)],
}


@pytest.fixture(scope="module")
def known():
    return sanity()


def documented_scores():
    """Returns the table of known scores in docs/metrics.md, `{column: (data, score, …)}`."""
    section = (ROOT / "docs" / "metrics.md").read_text().split("## What each score gives")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, flags=re.MULTILINE)
    return {name: tuple(cells.split(" | ")) for name, cells in rows}


def test_every_score_of_samples_has_a_known_one():
    assert set(RANGES) == set(COLUMNS) - {column.name for column in (*RECONSTRUCTOR_COLUMNS, *INVERSION_COLUMNS)}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", RANGES)
def test_scores_of_known_samples(known, name, situation):
    low, high = RANGES[name][SITUATIONS.index(situation)]
    assert low <= known[name][1][situation] <= high


def test_documented_scores_are_those_that_are_computed(known):
    documented = documented_scores()
    assert set(documented) == set(known)
    for name, (data, row) in known.items():
        assert documented[name][0] == data
        for text, cell in zip(documented[name][1:], as_cells(row), strict=True):
            if float(cell) < 1e6:  # a likelihood of memorised samples has no digits to compare
                assert float(text) == pytest.approx(float(cell), rel=0.03, abs=3e-3), name
            else:
                assert float(text) > 1e6


def naive(x, real):
    """Returns distances and radii by SciPy: cross `[N, M]`, between real examples, between samples."""
    x, real = x.astype(np.float64), real.astype(np.float64)
    return cdist(real, x), cdist(real, real), cdist(x, x)


def radii(between, k):
    return np.sort(between + np.diag(np.full(len(between), np.inf)), axis=1)[:, k - 1]


def examples(n, m, dims, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, dims)).astype(np.float32), (1.2 * rng.normal(size=(n, dims)) + 0.3).astype(np.float32)


@pytest.mark.parametrize(("n", "m", "dims"), [(120, 90, 2), (90, 120, 3), (60, 60, 40), (6, 6, 2), (700, 600, 5)])
def test_neighbour_scores_beside_their_formulas(n, m, dims):
    x, real = examples(n, m, dims)
    cross, within, samples = naive(x, real)
    close, far = radii(within, 3), radii(within, 5)
    expected = {
        "precision": np.mean((cross <= close[:, None]).any(axis=0)),
        "recall": np.mean((cross <= radii(samples, 3)).any(axis=1)),
        "density": np.sum(cross < far[:, None]) / (5 * m),
        "coverage": np.mean(cross.min(axis=1) < far),
    }
    clipped = np.minimum(far, np.median(far))[:, None]
    others = within + np.diag(np.full(n, np.inf))
    fidelity = np.mean(np.minimum(1, np.sum(cross <= clipped, axis=0) / 5))
    expected["clipped_density"] = min(1, fidelity / np.mean(np.minimum(1, np.sum(others <= clipped, axis=0) / 5)))
    covered = np.mean(np.sort(cross, axis=1)[:, :5] < far[:, None])
    means = [mean_coverage(n, size) for size in range(m + 1)]
    expected["clipped_coverage"] = sum(f < covered for f in means) / (m + 1)
    expected["fidelity_diversity"] = min(expected["clipped_density"], expected["clipped_coverage"])
    found = {**precision_recall(x, real), **density_coverage(x, real)}
    assert found == pytest.approx({name: 100 * share for name, share in expected.items()}, rel=1e-5)


def mean_coverage(n, m, k=5):
    """Returns the mean of min(J, k)/k for J of a beta-binomial distribution, by SciPy."""
    if m < k:
        return 0.0
    j = np.arange(m + 1)
    return float(np.sum(np.minimum(j, k) * stats.betabinom(m, k, n - k).pmf(j)) / k)


def test_expected_coverage_beside_scipy():
    found, sizes = expected_coverage(5, 300, 200), [0, 4, 5, 50, 200]
    np.testing.assert_allclose(found[sizes], [mean_coverage(300, m) for m in sizes], rtol=1e-5)
    assert np.all(np.diff(found) >= 0)


@pytest.mark.parametrize("times", [1, 2, 5, 8])
@pytest.mark.parametrize("dims", [1, 2, 64, 192])
def test_exact_copies_score_in_full_however_often_data_repeat(times, dims):
    real = np.repeat(examples(40, 1, dims)[1], times, axis=0)
    x = np.random.default_rng(1).permutation(real)  # a copy is a copy in any order
    scores = {**precision_recall(x, real), **density_coverage(x, real)}
    assert scores["precision"] == scores["recall"] == scores["coverage"] == 100
    assert scores["clipped_density"] == scores["clipped_coverage"] == scores["fidelity_diversity"] == 100
    assert Bins(real).different(x) == 0
    assert authentic_share(distances(x, real)) == 0


def test_distances_are_symmetric_and_those_of_copies_are_equal():
    x, real = examples(700, 600, 7)
    d = distances(np.concatenate([x, real[:50]]), real)
    np.testing.assert_array_equal(d.real.square, d.real.square.T)
    np.testing.assert_array_equal(d.samples, d.samples.T)
    np.testing.assert_array_equal(d.cross[:, 600:], d.real.square[:, :50])
    np.testing.assert_array_equal(d.samples[600:, :600], d.cross[:50, :600])
    np.testing.assert_allclose(d.cross[:, :600], cdist(real, x, "sqeuclidean"), rtol=1e-5)
    assert not np.any(np.diag(d.samples))
    with pytest.raises(ValueError, match="not finite"):
        distances(np.full((3, 2), np.nan), np.zeros((3, 2)))


def test_balls_that_touch_hold_their_edge_and_open_ones_do_not():
    real = np.float32([[0], [1], [2], [3], [4], [5], [40]])  # the fifth neighbour of 5 is 5 away, and of 40 it is 39
    x = np.float32([[10], [10], [79], [80], [79], [81]])  # 10 touches the ball of 5; 79 touches that of 40
    assert density_coverage(x, real)["coverage"] == pytest.approx(100 / 7)  # 10 lies in the ball of 40 alone
    assert density_coverage(x, real)["density"] == pytest.approx(100 * 2 / 30)


def test_vendi_beside_its_definition():
    x, _ = examples(1, 50, 6)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit.astype(np.float64) @ unit.T.astype(np.float64) / 50)
    by_hand = np.exp(stats.entropy(values[values > 1e-12]))
    assert vendi(x) == pytest.approx(by_hand, rel=1e-5)
    assert vendi(7 * x) == pytest.approx(by_hand, rel=1e-5)
    assert vendi(np.eye(9)) == pytest.approx(9)
    assert vendi(np.ones((9, 4))) == pytest.approx(1)
    assert vendi(np.zeros((9, 4))) == pytest.approx(1)


@pytest.mark.parametrize("n", [30, 200])  # fewer samples than tuples, and more
def test_vendi_of_tuples_beside_its_definition(n):
    rng = np.random.default_rng(0)
    a, b, c = (rng.dirichlet(np.ones(5), size=n) for _ in range(3))
    tuples = np.einsum("ni,nj,nk->nijk", a, b, c).reshape(n, -1)
    values = np.linalg.eigvalsh(np.sqrt(tuples) @ np.sqrt(tuples).T / n)
    assert posterior_vendi([a, b, c]) == pytest.approx(np.exp(stats.entropy(values[values > 1e-12])), rel=1e-5)
    sure = np.eye(5)[rng.integers(5, size=(3, n))]
    shares = np.unique(sure.argmax(axis=-1).T, axis=0, return_counts=True)[1] / n
    assert posterior_vendi(sure) == pytest.approx(np.exp(stats.entropy(shares)))


def test_rke_beside_its_definition_and_its_bandwidth():
    x, real = examples(80, 60, 3)
    d, sigma = distances(x, real), 1.7
    kernel = np.exp(-cdist(x, x, "sqeuclidean") / (2 * sigma**2))
    assert rke_modes(d, sigma) == pytest.approx(1 / np.mean(kernel**2), rel=1e-5)
    within = cdist(real, real)
    by_hand = (np.median(within[np.triu_indices(80, 1)]) ** 2 * np.median(radii(within, 5))) ** (1 / 3)
    assert bandwidth(d.real) == pytest.approx(by_hand, rel=1e-5)
    assert bandwidth(RealDistances(np.ones_like(real))) == 1


@pytest.mark.parametrize(("name", "modes"), [("ring", 8), ("grid", 25)])
def test_rke_counts_modes_without_labels(name, modes):
    mixture, rng = SOURCES[name]().references["mixture"], np.random.default_rng(0)
    x, real = (mixture.means[rng.integers(modes, size=2000)] + mixture.std * rng.normal(size=(2000, 2)) for _ in "ab")
    d = distances(x, real)
    assert rke_modes(d, bandwidth(d.real)) == pytest.approx(modes, rel=0.06)


def test_authpct_beside_its_definition():
    x, real = examples(80, 60, 3)
    cross, within, _ = naive(x, real)
    closest = cross.argmin(axis=0)
    by_hand = np.mean(cross.min(axis=0) > radii(within, 1)[closest])
    assert authentic_share(distances(x, real)) == pytest.approx(100 * by_hand, rel=1e-5)
    half = np.concatenate([real[:30], x[:30] + 100])
    assert authentic_share(distances(half, real)) == 50


def test_fld_beside_its_definition():
    centres, train = examples(90, 40, 3)
    test = examples(50, 1, 3, seed=1)[1]
    variances = fit_variances(cdist(train, centres, "sqeuclidean"), 3)

    def loss(log_variances, data):
        logs = -cdist(data, centres, "sqeuclidean") / (2 * np.exp(log_variances))
        logs -= 1.5 * np.log(2 * np.pi) + 1.5 * log_variances
        return -np.mean(special.logsumexp(logs, axis=1) - np.log(40)) / 3

    assert test_loss(centres, train, test) == pytest.approx(loss(np.log(variances), test), rel=1e-5)
    fitted = loss(np.log(variances), train)
    others = np.log(variances) + 0.3 * np.random.default_rng(0).normal(size=(20, 40))
    assert all(loss(other, train) > fitted for other in others)  # the variances are fitted to training data
    mean, std = test.mean(axis=0), test.std(axis=0, ddof=1)
    reference = likelihood_reference(train, test)
    train, test, centres = ((part - mean) / std for part in (train, test, centres))
    assert reference.baseline == pytest.approx(test_loss(train[:45], train[45:], test), rel=1e-5)
    by_hand = 100 * (test_loss(centres, train, test) - reference.baseline)
    assert likelihood_divergence(examples(90, 40, 3)[0], reference) == pytest.approx(by_hand, rel=1e-4)


def test_kl_and_its_excess_beside_scipy():
    modes = np.random.default_rng(0).integers(5, size=400)
    p = np.bincount(modes, minlength=7) / 400
    found = histogram_divergences(modes, 7)
    assert found["kl"] == pytest.approx(stats.entropy(p, np.full(7, 1 / 7)), rel=1e-5)
    assert found["excess_kl"] == pytest.approx(found["kl"] - 6 / 800, rel=1e-5)
    many = [histogram_divergences(np.random.default_rng(seed).integers(50, size=2000), 50) for seed in range(50)]
    assert np.mean([score["excess_kl"] for score in many]) == pytest.approx(0, abs=1e-3)


def test_bin_kl_beside_scipy_and_on_the_ring_that_fooled_the_reverse_kl():
    q = real_quality(3.0, 2)
    assert q == pytest.approx(1 - np.exp(-4.5), rel=1e-12)
    assert real_quality(20.0, 700) == pytest.approx(stats.chi2(700).cdf(400), rel=1e-5)
    nearest = np.arange(8).repeat(100)
    good = np.arange(800) % 100 < 60
    by_hand = stats.entropy([*np.full(8, 0.6 / 8), 0.4], [*np.full(8, q / 8), 1 - q])
    assert bin_divergence(nearest, good, 8, q) == pytest.approx(by_hand, rel=1e-5)
    # Three modes and 1 % of quality, with all nearest means equally likely: the reverse KL finds nothing.
    fooled = (nearest < 3) & (np.arange(800) % 100 < 3)
    assert histogram_divergences(nearest, 8)["kl"] == 0
    assert bin_divergence(nearest, fooled, 8, q) > 4


@pytest.mark.parametrize("name", ["plane", "manifold", "mixture"])
@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 6, 7])
def test_scores_of_few_examples_are_those_that_need_no_more(name, num):
    metric = METRICS[name].make(SOURCES["ring"]().references.get(name), None)
    x, real = examples(num, num, 2)
    assert set(metric.score(x, real)) == {column.name for column in metric.columns if column.least <= num}
    assert all(math.isfinite(score) for score in metric.score(x, real).values())


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 6, 7])
def test_scores_of_few_images_are_those_that_need_no_more(num):
    images = np.random.default_rng(0).integers(0, 256, (2 * num, 4, 4, 3), dtype=np.uint8)
    metric = METRICS["unlabelled_images"].make(images[num:], None)
    x = images[:num].astype(np.float32) / 127.5 - 1
    assert set(metric.score(x, x)) == {column.name for column in metric.columns if column.least <= num}


def labelled(labels):
    """Returns images of classes that differ by their brightness, and a classifier that reads it off."""
    values = np.asarray(labels)
    images = np.broadcast_to((20 * values).astype(np.uint8)[:, None, None, None], (len(values), 4, 4, 1))
    noise = np.random.default_rng(0).integers(0, 9, images.shape, dtype=np.uint8)

    def recognise(x):
        bright = x.reshape(len(x), -1).astype(np.float64)
        mean = (bright if x.dtype == np.uint8 else (bright + 1) * 127.5).mean(axis=1) / 20
        posteriors = special.softmax(-30 * np.abs(mean[:, None] - np.arange(values.max() + 1)), axis=1)
        return Recognised(posteriors.argmax(axis=1), bright, posteriors.astype(np.float32))

    data = LabelledImages(images + noise, values, images + noise, values)
    return METRICS["labelled_images"].make(data, Features(lambda reference: (recognise, 1.0), None)), data


@pytest.mark.parametrize(
    "labels",
    [[0, 1, 2] * 20, [1, 2, 3] * 20, [2, 5, 9] * 20, [0] * 50 + [1] * 8 + [2] * 2],
    ids=["from 0", "from 1", "with gaps", "unbalanced"],
)
def test_real_data_have_the_classes_of_real_data_whatever_their_labels_are(labels):
    metric, data = labelled(labels)
    x = data.test_images.astype(np.float32) / 127.5 - 1
    scores = metric.score(x, None)
    assert scores["kl"] == pytest.approx(0, abs=1e-9)
    assert scores["jsd"] == pytest.approx(0, abs=1e-9)
    first = np.asarray(labels) == labels[0]
    assert metric.score(x[first], None)["kl"] == pytest.approx(-np.log(np.mean(first)), rel=1e-5)
    assert "from the shares of the 3 classes" in metric.against(None).note()


def test_support_of_repeated_and_of_distinct_samples():
    x, real = examples(100, 100, 2)
    assert birthday_support(np.repeat(x[:50], 2, axis=0) * 100, real) == pytest.approx(100 * 99 / 2 / 50)
    assert birthday_support(100 * x, real) == COLUMNS["support"].limit(100)
