"""Rejection keeps candidates with the probabilities of the rule, and the classifier learns a known ratio."""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import veegan_jax
from tests.helpers import tiny
from veegan_jax.cli.model_commands import evaluate, sample
from veegan_jax.cli.options import Options
from veegan_jax.config.build import build
from veegan_jax.data.base import DataSpec, Source
from veegan_jax.experiments.run import train
from veegan_jax.inference import density_ratio, rejection
from veegan_jax.inference.density_ratio import DensityRatio, Recipe, Sampled, recipe
from veegan_jax.inference.rejection import Rejection, joined, log_scale, thresholds
from veegan_jax.models.network import Network
from veegan_jax.ops import draws

QUICK = Recipe("mlp", {"disc_hidden": (16,), "activation": "silu"}, octaves=1, steps=20, batch=32)


def known_log_ratio(x):
    """Log p/q in the plane for the data N(0, I) and samples N(0, 4 I); its largest value is log 4."""
    return np.log(4.0) - 0.375 * (x**2).sum(-1)


@pytest.fixture(scope="module")
def experiment():
    """An experiment whose generator is x = 2 z, and whose data are standard normals of the plane."""

    def sample(arrays, key):
        return arrays + draws.normals(key, 2)

    centre = np.zeros(2, np.float32)
    normals = Source((2,), False, centre, centre, sample, {}, 100)
    made = build(tiny("gan", latent_dim=2, noise_dim=0))
    doubled = Network(lambda key, *shapes: {}, lambda params, z, eps: 2 * z, lambda params, *inputs: params)
    objective = made.objective._replace(nets={**made.objective.nets, "gen": doubled})
    return made._replace(objective=objective, open_source=lambda: normals)


@pytest.fixture
def exact(monkeypatch):
    """The classifier knows the ratio: nothing is trained, and few draws are counted."""
    monkeypatch.setattr(DensityRatio, "fit", lambda self, p, q: {"nothing": np.zeros(1, np.float32)})
    monkeypatch.setattr(
        DensityRatio, "log_ratio", lambda self, fitted, x: jnp.log(4.0) - 0.375 * jnp.sum(x**2, axis=-1)
    )
    monkeypatch.setattr(rejection, "COUNTED", 2**15)


@pytest.fixture
def fits(monkeypatch):
    """The seeds of the classifiers, each trained for a moment; few draws are counted."""
    seeds, fit = [], DensityRatio.fit
    monkeypatch.setattr(rejection, "recipe", lambda spec: QUICK)
    monkeypatch.setattr(rejection, "COUNTED", 2**12)
    monkeypatch.setattr(DensityRatio, "fit", lambda self, p, q: seeds.append(self.way.seed) or fit(self, p, q))
    return seeds


def within(shares, expected, n):
    """Whether shares of n draws are the expected ones, up to four standard errors."""
    return np.all(np.abs(shares - expected) < 4 * np.sqrt(np.maximum(expected * (1 - expected), 1e-4) / n))


@pytest.mark.parametrize("budget", [1.0, 1.25, 3.0, 40.0])
def test_the_scale_meets_the_budget(budget):
    log_ratio = known_log_ratio(2 * np.random.default_rng(0).standard_normal((20_000, 2)))
    accepted = np.minimum(1, np.exp(log_ratio + log_scale(log_ratio, 1 / budget)))
    assert accepted.mean() == pytest.approx(1 / budget, rel=1e-6)


def test_the_scale_of_two_known_ratios():
    log_ratio = np.log(np.array([1.0, 1.0, 0.2, 0.2]))
    assert np.exp(log_scale(log_ratio, 0.75)) == pytest.approx(2.5)  # (1 + 0.5) / 2
    assert np.exp(log_scale(log_ratio, 0.3)) == pytest.approx(0.5)  # (0.5 + 0.1) / 2


