"""The report of missed examples, for each kind of data and method, and for a collapse that is known."""

import json

import jax
import numpy as np
import pytest

from tests.helpers import tiny
from veegan_jax.cli import model_commands
from veegan_jax.cli.options import Options
from veegan_jax.config.build import build
from veegan_jax.evaluation import plots
from veegan_jax.evaluation.missing import Reconstruction, missing, prior_deviation
from veegan_jax.experiments.run import train
from veegan_jax.inference.model import Sampler
from veegan_jax.train.compile import initial_state


@pytest.fixture
def few(monkeypatch):
    """Judges few examples by few, in a fraction of the time."""
    monkeypatch.setattr(model_commands, "JUDGED", 200)
    monkeypatch.setattr("veegan_jax.evaluation.missing.COMPARED", 500)


def report_of(workdir, config, capsys):
    train(config, workdir)
    capsys.readouterr()
    model_commands.show_missing(Options("missing", None, workdir, "latest", 12, 3))
    return capsys.readouterr().out, dict(np.load(workdir / "missing_step8_seed3.npz"))


@pytest.mark.parametrize("data", ["ring", "stacked_digits"])
def test_report_of_a_run(tmp_path, capsys, few, data):
    out, arrays = report_of(tmp_path, tiny(data=data), capsys)
    assert "of the examples have too few generated samples near them" in out.splitlines()[0]
    assert "12 held-out examples" in out
    assert "RMS of x − G(F(x))" in out
    for name in ("missing_step8_seed3.png", "missing_step8_seed3_regions.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    inverted = {"x", "nearest", "nearest_prior", "reconstruction", "reconstruction_prior", "worst"}
    assert all(np.isfinite(arrays[name]).all() and len(arrays[name]) == 12 for name in inverted)
    # F(x) is one latent among all, and inversion looks for the best.
    assert np.mean(arrays["nearest"]) < np.mean(arrays["reconstruction"])
    distance = np.minimum(arrays["nearest"], arrays["reconstruction"])[arrays["worst"]]
    assert (np.diff(distance) <= 0).all()

    # Networks that have hardly been trained make few samples as near to an example as real ones are.
    found = json.loads((tmp_path / "missing_step8_seed3.json").read_text())
    assert found["verdict"] == out.splitlines()[0]
    assert found["missed"] == np.mean(arrays["missed"]) > 0.5
    assert found["real_missed"] < 0.05
    assert len(found["worst"]) == len(arrays["missed_x"]) == 64
    assert {region["status"] for region in found["regions"]} <= {"missed", "rare", "inexact"}


def test_report_without_a_reconstructor_and_without_a_picture(tmp_path, capsys, few):
    out, arrays = report_of(tmp_path, tiny("gan", data="synthetic1200"), capsys)
    assert "G(F(x))" not in out
    assert " of 10 modes are missed" in out
    assert "reconstruction" not in arrays
    assert not list(tmp_path.glob("missing*.png"))


@pytest.fixture(scope="module")
def experiment():
    return build(tiny("gan", data="stacked_digits"))


def test_inversion_uses_the_noise_of_decoding_and_takes_each_example_by_itself(experiment):
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
    """A generator reaches its own samples, but for a start's bad luck; an untrained one reaches no digit."""
    experiment = build(tiny("gan", data="stacked_digits", noise_dim=0))
    sampler = Sampler(experiment)
    params = sampler.trained(initial_state(experiment), 0)
    own = sampler.generate(params, 6, 0)[1]
    _, error = sampler.invert(params, np.concatenate([sampler.real(6, 0), own]), 0)
    assert np.median(error[6:]) < 1e-9
    assert error[6:].max() < 0.01 * error[:6].min()


def test_worst_are_drawn_first():
    x = np.linspace(-1, 1, 12, dtype=np.float32)[:, None, None, None] * np.ones((12, 4, 4, 3), np.float32)
    figure = plots.draw_missing(x, {"G(F(x))": -x, "IvOM": x})
    rows = [np.asarray(axis.get_images()[0].get_array()) for axis in figure.axes]
    assert [axis.get_title() for axis in figure.axes][1:] == ["G(F(x))", "IvOM"]
    assert [row[0, 0, 0] for row in rows] == [0, 1, 0]
    assert rows[0].shape == (4, 10 * 5 - 1, 3)
    points = np.random.default_rng(0).standard_normal((20, 2)).astype(np.float32)
    (axis,) = plots.draw_missing(points, {"IvOM": points + 1}).axes
    lines = np.stack([line.get_xydata() for line in axis.get_lines()])
    np.testing.assert_allclose(lines, np.stack([points, points + 1], axis=1))
    assert jax.tree.leaves(axis.collections[1].get_offsets().shape) == [20, 2]


def test_missing_examples_are_ranked_worst_first():
    x = np.float32([[0, 0], [1, 1], [5, 1]])
    nearest = Reconstruction(np.full((3, 8), 2, np.float32), np.float32([[0, 0.2], [1, 1], [1, 1]]))
    found = missing(x, nearest)
    np.testing.assert_allclose(found.nearest, [0.2 / np.sqrt(2), 0, 4 / np.sqrt(2)], rtol=1e-6)
    np.testing.assert_allclose(found.nearest_prior, [6, 6, 6])  # (4·8 − 8)/√16
    assert found.worst.tolist() == [2, 0, 1]
    assert found.reconstruction is None
    assert found.reconstruction_prior is None

    # An example that F reaches is reached, though optimisation missed it.
    found = missing(x, nearest, Reconstruction(np.zeros((3, 8), np.float32), np.float32([[3, 0], [0, 1], [5, 1]])))
    assert found.worst.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.reconstruction, [3 / np.sqrt(2), 1 / np.sqrt(2), 0], rtol=1e-6)
    np.testing.assert_allclose(found.reconstruction_prior, [-2, -2, -2])


def test_prior_deviation_is_standard_under_the_prior():
    deviation = prior_deviation(np.random.default_rng(0).standard_normal((50_000, 10)).astype(np.float32))
    np.testing.assert_allclose([deviation.mean(), deviation.std()], [0, 1], atol=0.02)
    assert deviation.dtype == np.float32
