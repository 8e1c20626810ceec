"""The Python interface: load, sample, encode, reconstruct."""

import jax
import numpy as np
import pytest

import veegan_jax
from tests.helpers import tiny
from veegan_jax.evaluation.trained import spherical
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
    pieces = list(run.batches(1030, seed=1))
    assert [len(piece) for piece in pieces] == [512, 512, 6]
    np.testing.assert_array_equal(np.concatenate(pieces), run.sample(1030, seed=1))


def test_batches_begin_where_they_are_told_to(run):
    whole = run.sample(900, seed=2)
    np.testing.assert_array_equal(np.concatenate(list(run.batches(100, seed=2, start=800))), whole[800:])
    with pytest.raises(veegan_jax.UserError, match="start is -1; it must be 0 or more"):
        run.batches(3, start=-1)


def test_decoding_the_latents_of_a_seed_gives_its_samples(run):
    z = run.latents(600, seed=4)
    assert (z.shape, z.dtype) == ((600, 3), np.float32)
    np.testing.assert_array_equal(run.decode(z, seed=4), run.sample(600, seed=4))
    np.testing.assert_array_equal(run.latents(5, seed=4, start=595), z[595:])


def test_one_latent_and_one_example_work_as_many_do(run):
    z, x = run.latents(3, seed=1), run.sample(3, seed=1)
    np.testing.assert_array_equal(run.decode(z[0]), run.decode(z[:1])[0])
    np.testing.assert_array_equal(run.encode(x[0]), run.encode(x[:1])[0])
    np.testing.assert_array_equal(run.reconstruct(x[0]), run.reconstruct(x[:1])[0])
    np.testing.assert_array_equal(run.to_uint8(x[0]), run.to_uint8(x)[0])
    one, many = run.invert(x[0], seed=1), run.invert(x[:1], seed=1)
    np.testing.assert_array_equal(one.z, many.z[0])
    assert one.error.shape == ()
    with pytest.raises(veegan_jax.UserError, match=r"z has shape \(4,\); it must be \[n, 3\]"):
        run.decode(np.zeros(4))


def test_interpolation_is_along_the_arc_between_its_ends(run):
    a, b = run.latents(2, seed=5)
    ways = run.interpolate(a[None], b[None], steps=5)
    assert ways.shape == (1, 5, 8, 8, 3)
    np.testing.assert_array_equal(run.interpolate(a, b, steps=5), ways[0])
    np.testing.assert_array_equal(ways[0, [0, 4]], np.stack([run.decode(a), run.decode(b)]))
    for steps, last, says in (
        (1, b, "steps is 1; it must be at least 2"),
        (3, np.stack([b, b]), "they must be as many"),
    ):
        with pytest.raises(veegan_jax.UserError, match=says):
            run.interpolate(a, last, steps=steps)


def test_the_arc_keeps_the_length_and_divides_the_angle():
    a, b = np.array([[2.0, 0, 0]], np.float32), np.array([[0, 2.0, 0]], np.float32)
    middle = spherical(a, b, 1 / 3)[0]
    np.testing.assert_allclose(middle, [2 * np.cos(np.pi / 6), 2 * np.sin(np.pi / 6), 0], rtol=1e-6)
    many = np.random.default_rng(0).normal(size=(2, 100, 5)).astype(np.float32)
    for t, end in zip(np.linspace(0, 1, 2), many, strict=True):
        np.testing.assert_array_equal(spherical(*many, t), end)
    np.testing.assert_allclose(spherical(a, -a, 0.25), 0.5 * a)  # no shortest arc: straight
    np.testing.assert_allclose(spherical(a, 3 * a, 0.5), 2 * a)  # parallel: straight
    np.testing.assert_allclose(spherical(a, 0 * a, 0.5), 0.5 * a)


def test_inversion_starts_from_the_reconstructor_too(run):
    x, params = run.held_out(3), run.replicas[0]
    best, encoded = run.invert(x).error, np.mean(np.square(run.reconstruct(x) - x), axis=(1, 2, 3))
    assert (best <= encoded).all()
    assert (best <= run.sampler.invert(params, x, 0)[1]).all()


def test_missing_judges_held_out_or_given_examples(run, monkeypatch):
    monkeypatch.setattr("veegan_jax.evaluation.trained.JUDGED", 200)
    monkeypatch.setattr("veegan_jax.evaluation.missing.COMPARED", 500)
    found = run.missing(seed=2)
    assert "of the examples have too few generated samples near them" in found.verdict
    np.testing.assert_array_equal(found.x, run.held_out(200, seed=2))
    assert len(run.missing(found.x[:50]).coverage.neighbours.missed) == 50


def test_pixels_and_examples_are_inverse_to_each_other(run):
    pixels = np.arange(2 * 192, dtype=np.uint8).reshape(2, 8, 8, 3)
    x = run.preprocess(pixels)
    assert (x.min(), x.dtype) == (-1, np.float32)
    np.testing.assert_array_equal(run.to_uint8(x), pixels)
    np.testing.assert_array_equal(run.preprocess(pixels[0]), x[:1])
    np.testing.assert_array_equal(run.to_uint8(np.full((1, 8, 8, 3), 1.003)), 255)


def test_a_replica_is_a_model_of_its_own(tmp_path):
    train(tiny(data="stacked_digits", num_seeds=2), tmp_path)
    first, second = (veegan_jax.load(tmp_path, replica=i) for i in (0, 1))
    assert not np.array_equal(first.sample(3), second.sample(3))
    np.testing.assert_array_equal(second.sampler.generate(first.replicas[1], 3, 0)[1], second.sample(3))
    assert "seed 1" in repr(second)
    with pytest.raises(veegan_jax.UserError, match="replica is 2; it must be 0 to 1, since the run has 2 seeds"):
        veegan_jax.load(tmp_path, replica=2)


def test_the_repr_says_what_the_model_is(run, workdir):
    assert repr(run) == f"<veegan on stacked_digits in {workdir}: step 8, seed 0, latents [3], examples [8, 8, 3]>"


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
    for seed in (-1, 2**32, 0.5):
        for draw in (run.sample, run.latents, run.held_out):
            with pytest.raises(veegan_jax.UserError, match=f"seed is {seed}; it must be a whole number from 0 to"):
                draw(3, seed=seed)
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
