"""Metrics on samples whose scores are known."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.svm import SVC

from veegan_jax.data import SOURCES
from veegan_jax.metrics import COLUMNS, METRICS, default_best
from veegan_jax.metrics.base import ARROWS, Column
from veegan_jax.metrics.diversity import SUPPORT
from veegan_jax.metrics.latent import RECONSTRUCTOR_COLUMNS, inversion_error, prior_gap, reconstruction_error
from veegan_jax.metrics.modes import KL, MODES, histogram_divergences, support_vector_classifier

NAMES = ("grid", "ring", "stacked_digits", "synthetic1200")  # the sources that need no files


def metric_and_draw(name):
    source = SOURCES[name]()
    metric, reference = next(iter(source.references.items()))  # the first is the metric of the published protocol
    sample = jax.jit(jax.vmap(lambda key: source.sample(jnp.asarray(source.held_out), key)))

    def draw(n, seed=0):
        return np.asarray(sample(jax.random.split(jax.random.key(seed), n)))

    return METRICS[metric].make(reference, None), draw


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_what_is_scored(name):
    metric, draw = metric_and_draw(name)
    assert set(metric.score(draw(200), None)) == {column.name for column in metric.columns}


@pytest.mark.parametrize(("name", "modes", "kl"), [("ring", 8, 0.0014), ("grid", 25, 0.0048)])
def test_perfect_sampler_of_2d_mixtures(name, modes, kl):
    metric, draw = metric_and_draw(name)
    scores = [metric.score(draw(2500, seed), None) for seed in range(8)]
    assert all(score["modes"] == modes for score in scores)
    np.testing.assert_allclose(np.mean([score["high_quality"] for score in scores]), 98.89, atol=0.3)
    np.testing.assert_allclose(np.mean([score["kl"] for score in scores]), kl, rtol=0.5)


def test_dropped_mode_is_missed():
    metric, draw = metric_and_draw("grid")
    x = draw(5000)
    corner = np.linalg.norm(x - np.array([4.0, 4.0]), axis=-1) < 1
    score = metric.score(x[~corner], None)
    assert score["modes"] == 24
    np.testing.assert_allclose(score["kl"], np.log(25 / 24), atol=0.01)


def test_point_mass():
    metric, _ = metric_and_draw("ring")
    score = metric.score(np.tile(np.float32([[1.0, 0.0]]), (100, 1)), None)
    assert score["modes"] == 1
    assert score["high_quality"] == 100
    np.testing.assert_allclose(score["kl"], np.log(8), rtol=1e-6)


def test_quality_ends_at_three_standard_deviations_and_only_good_samples_capture():
    metric, _ = metric_and_draw("ring")
    inside, outside = np.float32([[1.0 + 0.029, 0.0]]), np.float32([[1.0 + 0.031, 0.0]])
    assert metric.score(inside, None)["modes"] == 1
    assert metric.score(outside, None)["modes"] == 0
    assert metric.score(outside, None)["high_quality"] == 0


def test_1200d_paper_rule_rewards_collapse_and_the_calibrated_one_does_not():
    metric, draw = metric_and_draw("synthetic1200")
    real = draw(2000)
    score = metric.score(real, None)
    assert score["high_quality"] == 0  # the rule as the paper states it: no real sample is good
    assert score["calibrated_high_quality"] >= 99
    assert score["calibrated_modes"] == 10

    means = SOURCES["synthetic1200"]().references["subspace_mixture"].means
    collapsed = metric.score(means, None)
    assert collapsed["high_quality"] == 100
    assert collapsed["calibrated_high_quality"] == 0

    rng = np.random.default_rng(0)
    off = real.copy()
    off[:, 700:] += 0.2 * rng.standard_normal((2000, 500)).astype(np.float32)
    assert metric.score(off, None)["calibrated_high_quality"] == 0
    too_wide = means[rng.integers(10, size=500)]
    too_wide[:, :700] += 1.4 * rng.standard_normal((500, 700)).astype(np.float32)
    assert metric.score(too_wide, None)["calibrated_high_quality"] == 0


def test_stacked_digits_classifier_and_real_row():
    metric, draw = metric_and_draw("stacked_digits")
    accuracy = float(metric.against(None).note().split(" %")[0].split()[-1])
    assert accuracy >= 97.5
    real = draw(26_000)
    score = metric.score(real, None)
    assert score["modes"] >= 999
    assert 0.015 < score["kl"] < 0.03  # bins − 1 over twice the samples is 0.019


@pytest.mark.parametrize("classes", [3, 10])
def test_the_support_vector_classifier_labels_as_libsvm_does(classes):
    found = SOURCES["stacked_digits"]().references["stacked_modes"]
    chosen = found.train_labels < classes
    digits = found.train_images[chosen].reshape(-1, 64).astype(np.float64)
    svm = SVC(gamma=0.001, C=10.0).fit(digits, np.char.mod("digit %d", found.train_labels[chosen]))
    rng = np.random.default_rng(0)
    a, b = digits[rng.integers(len(digits), size=(2, 1500))]
    # Far from all digits each kernel is 0, and blends of two digits are near to where a vote changes.
    x = np.concatenate([digits, a + rng.normal(size=a.shape), (a + b) / 2, rng.uniform(0, 16, a.shape), 99 * a])
    np.testing.assert_array_equal(support_vector_classifier(svm)(x), svm.predict(x))


def test_a_metric_computes_what_depends_on_real_data_alone_once(monkeypatch):
    made = []

    module = sys.modules["veegan_jax.metrics.manifold"]

    class Counted(module.Bins):
        def __init__(self, real):
            made.append(real)
            super().__init__(real)

    monkeypatch.setattr(module, "Bins", Counted)
    rng = np.random.default_rng(0)
    x, y, real = rng.normal(size=(3, 200, 2)).astype(np.float32)
    metric = METRICS["plane"].make(None, None)
    comparison = metric.against(real)
    assert [comparison.score(samples) for samples in (x, y, x)] == [
        metric.score(samples, real) for samples in (x, y, x)
    ]
    assert len(made) == 4
    assert comparison.score(x) != comparison.score(y)


def test_stacked_digits_dropped_mode_and_point_mass():
    metric, draw = metric_and_draw("stacked_digits")
    real = draw(4000)
    point = metric.score(np.repeat(real[:1], 500, axis=0), None)
    assert point["modes"] == 1
    np.testing.assert_allclose(point["kl"], np.log(1000), rtol=1e-6)
    same = metric.score(np.repeat(real[..., :1], 3, axis=-1), None)  # one digit thrice: 10 of 1000 triples
    assert same["modes"] == 10
    np.testing.assert_allclose(same["kl"], np.log(100), atol=0.02)


def test_histogram_divergences_by_hand():
    score = histogram_divergences(np.array([0, 0, 0, 1]), 2)
    np.testing.assert_allclose(score["kl"], 0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    p, q, m = [0.75, 0.25], [0.5, 0.5], [0.625, 0.375]
    by_hand = 0.5 * sum(a * np.log(a / c) + b * np.log(b / c) for a, b, c in zip(p, q, m, strict=True))
    np.testing.assert_allclose(score["jsd"], by_hand)


def test_prior_gap():
    z = np.random.default_rng(0).standard_normal((50_000, 6))
    assert prior_gap(z) < 1e-3
    np.testing.assert_allclose(prior_gap(np.zeros((100, 6))), 1)
    np.testing.assert_allclose(prior_gap(z + 2), 4, rtol=0.01)  # ‖μ‖² / K
    np.testing.assert_allclose(prior_gap(3 * z), 4, rtol=0.02)  # (3 − 1)²
    half = z.copy()
    half[:, :3] = 0
    np.testing.assert_allclose(prior_gap(half), 0.5, atol=0.01)  # half the dimensions are missing


def test_reconstruction_error():
    z = np.random.default_rng(0).standard_normal((10_000, 4))
    assert reconstruction_error(z, z) == 0
    np.testing.assert_allclose(reconstruction_error(z, np.zeros_like(z)), 1, rtol=0.02)


def test_prior_gap_needs_a_covariance():
    with pytest.raises(ValueError, match="a covariance needs 2 latents or more, and there are 1"):
        prior_gap(np.zeros((1, 6)))


def test_inversion_error_is_per_pixel_of_images_from_0_to_1():
    assert inversion_error(np.float32([4, 0])) == 0.5  # differences are half as large as on [−1, 1]


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_each_column_says_all_there_is_to_know(column):
    assert column.direction in ARROWS
    assert all((column.name.isidentifier(), column.heading, column.definition.endswith("."), column.source))
    assert column.title.startswith(column.heading)
    assert column.title.endswith(ARROWS[column.direction])


def test_one_name_is_one_column():
    """Metrics that share a name share the column, and headings tell columns apart."""
    for metric in METRICS.values():
        assert all(column is COLUMNS[column.name] for column in metric.columns)
    assert len({column.title for column in COLUMNS.values()}) == len(COLUMNS)


def test_titles_and_directions_by_hand():
    assert KL.title == "reverse KL (nats) ↓"
    assert MODES.title == "modes ↑"
    assert SUPPORT.title == "support ≈ real"
    assert KL.goodness(0.1) > KL.goodness(0.2)
    assert MODES.goodness(9.0) > MODES.goodness(8.0)
    assert SUPPORT.goodness(9.0) > SUPPORT.goodness(8.0)
    higher = {name for name, column in COLUMNS.items() if column.direction == "higher"}
    calibrated = {"calibrated_modes", "calibrated_high_quality"}
    neighbours = {"precision", "recall", "coverage", "clipped_density", "clipped_coverage", "fidelity_diversity"}
    assert higher == {"modes", "high_quality", *neighbours, *calibrated}
    as_real = {name for name, column in COLUMNS.items() if column.direction == "as real"}
    assert as_real == {"density", "rke", "support", "vendi", "authpct"}


@pytest.mark.parametrize(
    ("metrics", "best"),
    [
        (("mixture", "plane"), "bin_kl"),
        (("subspace_mixture",), "bin_kl"),
        (("stacked_modes", "manifold"), "kl"),
        (("labelled_images", "inception"), "kl"),
        (("unlabelled_images", "inception"), "fidelity_diversity"),
    ],
)
def test_checkpoints_are_ranked_by_what_all_data_of_a_kind_have(metrics, best):
    columns = [column for name in metrics for column in METRICS[name].columns]
    assert default_best((*columns, *RECONSTRUCTOR_COLUMNS)).name == best
    own = Column("own", "own", "", "lower", "A score.", "here")
    assert default_best((own, *RECONSTRUCTOR_COLUMNS)) is own