@pytest.mark.parametrize("budget", [1.25, 1.5, 4.0])
def test_each_cell_keeps_the_share_of_the_data(budget):
    rng = np.random.default_rng(0)
    cell = rng.choice(3, 30_000, p=[0.5, 0.3, 0.2])
    log_ratio = rng.normal(size=30_000) + cell  # a classifier that is wrong between cells
    cells = {"centres": np.eye(3), "real_share": np.array([0.45, 0.325, 0.225])}
    accepted = np.exp(np.minimum(0, log_ratio + thresholds(log_ratio, cell, cells, budget)[cell]))
    assert accepted.mean() == pytest.approx(1 / budget, rel=1e-4)
    np.testing.assert_allclose(np.bincount(cell, accepted) / accepted.sum(), cells["real_share"], rtol=1e-4)


def test_cells_of_too_few_candidates_are_joined_with_the_nearest():
    centres = np.array([[0.0], [0.1], [5.0], [5.2], [9.0]])
    real_share, share = np.array([0.2, 0.2, 0.2, 0.2, 0.2]), np.array([0.05, 0.35, 0.21, 0.19, 0.2])
    np.testing.assert_array_equal(joined(centres, real_share, share, 5.0), [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(joined(centres, real_share, share, 1.1), [0, 0, 1, 2, 3])
    np.testing.assert_array_equal(joined(centres, real_share, share, 1.01), [0, 0, 1, 1, 2])
    missing = np.array([0.25, 0.25, 0.25, 0.25, 0.0])
    np.testing.assert_array_equal(joined(centres, real_share, missing, 1.25), [0, 1, 2, 2, 2])
    np.testing.assert_array_equal(joined(centres, real_share, missing, 1.0), [0, 0, 0, 0, 0])
    np.testing.assert_array_equal(joined(centres, missing, missing, 1.25), [0, 1, 2, 3, 3])  # a cell of neither


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("budget", [1.5, 4.0])
def test_candidates_are_kept_with_the_probability_of_the_rule(experiment, budget):
    kept = Rejection(experiment, {"gen": {}}, budget)
    n = 20_000
    x = kept.generate(n, 3)[1]
    centres, log_c = np.asarray(kept.rule["centres"]), np.asarray(kept.rule["log_c"])
    # The rule in numpy: many other candidates, weighted by their probabilities of being kept.
    q = (2 * np.random.default_rng(1).standard_normal((400_000, 2))).astype(np.float32)
    cell = np.argmin(((q[:, None] - centres) ** 2).sum(-1), axis=1)
    accepted = np.minimum(1, np.exp(known_log_ratio(q) + log_c[cell]))
    assert accepted.mean() == pytest.approx(1 / budget, rel=0.02)
    edges = [0, 0.5, 1, 1.5, 2, 3, 9]
    expected = np.histogram(np.linalg.norm(q, axis=1), edges, weights=accepted)[0] / accepted.sum()
    found = np.histogram(np.linalg.norm(x, axis=1), edges)[0] / n
    assert within(found, expected, n * 0.8)
    if budget == 4.0:  # the largest ratio: what is kept are samples of the data's own distribution
        normal = np.diff(1 - np.exp(-(np.array(edges) ** 2) / 2))
        assert within(found, normal, n * 0.5)


@pytest.mark.usefixtures("exact")
def test_samples_are_prefixes_and_some_of_the_candidates_in_their_order(experiment):
    kept = Rejection(experiment, {"gen": {}}, 2.0)
    z, x = kept.generate(700, 5)
    np.testing.assert_array_equal(x, 2 * z)
    np.testing.assert_array_equal(kept.generate(30, 5)[1], x[:30])
    np.testing.assert_array_equal(np.concatenate([part for _, part in kept.pieces(700, 5)]), x)
    assert not np.array_equal(kept.generate(30, 6)[1], x[:30])
    noise = experiment.objective.noise
    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(5)))(jnp.arange(2048))
    candidates = np.asarray(jax.vmap(noise)(keys)["z"])
    positions = [int(np.flatnonzero((candidates == one).all(axis=1))[0]) for one in z]
    assert positions == sorted(set(positions))
    assert len(z) / (positions[-1] + 1) == pytest.approx(0.5, abs=0.06)


