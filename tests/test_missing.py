"""The report of missed examples: of every kind of data and method, and of a collapse that is known."""

import jax
import numpy as np
import pytest

from tests.helpers import tiny
from veegan_jax.cli import commands
from veegan_jax.config.build import build
from veegan_jax.evaluation import plots as report
from veegan_jax.experiments.run import train
from veegan_jax.inference.model import Sampler
from veegan_jax.train.compile import initial_state


def report_of(workdir, config, capsys):
    train(config, workdir)
    capsys.readouterr()
    commands.run_missing(commands.Options(None, workdir, "latest", 12, 3))
    return capsys.readouterr().out, dict(np.load(workdir / "missing_step8_seed3.npz"))


@pytest.mark.parametrize("data", ["ring", "stacked_digits"])
def test_report_of_a_run(tmp_path, capsys, data):
    out, arrays = report_of(tmp_path, tiny(data=data), capsys)
    assert "12 held-out examples" in out
    assert "RMS of x − G(F(x))" in out
    assert (tmp_path / "missing_step8_seed3.png").read_bytes().startswith(b"\x89PNG")
    assert all(np.isfinite(arrays[name]).all() and len(arrays[name]) == 12 for name in arrays)
    # F(x) is but one of all z, of which IvOM looks for the best.
    assert np.mean(arrays["nearest"]) < np.mean(arrays["reconstruction"])
    distance = np.minimum(arrays["nearest"], arrays["reconstruction"])[arrays["worst"]]
    assert (np.diff(distance) <= 0).all()


def test_report_without_a_reconstructor_and_without_a_picture(tmp_path, capsys):
    out, arrays = report_of(tmp_path, tiny("gan", data="synthetic1200"), capsys)
    assert "G(F(x))" not in out
    assert set(arrays) == {"x", "nearest", "nearest_prior", "worst"}
    assert not (tmp_path / "missing_step8_seed3.png").exists()


@pytest.fixture(scope="module")
def experiment():
    return build(tiny("gan", data="stacked_digits"))


def test_inference_is_of_the_same_noise_as_decoding_and_needs_no_company(experiment):
    sampler = Sampler(experiment)
    params = sampler.trained(initial_state(experiment), 0)
    x = sampler.generate(params, 70, 5)[1]
    z, error = sampler.invert(params, x, 1)
    assert z.shape == (70, 3)
    by_hand = np.mean(np.square(sampler.decode(params, z, 1) - x), axis=(1, 2, 3))
    np.testing.assert_allclose(error, by_hand, rtol=1e-4, atol=1e-9)
    again = sampler.invert(params, x[:5], 1)
    np.testing.assert_array_equal(again[0], z[:5])
    assert not np.array_equal(sampler.invert(params, x[:5], 2)[0], z[:5])  # other starts, other ε


def test_a_collapse_is_found():
    """What a generator makes it reaches, but for a start's bad luck, and an untrained one reaches no digit."""
    experiment = build(tiny("gan", data="stacked_digits", noise_dim=0))
    sampler = Sampler(experiment)
    params = sampler.trained(initial_state(experiment), 0)
    own = sampler.generate(params, 6, 0)[1]
    _, error = sampler.invert(params, np.concatenate([sampler.real(6, 0), own]), 0)
    assert np.median(error[6:]) < 1e-9
    assert error[6:].max() < 0.01 * error[:6].min()


def test_worst_are_drawn_first():
    x = np.linspace(-1, 1, 12, dtype=np.float32)[:, None, None, None] * np.ones((12, 4, 4, 3), np.float32)
    figure = report.draw_missing(x, {"G(F(x))": -x, "IvOM": x})
    rows = [np.asarray(axis.get_images()[0].get_array()) for axis in figure.axes]
    assert [axis.get_title() for axis in figure.axes][1:] == ["G(F(x))", "IvOM"]
    assert [row[0, 0, 0] for row in rows] == [0, 1, 0]
    assert rows[0].shape == (4, 10 * 5 - 1, 3)
    points = np.random.default_rng(0).standard_normal((20, 2)).astype(np.float32)
    (axis,) = report.draw_missing(points, {"IvOM": points + 1}).axes
    lines = np.stack([line.get_xydata() for line in axis.get_lines()])
    np.testing.assert_allclose(lines, np.stack([points, points + 1], axis=1))
    assert jax.tree.leaves(axis.collections[1].get_offsets().shape) == [20, 2]
