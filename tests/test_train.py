"""The loop: where calls end, what is checked, and that every combination resumes to the same bits."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import COMBINATIONS, tiny
from veegan_jax.config.build import build
from veegan_jax.config.convert import effective
from veegan_jax.errors import NonFiniteError, UserError
from veegan_jax.experiments.run import check_finite_losses, next_stop, train
from veegan_jax.storage.checkpoint import Checkpoints
from veegan_jax.train.compile import initial_state


def last_digests(workdir, config):
    checkpoints = Checkpoints(workdir, read_only=True)
    try:
        return checkpoints.restore(jax.eval_shape(lambda: initial_state(build(config)))).meta["digests"]
    finally:
        checkpoints.close()


@pytest.mark.parametrize(("objective", "model", "data"), COMBINATIONS)
def test_resumed_run_has_the_bits_of_an_uninterrupted_one(tmp_path, objective, model, data):
    short, full = (tiny(objective, model, data, num_steps=steps) for steps in (4, 8))
    assert train(short, tmp_path / "two").step == 4
    outcome = train(full, tmp_path / "two")
    assert (outcome.step, outcome.stopped_by) == (8, None)
    assert "real data" in outcome.table
    train(full, tmp_path / "one")
    assert last_digests(tmp_path / "one", full) == last_digests(tmp_path / "two", full)


@pytest.mark.parametrize("parallel", ["pmap", "shard_map"])
def test_training_on_four_devices_with_replicas(tmp_path, parallel):
    config = tiny(devices=4, num_seeds=2, parallel=parallel)
    assert "±" in train(config, tmp_path).table
    # Another process with fewer devices can read and measure it.
    assert train(config, tmp_path).step == 8


def test_shards_go_on_on_other_devices_to_the_same_bits(tmp_path, capsys):
    short, full = tiny(logical_shards=4, num_steps=4), tiny(logical_shards=4, devices=2, parallel="shard_map")
    train(short, tmp_path / "moved")
    assert train(full, tmp_path / "moved").step == 8
    assert "bits may differ" not in capsys.readouterr().err
    train(tiny(logical_shards=4, devices=4), tmp_path / "whole")
    assert last_digests(tmp_path / "moved", full) == last_digests(tmp_path / "whole", full)


def test_whoever_goes_on_with_other_bits_is_told(tmp_path, capsys, monkeypatch):
    train(tiny(num_steps=4), tmp_path)
    monkeypatch.setenv("NPROC", "3")
    train(tiny(devices=2), tmp_path)
    assert re.search(r"bits may differ from an .* run: shards 1 → 2, threads \d+ → 3\n", capsys.readouterr().err)


def test_next_stop_is_at_the_next_multiple_of_anything():
    config = tiny(steps_per_call=50, log_every=100, eval_every=120, save_every=1000, num_steps=275)
    stops, step = [], 0
    while step < 275:
        step = next_stop(step, config)
        stops.append(step)
    assert stops == [50, 100, 120, 150, 200, 240, 250, 275]
    assert next_stop(130, config) == 150  # after a resume, the stops are those of an uninterrupted run


def test_first_step_that_is_not_finite_is_named():
    losses = {"loss/gen": np.ones((2, 5)), "loss/disc": np.ones((2, 5))}
    check_finite_losses(100, losses)
    losses["loss/gen"][1, 3] = np.nan
    losses["loss/disc"][0, 4] = np.inf
    with pytest.raises(NonFiniteError, match="loss/gen is nan at step 104"):
        check_finite_losses(100, losses)
    losses["loss/disc"][0, 1] = -np.inf
    with pytest.raises(NonFiniteError, match="loss/disc is -inf at step 102"):
        check_finite_losses(100, losses)


def test_divergence_after_a_good_checkpoint_leaves_it(tmp_path):
    """A run whose checkpoint is sound, but whose next losses overflow."""
    config = tiny(num_steps=8)
    state = initial_state(build(config))
    huge = jax.tree.map(lambda leaf: jnp.full_like(leaf, 3e38), state.params)
    state = dataclasses.replace(state, params=huge, step=state.step + 4)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(4, state, effective(config))
    checkpoints.close()
    before = last_digests(tmp_path, config)
    with pytest.raises(NonFiniteError, match="at step 5; stopped, and nothing was saved since"):
        train(config, tmp_path)
    assert last_digests(tmp_path, config) == before
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_nothing_is_written_for_a_config_that_is_refused(tmp_path):
    with pytest.raises(UserError, match="config.objective is 'vegan'"):
        train(tiny("vegan"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
