"""Tests what each source draws against its definition."""

import inspect

import chex
import numpy as np
import pytest

from tests.data_files import draw, tiny_options
from veegan_jax.data import SOURCES
from veegan_jax.metrics import METRICS

# Each example of these sources, whose test files are tiny, is one of a few images.
FEW = {"celeba", "cifar10", "images", "mnist"}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_source_draws_examples_of_its_shape_and_range(name):
    source = SOURCES[name](**tiny_options(name))
    for arrays in (source.train, source.held_out):
        x = draw(source, arrays, 200)
        chex.assert_shape(x, (200, *source.shape))
        assert x.dtype == np.float32
        chex.assert_tree_all_finite(x)
        assert not source.bounded or np.abs(x).max() <= 1
        distinct = len(np.unique(x.reshape(200, -1), axis=0))
        assert distinct >= 0.9 * len(arrays) if name in FEW else distinct > 190
    assert set(source.references) <= set(METRICS)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_each_option_of_a_source_is_documented(name):
    lines = inspect.getdoc(SOURCES[name]).splitlines()
    for option in inspect.signature(SOURCES[name]).parameters:
        (line,) = [line for line in lines if line.startswith(f"    {option}: ")]
        assert line.strip().removeprefix(f"{option}: ")[0].isupper(), line


def test_the_ring_has_eight_distinct_angles_on_the_unit_circle():
    means = SOURCES["ring"]().references["mixture"].means
    np.testing.assert_allclose(np.linalg.norm(means, axis=-1), 1, rtol=1e-6)
    assert len(np.unique(means.round(4), axis=0)) == 8


def test_the_grid_has_means_two_apart_around_the_origin():
    means = SOURCES["grid"]().references["mixture"].means
    expected = {(a, b) for a in (-4, -2, 0, 2, 4) for b in (-4, -2, 0, 2, 4)}
    assert {tuple(mean) for mean in means.tolist()} == expected


@pytest.mark.parametrize(("name", "std"), [("ring", 0.01), ("grid", 0.05)])
def test_mixtures_in_the_plane_are_uniform_over_modes_with_the_right_spread(name, std):
    source = SOURCES[name]()
    means = source.references["mixture"].means
    x = draw(source, source.train, 20_000)
    nearest = np.argmin(np.linalg.norm(x[:, None] - means, axis=-1), axis=-1)
    counts = np.bincount(nearest, minlength=len(means)) / len(x)
    np.testing.assert_allclose(counts, 1 / len(means), atol=0.01)
    np.testing.assert_allclose((x - means[nearest]).std(axis=0), std, rtol=0.03)


def test_noise_in_1200_dimensions_lies_on_a_subspace_of_700():
    source = SOURCES["synthetic1200"]()
    x = draw(source, source.train, 500)
    off = x[:, 700:]
    np.testing.assert_array_equal(off, off[:, :1] + np.zeros_like(off))  # The other coordinates equal the mean exactly.
    assert set(np.unique(off)) == {-1.0, -0.5, 0.0, 0.5, -2.0, -2.5, 10.0, 0.25, -13.0, -5.5}
    radius = np.linalg.norm(x[:, :700] - off[:, :1], axis=-1)
    np.testing.assert_allclose(radius.mean(), 26.45, atol=0.1)


def test_stacked_digits_hold_out_a_part_and_stack_real_digits():
    source = SOURCES["stacked_digits"]()
    train = {image.tobytes() for image in source.train}
    assert not any(image.tobytes() in train for image in source.held_out)
    assert len(source.train) + len(source.held_out) == 1797
    x = draw(source, source.held_out, 50)
    images = {image.tobytes() for image in source.held_out}
    for channel in np.moveaxis(x, -1, 1).reshape(-1, 8, 8):
        assert ((channel + 1) * 8).astype(np.uint8).tobytes() in images


def test_moons_are_half_circles_and_equally_likely():
    source = SOURCES["moons"](noise=0.01)
    x = draw(source, source.train, 5000)
    upper = np.abs(np.linalg.norm(x, axis=-1) - 1) < 0.05
    lower = np.abs(np.linalg.norm(x - [1.0, 0.5], axis=-1) - 1) < 0.05
    assert np.all(upper | lower)
    assert x[upper & ~lower][:, 1].min() > -0.05
    assert x[lower & ~upper][:, 1].max() < 0.55
    np.testing.assert_allclose(np.mean(upper), 0.5, atol=0.05)
    np.testing.assert_allclose((np.linalg.norm(x[upper & ~lower], axis=-1) - 1).std(), 0.01, rtol=0.05)


def test_a_spiral_is_evenly_dense_and_its_radius_grows_with_its_angle():
    source = SOURCES["spiral"](turns=1.5, radius=3.0, noise=0.01)
    x = draw(source, source.train, 5000)
    radius, angle = np.linalg.norm(x, axis=-1), np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi)
    turn = np.mod(radius / 2 - angle + 0.5, 1) - 0.5  # neighbouring turns are 2 apart
    assert np.abs(turn[radius > 0.5]).max() < 0.03
    np.testing.assert_allclose(np.mean(radius < 1.5), 0.25, atol=0.02)


@pytest.mark.parametrize(("name", "option"), [("moons", "noise"), ("spiral", "turns"), ("spiral", "radius")])
def test_curves_refuse_what_is_not_positive(name, option):
    with pytest.raises(ValueError, match=f"^{option} is 0; it .* more than 0"):
        SOURCES[name](**{option: 0})