@pytest.mark.usefixtures("exact")
def test_the_largest_budget_of_one_keeps_every_sample(experiment):
    z, _ = Rejection(experiment, {"gen": {}}, 1.0).generate(600, 5)
    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(5)))(jnp.arange(600))
    np.testing.assert_array_equal(z, jax.vmap(experiment.objective.noise)(keys)["z"])


def test_the_classifier_learns_a_known_ratio(experiment):
    def normals(scale):
        return Sampled(np.float32(scale), lambda arrays, keys: arrays * jax.vmap(lambda k: draws.normals(k, 2))(keys))

    way = QUICK._replace(options={"disc_hidden": (32, 32), "activation": "silu"}, steps=300, batch=256)
    ratio = DensityRatio(experiment.spec, way)
    fitted = ratio.fit(normals(1), normals(2))
    x = np.random.default_rng(0).standard_normal((2000, 2)).astype(np.float32)
    error = np.asarray(ratio.log_ratio(fitted, x)) - known_log_ratio(x)
    assert np.sqrt(np.mean(error**2)) < 0.2


def test_another_seed_gives_another_classifier_and_the_same_seed_the_same(experiment):
    same = Sampled(jnp.zeros(2), lambda arrays, keys: jax.vmap(lambda k: arrays + draws.normals(k, 2))(keys))
    fitted = [DensityRatio(experiment.spec, QUICK._replace(seed=s, steps=2)).fit(same, same) for s in (0, 1, 0)]
    first, other, again = (np.concatenate([x.ravel() for x in jax.tree.leaves(f["network"])]) for f in fitted)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("shape", "model"),
    [((2,), "mlp"), ((1200,), "mlp"), ((8, 8, 3), "mlp"), ((16, 20, 1), "dcgan")],
)
def test_each_kind_of_data_has_a_classifier(shape, model):
    spec = DataSpec(shape, len(shape) == 3, ())
    way = recipe(spec)
    assert way.model == model
    ratio = DensityRatio(spec, way._replace(steps=1, batch=2))
    both = Sampled(jnp.zeros(shape), lambda arrays, keys: jnp.broadcast_to(arrays, (len(keys), *shape)))
    assert np.isfinite(ratio.log_ratio(ratio.fit(both, both), np.zeros((3, *shape), np.float32))).all()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(tiny(), folder)
    return folder


def test_a_run_samples_with_rejection_and_keeps_the_classifier(workdir, fits):
    run = veegan_jax.load(workdir)
    x = run.sample(600, seed=1, rejection=1.5)
    assert (x.shape, x.dtype) == ((600, 2), np.float32)
    np.testing.assert_array_equal(np.concatenate(list(run.batches(600, 1, rejection=1.5))), x)
    assert not np.array_equal(run.sample(600, seed=1), x)
    (kept,) = workdir.glob("density_ratio_*.npz")
    assert fits == [0]
    again = veegan_jax.load(workdir)
    np.testing.assert_array_equal(again.sample(600, seed=1, rejection=1.5), x)
    again.sample(5, rejection=3.0)  # another budget needs no other classifier
    veegan_jax.load(workdir, step=4).sample(5, rejection=1.5)  # another generator does
    assert len(fits) == 2
    kept.write_bytes(kept.read_bytes()[:-100])
    np.testing.assert_array_equal(veegan_jax.load(workdir).sample(600, seed=1, rejection=1.5), x)
    assert len(fits) == 3


