"""The verdict on missed examples: the test of neighbours, regions, their names, and the spaces of each kind of data."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from tests.helpers import tiny
from veegan_jax.cli import model_commands
from veegan_jax.cli.options import Options
from veegan_jax.config.build import build
from veegan_jax.data.base import LabelledImages
from veegan_jax.data.mixtures import ring
from veegan_jax.data.stacked_digits import stacked_digits
from veegan_jax.evaluation import local_two_sample as module
from veegan_jax.evaluation import missing_report, plots, spaces
from veegan_jax.evaluation.local_two_sample import SCALES, discoveries, nearest, neighbours
from veegan_jax.evaluation.missing import Judged
from veegan_jax.evaluation.regions import Coverage, coverage, verdict
from veegan_jax.evaluation.spaces import space
from veegan_jax.inference.model import Sampler

MEANS = ring().references["mixture"].means
ALL = range(8)


def points(n: int, modes: object = ALL, seed: int = 0, std: float = 0.01) -> np.ndarray:
    """Draws points of some modes of the ring; a mode that is named twice is twice as frequent."""
    rng = np.random.default_rng(seed)
    return (MEANS[rng.choice(np.asarray(modes), n)] + std * rng.standard_normal((n, 2))).astype(np.float32)


def covered(generated: np.ndarray, known: bool = True, n: int = 1000) -> Coverage:
    """Judges 400 points of the ring by real points and some samples."""
    x = points(400, seed=1)
    return coverage(x, points(n, seed=2), points(n, seed=3), generated, space(ring()).modes(x) if known else None)


@pytest.mark.parametrize("dims", [2, 30])
def test_p_is_that_of_counts_over_all_distances(monkeypatch, dims):
    """The tree of few coordinates, and the chunks of many, against a count over every distance."""
    monkeypatch.setattr(module, "CHUNK", 7)
    rng = np.random.default_rng(0)
    x, real, generated = (rng.standard_normal((n, dims)).astype(np.float32) for n in (20, 150, 150))
    generated += 0.5
    pool = np.concatenate([real, generated])
    order = np.argsort(cdist(x, pool), axis=1)
    p = [[stats.hypergeom.cdf((row[:k] >= 150).sum(), 300, 150, k) for k in SCALES] for row in order]
    near, near_generated = nearest(x, real), nearest(x, generated)
    found = neighbours(near, near_generated)
    np.testing.assert_allclose(found.p, np.minimum(1, len(SCALES) * np.min(p, axis=1)), rtol=1e-9)
    np.testing.assert_array_equal(near.positions[:, 0], cdist(x, real).argmin(axis=1))
    np.testing.assert_array_equal(near_generated.owners, cdist(x, generated).argmin(axis=0))
    fifth = [np.sort(cdist(x, sample), axis=1)[:, 4] for sample in (generated, real)]
    np.testing.assert_allclose(found.farther, fifth[0] / fifth[1], rtol=1e-3)


def test_discoveries_are_those_of_benjamini_and_hochberg():
    p = np.random.default_rng(0).random(200) ** 3
    np.testing.assert_array_equal(discoveries(p), stats.false_discovery_control(p) <= 0.05)
    assert discoveries(np.float64([0.05, 0.04])).tolist() == [True, True]
    assert discoveries(np.float64([0.051, 0.04])).tolist() == [False, False]


def test_p_is_valid_where_the_sampler_is_right():
    rng = np.random.default_rng(0)
    x, real, generated = (rng.standard_normal((n, 3)) for n in (2000, 3000, 3000))
    found = neighbours(nearest(x, real), nearest(x, generated))
    for level in (0.01, 0.05, 0.2):
        assert np.mean(found.p <= level) <= level
    assert found.missed.mean() <= 0.005
    np.testing.assert_allclose(np.median(found.farther), 1, atol=0.02)


@pytest.mark.parametrize("dims", [2, 30])
def test_copies_and_repeated_examples_are_not_missed(dims):
    """Half of the data is one example that is repeated, as blank images are; the sampler copies the data."""
    rng = np.random.default_rng(0)
    data = np.where(rng.random((600, 1)) < 0.5, 0, rng.standard_normal((600, dims))).astype(np.float32)
    found = neighbours(nearest(data[:200], data[200:400]), nearest(data[:200], data[400:]))
    assert not found.missed.any()
    assert np.isfinite(found.farther).all()
    assert not neighbours(nearest(data, data), nearest(data, data)).missed.any()


def test_few_examples_are_judged_by_all_of_them():
    x = np.zeros((4, 2))
    found = neighbours(nearest(x, x[:3]), nearest(x, x[:3] + 1))
    np.testing.assert_allclose(found.p, 1 / 20)  # 3 of 3 neighbours are real, of 3 and 3
    assert not neighbours(nearest(x, x[:1]), nearest(x, x[:1])).missed.any()


@pytest.mark.parametrize("known", [True, False])
def test_a_covered_ring_is_acquitted(known):
    found = covered(points(1000, seed=9), known)
    assert verdict(found) == (
        f"no {'mode' if known else 'region'} is missed: 0 % of the examples have too few generated samples "
        "near them (false-discovery rate 5 %); real data: 0 %"
    )
    assert {region.status for region in found.regions} <= {"covered"}


def test_missing_modes_are_named():
    found = covered(points(1000, [0, 2, 4, 6], seed=9))
    missed = [region for region in found.regions if region.status == "missed"]
    assert sorted(region.name for region in missed) == [
        "mode 1 at (0.707, 0.707)",
        "mode 3 at (-0.707, 0.707)",
        "mode 5 at (-0.707, -0.707)",
        "mode 7 at (0.707, -0.707)",
    ]
    assert all(region.missed == 1 and region.generated == 0 for region in missed)
    assert all(abs(region.generated - 2) < 0.5 for region in found.regions if region.status == "covered")
    nearest_mean = cdist(points(400, seed=1), MEANS).argmin(axis=1)
    np.testing.assert_array_equal(found.neighbours.missed, nearest_mean % 2 == 1)
    assert verdict(found).startswith("4 of 8 modes are missed (mode ")
    assert f"): {100 * np.mean(nearest_mean % 2):.3g} % of the examples" in verdict(found)


def test_regions_are_found_without_labels():
    found = covered(points(1000, [0, 2, 4, 6], seed=9), known=False)
    assert verdict(found).startswith("4 regions are missed (region 1, region 2, region 3, region 4): ")
    shares = [region.share for region in found.regions]
    assert shares == sorted(shares, reverse=True)
    x = points(400, seed=1)
    for number, region in enumerate(found.regions):
        (mode,) = np.unique(cdist(x[found.region_of == number], MEANS).argmin(axis=1))
        assert mode % 2 == 1
        assert found.region_of[region.example] == number


@pytest.mark.parametrize("known", [True, False])
def test_a_blurred_sampler_of_half_the_modes_is_convicted(known):
    """The median distance after inversion was 4e-9 for such a sampler: 4 of 8 modes, and 0.3 % of high quality."""
    found = covered(points(1000, [0, 2, 4, 6], seed=9, std=0.15), known)
    assert sorted(region.status for region in found.regions) == 4 * ["inexact"] + 4 * ["missed"]
    assert "4 of 8 modes are inexact" in verdict(found) or not known
    assert "with samples around them but not as near as real examples" in verdict(found)


@pytest.mark.parametrize(("times", "status"), [(1, "missed"), (4, "rare"), (10, "rare"), (18, "covered")])
def test_a_mode_that_is_sampled_too_rarely_is_found(times, status):
    """Mode 0 has a twentieth of the samples of the others, or more; half is found though few of its examples are."""
    modes = [mode for mode in ALL for _ in range(times if mode == 0 else 20)]
    found = covered(points(4000, modes, seed=9), n=4000)
    assert found.regions[0].status == status
    assert {region.status for region in found.regions[1:]} == {"covered"}
    assert found.regions[0].generated == pytest.approx(8 * times / (140 + times), rel=0.25)


def test_a_region_without_samples_stands_alone_where_all_is_inexact():
    """All examples of one connected set are missed: samples lie off it everywhere, but for a quarter without any."""
    rng = np.random.default_rng(0)
    x, real, other, noise = (np.column_stack([rng.random(n), np.zeros(n)]) for n in (1000, 2000, 2000, 2000))
    generated = noise * [0.75, 1] + [0, 0.02]
    found = coverage(x, real, other, generated, None)
    by_status = {region.status: region for region in found.regions}
    assert by_status["missed"].share == pytest.approx(0.25, abs=0.07)
    assert by_status["inexact"].share > 0.6


def test_the_worst_are_the_surest_and_then_the_farthest():
    found = module.Neighbours(np.float64([0.5, 0.1, 0.1, 0.9]), np.zeros(4, bool), np.float32([1, 2, 3, 9]))
    assert found.worst.tolist() == [2, 1, 0, 3]


def test_combinations_of_digits_are_named():
    """Stacks whose first digit is 3 are held back; the regions have this digit in common."""
    source = stacked_digits()
    digits, rng = source.references["stacked_modes"], np.random.default_rng(0)
    chosen = rng.integers(len(digits.train_images), size=(9000, 3))
    stacks = np.moveaxis(digits.train_images[chosen], 1, -1).astype(np.float32) / 8 - 1
    first = digits.train_labels[chosen[:, 0]]
    measured = space(source)
    modes = measured.modes(stacks[:300])
    assert np.mean(modes.attributes == digits.train_labels[chosen[:300]]) > 0.98
    assert (modes.number, modes.name([3, -1, 7])) == (1000, "digits 3 ∗ 7")
    near = measured.coordinates(stacks)
    assert near.shape == (9000, 27)
    generated = near[6000:][first[6000:] != 3]
    found = coverage(near[:300], near[300:3000], near[3000:6000], generated, modes)
    assert not found.divided
    assert found.neighbours.missed[first[:300] == 3].mean() > 0.5
    assert found.neighbours.missed[first[:300] != 3].mean() < 0.02
    assert found.regions
    for region in found.regions:
        assert region.name.split()[1] == "3"
        assert region.status in ("missed", "rare")


def test_classes_are_compared_by_the_classifiers_features(monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    images = np.clip(80 * labels[:, None, None, None] + rng.normal(0, 5, (300, 4, 4, 1)), 0, 255).astype(np.uint8)
    data = LabelledImages(images, labels, images, labels)
    monkeypatch.setattr(spaces, "classifier", lambda given: ((lambda x: (None, x.reshape(len(x), -1))), 1.0))
    measured = space(SimpleNamespace(references={"labelled_images": data, "inception": None}))
    modes = measured.modes(images)
    np.testing.assert_array_equal(modes.attributes[:, 0], labels)
    assert (modes.number, modes.noun, modes.name([2]), modes.name([-1])) == (
        3,
        ("class", "classes"),
        "class 2",
        "several classes",
    )
    within = measured.coordinates(images[labels == 1])
    np.testing.assert_allclose(
        np.cov(within.T).trace() / within.shape[1], 1, atol=0.3
    )  # units of the spread in a class


def test_images_without_classes_are_compared_by_pixels():
    x = np.random.default_rng(0).standard_normal((5, 4, 4, 3)).astype(np.float32)
    measured = space(SimpleNamespace(references={"manifold": None}))
    np.testing.assert_array_equal(measured.coordinates(x), x.reshape(5, -1))
    assert measured.modes(x) is None


def test_examples_are_named_by_their_files(monkeypatch):
    experiment = build(tiny("gan", data="images"))
    sampler = Sampler(experiment)
    n = experiment.source.num_held_out
    files = [f"{i}.png" for i in range(n)]
    source = SimpleNamespace(held_out_names=files)
    run = SimpleNamespace(sampler=sampler, experiment=SimpleNamespace(source=source))
    x, names = model_commands._examples(run, Options("missing", None, Path(), "latest", n, 3))
    assert sorted(names) == sorted(files)
    shown = np.round((x + 1) * 127.5).astype(np.uint8)
    np.testing.assert_array_equal(shown, experiment.source.held_out[[int(name.split(".")[0]) for name in names]])
    assert Sampler(build(tiny("gan"))).real_positions(4, 3).tolist() == [0, 1, 2, 3]


def test_the_report_says_what_was_found():
    x, generated = points(400, seed=1), points(1000, [0, 2, 4, 6], seed=9)
    judged = Judged(x, points(1000, seed=2), generated, covered(generated), "a note")
    names = [f"file {i}" for i in range(400)]
    text = missing_report.text(judged, names)
    worst = judged.coverage.neighbours.worst
    assert f"missed most surely: file {worst[0]}, file {worst[1]}, " in text
    rows = [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| mode")]
    assert rows == 4 * ["missed"] + 4 * ["covered"]
    written = json.loads(missing_report.json_text(judged, names))
    assert written["missed"] == np.mean(judged.coverage.neighbours.missed)
    assert written["verdict"] == verdict(judged.coverage)
    assert written["worst"][0]["example"] == f"file {worst[0]}"
    assert [region["status"] for region in written["regions"]] == 4 * ["covered", "missed"]
    assert missing_report.json_text(judged._replace(coverage=covered(generated)), names) == missing_report.json_text(
        judged, names
    )
    arrays = missing_report.arrays(judged)
    np.testing.assert_array_equal(arrays["missed_x"], x[worst[:64]])
    for name, sample in (("generated", generated), ("real", judged.real)):
        closest = cdist(x[worst[:64]], sample).argmin(axis=1)
        np.testing.assert_array_equal(arrays[f"missed_nearest_{name}"], sample[closest])

    (axis,) = plots.draw_regions(*missing_report.shown(judged)).axes
    drawn = [text.get_text() for text in axis.texts]
    assert sorted(drawn) == ["mode 1", "mode 3", "mode 5", "mode 7"]
    assert len(axis.collections[2].get_offsets()) == judged.coverage.neighbours.missed.sum()
