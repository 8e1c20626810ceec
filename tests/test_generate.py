"""The Python interface: load, sample, encode, reconstruct."""

import jax
import numpy as np
import pytest

import veegan_jax
from tests.helpers import tiny
from veegan_jax.experiments.run import train


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(tiny(data="stacked_digits"), folder)
    return folder


@pytest.fixture(scope="module")
def run(workdir):
    return veegan_jax.load(workdir)


def test_shapes_and_dtypes(run):
    assert run.step == 8
    x = run.sample(5)
    assert (x.shape, x.dtype) == ((5, 8, 8, 3), np.float32)
    assert run.encode(x).shape == (5, 3)
    assert run.reconstruct(x).shape == (5, 8, 8, 3)
    assert run.held_out(4).shape == (4, 8, 8, 3)


def test_samples_are_a_function_of_the_seed_and_prefixes_of_one_another(run):
    np.testing.assert_array_equal(run.sample(700, seed=1)[:30], run.sample(30, seed=1))
    assert not np.array_equal(run.sample(30, seed=1), run.sample(30, seed=2))
    assert len(np.unique(run.sample(700), axis=0)) == 700
    pieces = list(run.sample_in_pieces(1030, seed=1))
    assert [len(piece) for piece in pieces] == [512, 512, 6]
    np.testing.assert_array_equal(np.concatenate(pieces), run.sample(1030, seed=1))


def test_encoding_does_not_depend_on_company(run):
    x = run.sample(600)
    np.testing.assert_array_equal(run.encode(x)[590:], run.encode(x[590:]))


def test_reconstruction_is_the_generator_of_the_encoding(run):
    x = run.held_out(6)
    params = run.replicas[0]
    by_hand = run.sampler.decode(params, run.encode(x), seed=3)
    np.testing.assert_array_equal(run.reconstruct(x, seed=3), by_hand)


def test_moving_averages_are_used(workdir, run):
    config = tiny(data="stacked_digits", ema_half_life=0.0)
    raw = workdir / "raw"
    train(config, raw)
    assert not np.array_equal(veegan_jax.load(raw).sample(4), run.sample(4))


def test_clear_errors(run, workdir, tmp_path):
    with pytest.raises(veegan_jax.UserError, match=r"x has shape \(3, 4\); it must be \[n, 8, 8, 3\]"):
        run.encode(np.zeros((3, 4)))
    with pytest.raises(veegan_jax.UserError, match="n is 0; at least 1"):
        run.sample(0)
    with pytest.raises(veegan_jax.UserError, match="holds no run"):
        veegan_jax.load(tmp_path)
    with pytest.raises(veegan_jax.UserError, match="no checkpoint of step 5"):
        veegan_jax.load(workdir, step=5)
    with pytest.raises(veegan_jax.UserError, match="step is 'newest'; it must be latest, best or a number"):
        veegan_jax.load(workdir, step="newest")


def test_pixels_are_refused_wherever_an_array_comes_in(run):
    pixels = np.full((2, 8, 8, 3), 200, np.uint8)
    params = run.replicas[0]
    for take in (
        run.encode,
        run.reconstruct,
        lambda x: run.sampler.encode(params, x),
        lambda x: run.sampler.invert(params, x, 0),
    ):
        with pytest.raises(veegan_jax.UserError, match="x is uint8; it must be floats in"):
            take(pixels)
    with pytest.raises(veegan_jax.UserError, match="x lies in 200 to 200; it must lie in −1 to 1"):
        run.encode(pixels.astype(np.float32))
    with pytest.raises(veegan_jax.UserError, match="for one example give"):
        run.encode(run.sample(1)[0])


def test_settings_that_differ_from_those_of_the_run_are_named(workdir, caplog):
    with jax.threefry_partitionable(False), caplog.at_level("WARNING", "veegan_jax"):
        veegan_jax.load(workdir)
    assert f"numbers may differ from those of the run in {workdir}: jax_threefry_partitionable" in caplog.text


def test_steps(workdir):
    assert veegan_jax.load(workdir, step=4).step == 4
    assert veegan_jax.load(workdir, step="best").step in (4, 8)


def test_gan_samples_but_cannot_encode(tmp_path):
    train(tiny("gan"), tmp_path)
    run = veegan_jax.load(tmp_path)
    assert run.sample(3).shape == (3, 2)
    with pytest.raises(veegan_jax.UserError, match="no reconstructor"):
        run.encode(run.sample(3))