@pytest.mark.usefixtures("fits")
def test_commands_write_samples_and_a_row_of_their_own(workdir, capsys):
    given = Options("evaluate", None, workdir, "latest", 40, 3, rejection=1.25)
    evaluate(given)
    markdown = (workdir / "evaluation_step8_rejection1.25.md").read_text()
    rows = [line.split("|")[1].strip() for line in markdown.splitlines() if line.startswith("| ")]
    assert rows[:4] == ["ring", "veegan, step 8", "+ rejection, K = 1.25", "real data"]
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[0] for line in shown[-5:-2]] == rows[1:4]
    assert shown[-1].endswith("evaluation_step8_rejection1.25.md")
    results = json.loads((workdir / "evaluation_step8_rejection1.25.json").read_text())
    evaluate(given._replace(rejection=None))
    assert results["replicas"] == json.loads((workdir / "evaluation_step8.json").read_text())["replicas"]
    assert results["rejection"]["budget"] == 1.25
    assert set(results["rejection"]["replicas"][0]) == set(results["replicas"][0])
    assert results["rejection"]["replicas"] != results["replicas"]
    sample(given._replace(mode="sample"))
    kept = np.load(workdir / "sample_step8_seed3_rejection1.25.npz")["samples"]
    np.testing.assert_array_equal(kept, veegan_jax.load(workdir).sample(40, 3, rejection=1.25))
    assert (workdir / "sample_step8_seed3_rejection1.25.png").exists()


@pytest.mark.usefixtures("fits")
def test_a_classifier_that_cannot_be_kept_is_used_all_the_same(workdir, tmp_path, monkeypatch, caplog):
    folder = tmp_path / "run"
    shutil.copytree(workdir, folder, ignore=shutil.ignore_patterns("density_ratio_*"))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("veegan_jax.storage.trees.replacing", refuse)
    with caplog.at_level("WARNING", "veegan_jax"):
        assert veegan_jax.load(folder).sample(5, rejection=1.5).shape == (5, 2)
    assert "the classifier is not kept: " in caplog.text


@pytest.mark.usefixtures("fits")
def test_samples_that_are_not_finite_are_refused(experiment, monkeypatch):
    broken = Network(lambda key, *shapes: {}, lambda params, z, eps: z * jnp.nan, lambda params, *inputs: params)
    objective = experiment.objective._replace(nets={**experiment.objective.nets, "gen": broken})
    with pytest.raises(veegan_jax.UserError, match="samples are not finite numbers"):
        Rejection(experiment._replace(objective=objective), {"gen": {}}, 1.5)


@pytest.mark.parametrize("budget", [0.9, -1.0, float("nan"), float("inf"), 1e6])
def test_budgets_out_of_range_are_refused(workdir, budget):
    run = veegan_jax.load(workdir)
    with pytest.raises(veegan_jax.UserError, match="rejection is .*; it must be a number from 1 to 1,000"):
        run.sample(3, rejection=budget)


def test_streamed_images_have_a_classifier_too(monkeypatch, caplog):
    experiment = build(tiny("gan", data="stream"))
    assert experiment.source.stream
    way = Recipe("dcgan", {"base_width": 2, "disc_norm": "none"}, steps=2, batch=4)
    monkeypatch.setattr(rejection, "recipe", lambda spec: way)
    monkeypatch.setattr(rejection, "COUNTED_IMAGES", 2**10)
    monkeypatch.setattr(rejection, "MOST_BYTES", 20 * 4 * 8 * 8 * 3)
    gen = experiment.objective.nets["gen"].init(jax.random.key(0), *experiment.objective.inputs["gen"])
    with caplog.at_level("WARNING", "veegan_jax"):
        kept = Rejection(experiment, {"gen": gen}, 1.25)
    assert "the classifier is trained on 20 of 33 examples" in caplog.text
    assert kept.generate(9, 0)[1].shape == (9, 8, 8, 3)


def test_progress_is_reported_in_lines(monkeypatch, caplog):
    clock = iter([0.0, 1.0, 2.0, 40.0, 41.0])
    monkeypatch.setattr(density_ratio.time, "monotonic", lambda: next(clock))
    progress = density_ratio._Progress(500)
    with caplog.at_level("INFO", "veegan_jax"):
        for done in (100, 200, 300, 400, 500):
            progress.report(done)
    assert [record.getMessage() for record in caplog.records] == [
        "step 200 of 500 of the classifier, 3 s left",
        "step 400 of 500 of the classifier, 13 s left",
    ]
