"""Runs of version 0.1.0 still load, resume and are measured.

`tests/data/run_0_1_0` is such a run, of `configs/ring.py` with tiny nets (its `config.json` has the fields), with the
fingerprint and the samples that version 0.1.0 itself gave.
"""

import shutil

import jax
import numpy as np
import optax
import pytest

import veegan_jax
from tests.helpers import ROOT
from veegan_jax.config.build import build
from veegan_jax.config.convert import from_json
from veegan_jax.experiments.run import train
from veegan_jax.storage.checkpoint import fingerprints, read_checkpoint
from veegan_jax.storage.logs import read_rows
from veegan_jax.train.compile import abstract_state

OLD = ROOT / "tests" / "data" / "run_0_1_0"


@pytest.fixture(scope="module")
def experiment():
    return build(from_json(OLD / "config.json"))


def test_it_loads_and_maps_the_latents_that_it_drew_to_the_same_samples():
    """Version 0.1.0 drew z, ε and ξ of a sample by one call of `jax.random.normal`."""
    run = veegan_jax.load(OLD)
    assert run.step == 40
    k, e = run.config.latent_dim, run.config.noise_dim
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(0), np.arange(8))
    drawn = jax.vmap(lambda key: jax.random.normal(key, (k + e + k,)))(keys)
    samples = run.experiment.objective.generate(run.replicas[0], {"z": drawn[:, :k], "eps": drawn[:, k : k + e]})
    np.testing.assert_allclose(samples, np.load(OLD / "samples.npz")["samples"], rtol=1e-4, atol=1e-5)


def test_its_best_checkpoint_is_known_by_the_scores_that_it_has(caplog):
    with caplog.at_level("INFO", "veegan_jax"):
        assert veegan_jax.load(OLD, step="best").step == 40
    # The reverse KL was 0.267 at step 20, and 0.233 at step 40.
    assert caplog.messages[-1] == "step best is 40: its reverse KL is 0.2333; these checkpoints have no (K+1)-bin KL"


def test_its_fingerprint_is_the_one_that_it_had(experiment):
    step, found, made_by = fingerprints(experiment, OLD)
    recorded = dict(line.split() for line in (OLD / "fingerprint.txt").read_text().splitlines())
    assert {"step": str(step), **found} == recorded
    assert made_by["veegan_jax"] == "0.1.0"


def test_it_resumes_and_says_that_bits_may_differ(experiment, tmp_path, capsys):
    """The draws are others than those of version 0.1.0, so parameters end near those that it had, not on them."""
    shutil.copytree(OLD, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "40")
    with jax.numpy_dtype_promotion("standard"):  # optax's cosine schedule mixes integers and floats.
        outcome = train(experiment.config, tmp_path / "run")
    assert (outcome.step, outcome.stopped_by) == (40, None)
    assert "bits may differ from an uninterrupted run: " in (said := capsys.readouterr().err)
    assert f"veegan_jax 0.1.0 → {veegan_jax.__version__}" in said
    template = abstract_state(experiment)
    begun, old, new = (
        read_checkpoint(experiment, *where).state
        for where in ((OLD, template, 20), (OLD, template), (tmp_path / "run", template))
    )
    moved, apart = (optax.tree.norm(jax.tree.map(np.subtract, old.params, s.params)) for s in (begun, new))
    assert 0 < apart < 0.5 * moved
    counts = [leaf for leaf in jax.tree.leaves(new.opt_state) if leaf.dtype == np.int32]
    assert {int(leaf[0]) for leaf in counts} == {40}
    assert [row["step"] for row in read_rows(tmp_path / "run")] == [10, 20, 30, 40]
    assert read_rows(tmp_path / "run")[:2] == read_rows(OLD)[:2]
