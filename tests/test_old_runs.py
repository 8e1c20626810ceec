"""Runs of version 0.1.0 still load, resume and are measured.

`tests/data/run_0_1_0` is such a run, of `configs/ring.py` with tiny nets (its `config.json` has the fields), with the
fingerprint and the samples that version 0.1.0 itself gave.
"""

import shutil

import chex
import jax
import numpy as np
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


def test_it_loads_and_gives_the_same_samples():
    run = veegan_jax.load(OLD)
    assert run.step == 40
    np.testing.assert_allclose(run.sample(8), np.load(OLD / "samples.npz")["samples"], rtol=1e-4, atol=1e-5)


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


def test_it_resumes_to_the_parameters_that_it_had(experiment, tmp_path):
    """The bits are those of the machine that made the run, so parameters are compared within float error."""
    shutil.copytree(OLD, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "40")
    with jax.numpy_dtype_promotion("standard"):  # optax's cosine schedule mixes integers and floats.
        outcome = train(experiment.config, tmp_path / "run")
    assert (outcome.step, outcome.stopped_by) == (40, None)
    old, new = (
        read_checkpoint(experiment, folder, abstract_state(experiment)).state for folder in (OLD, tmp_path / "run")
    )
    chex.assert_trees_all_close(old.params, new.params, rtol=1e-3, atol=1e-4)
    assert [row["step"] for row in read_rows(tmp_path / "run")] == [10, 20, 30, 40]
    assert read_rows(tmp_path / "run")[:2] == read_rows(OLD)[:2]
