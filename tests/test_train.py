"""The loop and its hooks, and that every combination resumes to the same bits."""

import contextlib
import dataclasses
import functools
import json
import re
import sys
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import COMBINATIONS, METHODS, slow, tiny
from veegan_jax.config.build import build
from veegan_jax.config.convert import effective
from veegan_jax.data import SOURCES
from veegan_jax.errors import NonFiniteError, UserError
from veegan_jax.evaluation import scores
from veegan_jax.experiments import hooks as run_hooks
from veegan_jax.experiments.run import train
from veegan_jax.parallel.devices import replicate
from veegan_jax.storage.checkpoint import Checkpoints, from_host, read_checkpoint, to_host
from veegan_jax.storage.logs import read_rows
from veegan_jax.train.compile import abstract_state, fused_step, initial_state, select_devices
from veegan_jax.train.feed import Batches
from veegan_jax.train.loop import Call, Hook, mean_losses, next_stop, run_loop


def last_digests(workdir, config):
    experiment = build(config)
    return read_checkpoint(experiment, workdir, abstract_state(experiment)).meta["digests"]


# The loop.


def test_next_stop_is_at_the_next_multiple_of_any_cadence():
    stops, step = [], 0
    while step < 275:
        step = next_stop(step, 275, [50, 100, 120, 1000])
        stops.append(step)
    assert stops == [50, 100, 120, 150, 200, 240, 250, 275]
    assert next_stop(130, 275, [50, 100, 120, 1000]) == 150  # A resumed run stops where an uninterrupted one does.


def test_the_first_step_that_is_not_finite_is_named():
    losses = {"loss/gen": np.ones((2, 5)), "loss/disc": np.ones((2, 5))}
    assert mean_losses(Call(100, 105, losses)) == {"loss/gen": 1.0, "loss/disc": 1.0}
    losses["loss/gen"][1, 3] = np.nan
    losses["loss/disc"][0, 4] = np.inf
    with pytest.raises(NonFiniteError, match="loss/gen is nan at step 104"):
        mean_losses(Call(100, 105, losses))
    losses["loss/disc"][0, 1] = -np.inf
    with pytest.raises(NonFiniteError, match="loss/disc is -inf at step 102"):
        mean_losses(Call(100, 105, losses))


def counted(hooks, *, step=0, num_steps=12, stop_after=99, overlap=False):
    """Runs the loop around a step that counts, and returns what each hook was called with."""
    seen, calls = [], []

    def advance(state, n):
        calls.append(n)
        return state + n, {"loss": np.full((1, n), float(state + n))}

    noted = [Hook(lambda *given, name=name: seen.append((name, *given)), every, needs) for name, every, needs in hooks]
    end = run_loop(
        advance,
        step,
        step,
        noted,
        num_steps=num_steps,
        steps_per_call=5,
        stop_asked=lambda: len(calls) >= stop_after,
        progress=lambda step: seen.append(("progress", step)),
        overlap=overlap,
    )
    return seen, end


@pytest.mark.parametrize("overlap", [False, True])
def test_hooks_are_called_in_their_order_when_due_and_at_the_last_step(overlap):
    seen, end = counted([("save", (6,), True), ("log", (4, 6), False)], overlap=overlap)
    assert end == (12, 12)
    assert [entry[:3] for entry in seen if entry[0] != "progress"] == [
        ("log", 4, None), ("save", 6, 6), ("log", 6, 6), ("log", 8, None), ("save", 12, 12), ("log", 12, 12),
    ]  # fmt: skip
    assert [entry[3] for entry in seen if entry[0] == "log"] == [{"loss": float(step)} for step in (4, 6, 8, 12)]
    assert [entry[1] for entry in seen if entry[0] == "progress"] == [4, 5, 6, 8, 10, 12]


def test_hooks_of_one_step_share_its_row():
    rows = []
    hooks = [
        Hook(lambda step, state, row: row.update(score=7.0), (5,)),
        Hook(lambda step, state, row: rows.append(dict(row)), (5,), needs_state=False),
    ]
    run_loop(
        lambda state, n: (state, {"loss": np.zeros((1, n))}), 0, 0, hooks,
        num_steps=5, steps_per_call=5, stop_asked=lambda: False, progress=lambda step: None,
    )  # fmt: skip
    assert rows == [{"loss": 0.0, "score": 7.0}]


def overlapped(hooks, reached, losses=0.0):
    """Runs 25 steps of a loop that overlaps its hooks; `reached` is set after step 15. Returns the error, if any."""
    add = jax.jit(lambda state, n: state + n, donate_argnums=0)

    def advance(state, n):
        state = add(state, n)
        if state == 15:
            reached.set()
        return state, {"loss": np.full((1, n), losses if state == 20 else 0.0)}

    with pytest.raises(Exception, match="the hook|loss is") if losses else contextlib.nullcontext() as raised:
        run_loop(
            advance, jnp.int32(0), 0, hooks,
            num_steps=25, steps_per_call=5, stop_asked=lambda: False, progress=lambda step: None, overlap=True,
        )  # fmt: skip
    return raised


def test_hooks_run_on_a_copy_of_the_state_while_the_next_calls_are_computed():
    reached, found = threading.Event(), []

    def hook(step, state, row):
        assert reached.wait(10)  # The next call overwrites the state of step 10 before it is read here.
        found.append((step, int(state)))

    overlapped([Hook(hook, (10,))], reached)
    assert found == [(10, 10), (20, 20), (25, 25)]


def test_no_call_is_queued_ahead_while_a_hook_works():
    """A hook computes on the device too, and would wait for as long as calls of the step are queued."""
    done, order = threading.Event(), []

    class Losses:
        """Losses of a call, which say when they are waited for."""

        def __init__(self, step, n):
            self.step, self.values = step, np.zeros((1, n))

        def block_until_ready(self):
            order.append(f"ready {self.step}")
            if self.step == 20:
                done.set()
            return self

        def __array__(self, dtype=None, copy=None):
            return self.values

    def advance(state, n):
        order.append(f"call {state + n}")
        return state + n, {"loss": Losses(state + n, n)}

    hooks = [Hook(lambda step, state, row: done.wait(10), (10,))]
    run_loop(
        advance, 0, 0, hooks,
        num_steps=30, steps_per_call=5, stop_asked=lambda: False, progress=lambda step: None, overlap=True,
    )  # fmt: skip
    assert order[:6] == ["call 5", "call 10", "call 15", "ready 15", "call 20", "ready 20"]


@pytest.mark.parametrize("fails", [True, False])
def test_an_error_of_an_overlapped_hook_comes_before_later_ones_and_ends_the_hooks(fails):
    reached, found = threading.Event(), []

    def hook(step, state, row):
        assert reached.wait(10)
        if fails:
            raise UserError("the hook failed")
        found.append(step)

    log = Hook(lambda step, state, row: found.append(f"row {step}"), (5,), needs_state=False)
    raised = overlapped([Hook(hook, (10,)), log], reached, losses=np.nan)
    assert raised.match("the hook failed" if fails else "loss is nan at step 16")
    assert found == (["row 5"] if fails else ["row 5", 10, "row 10", "row 15"])


def test_a_stop_ends_the_loop_after_the_call_in_progress_and_no_row_is_lost():
    seen, end = counted([("save", (100,), True), ("log", (4,), False)], num_steps=100, stop_after=2)
    assert end == (5, 5)
    assert [entry[:2] for entry in seen] == [("progress", 4), ("log", 4), ("progress", 5)]


# Every combination of a method, an architecture and a source.


@pytest.mark.parametrize(("objective", "model", "data"), COMBINATIONS)
def test_resumed_run_has_the_bits_of_an_uninterrupted_one(objective, model, data):
    """The loop is run with a hook that captures the state: whole runs are this loop with other hooks."""
    config = tiny(objective, model, data)
    experiment, devices = build(config), select_devices(config)
    compiled = functools.cache(functools.partial(fused_step, experiment, devices))

    def states(host, step):
        captured, batches = {}, Batches(experiment.source, config.batch_size, devices, step)
        run_loop(
            lambda state, n: compiled(n)(state, batches.take(n)),
            replicate(from_host(host), devices),
            step,
            [Hook(lambda step, state, row: captured.update({step: to_host(state)}), (4,))],
            num_steps=8,
            steps_per_call=2,
            stop_asked=lambda: False,
            progress=lambda step: None,
        )
        return captured

    whole = states(to_host(initial_state(experiment)), 0)
    chex.assert_trees_all_equal(states(whole[4], 4)[8], whole[8])
    assert not np.array_equal(jax.tree.leaves(whole[4].params)[0], jax.tree.leaves(whole[8].params)[0])


# The loop's bits are tested above for every method, architecture and source. A whole run differs in what it measures
# and draws: points or images, with a reconstructor or without, known classes or none, data on the device or streamed.
WHOLE_ROWS = [
    *((method, "mlp", "ring") for method in METHODS),
    ("veegan", "dcgan", "stacked_digits"),
    ("veegan", "resnet", "stacked_digits"),
    *(("veegan", "mlp", source) for source in ["stream", *sorted(SOURCES)] if source != "ring"),
]
OF_EACH_KIND = [("gan", "ring"), ("veegan", "ring"), ("veegan", "mnist"), ("veegan", "images"), ("veegan", "stream")]
WHOLE = [row if (row[0], row[2]) in OF_EACH_KIND or row[1] == "dcgan" else slow(*row) for row in WHOLE_ROWS]


@pytest.mark.parametrize(("objective", "model", "data"), WHOLE)
def test_whole_runs_of_each_method_architecture_and_source_end_with_a_table(tmp_path, objective, model, data):
    """Whole runs save, measure, draw and write; only this test does so for every entry of the registries."""
    config = tiny(objective, model, data)
    outcome = train(config, tmp_path)
    assert (outcome.step, outcome.stopped_by) == (8, None)
    assert "real data" in outcome.table
    assert [row["step"] for row in read_rows(tmp_path)] == [2, 4, 6, 8]
    assert json.loads((tmp_path / "results.json").read_text())["step"] == 8


def test_whole_run_that_is_resumed_has_the_bits_of_an_uninterrupted_one(tmp_path):
    short, full = (tiny(num_steps=steps) for steps in (4, 8))
    assert train(short, tmp_path / "two").step == 4
    assert train(full, tmp_path / "two").step == 8
    train(full, tmp_path / "one")
    assert last_digests(tmp_path / "one", full) == last_digests(tmp_path / "two", full)


# Devices.


@pytest.mark.parametrize("parallel", ["pmap", slow("shard_map")])
def test_training_on_four_devices_with_replicas(tmp_path, parallel):
    config = tiny(devices=4, num_seeds=2, parallel=parallel)
    assert "±" in train(config, tmp_path).table
    assert train(config, tmp_path).step == 8  # The finished run is read, measured and concluded again.


def test_shards_resume_on_other_devices_to_the_same_bits(tmp_path, capsys):
    short, full = tiny(logical_shards=4, num_steps=4), tiny(logical_shards=4, devices=2, parallel="shard_map")
    train(short, tmp_path / "moved")
    assert train(full, tmp_path / "moved").step == 8
    assert "bits may differ" not in capsys.readouterr().err
    train(tiny(logical_shards=4, devices=4), tmp_path / "whole")
    assert last_digests(tmp_path / "moved", full) == last_digests(tmp_path / "whole", full)


def test_replicas_resume_in_another_form_to_the_same_bits(tmp_path, capsys):
    """Three replicas, which two devices cannot share out evenly, are mapped, and then computed side by side."""
    seeds = {"num_seeds": 3, "eval_every": 8}
    short, full = tiny(seed_mapping="map", num_steps=4, **seeds), tiny(seed_mapping="side_by_side", devices=2, **seeds)
    train(short, tmp_path / "moved")
    assert train(full, tmp_path / "moved").step == 8
    assert "bits may differ" not in capsys.readouterr().err
    mapped = tiny(seed_mapping="map", **seeds)
    train(mapped, tmp_path / "whole")
    assert last_digests(tmp_path / "moved", full) == last_digests(tmp_path / "whole", mapped)


def test_a_run_that_resumes_with_other_bits_says_so(tmp_path, capsys, monkeypatch):
    train(tiny(num_steps=4), tmp_path)
    monkeypatch.setenv("NPROC", "3")
    train(tiny(devices=2), tmp_path)
    assert re.search(r"bits may differ from an .* run: shards 1 → 2, threads \d+ → 3\n", capsys.readouterr().err)


# Nothing lost.


def test_divergence_after_a_good_checkpoint_leaves_it(tmp_path):
    """The checkpoint is sound, but the next losses overflow."""
    config = tiny(num_steps=8)
    experiment = build(config)
    state = initial_state(experiment)
    huge = jax.tree.map(lambda leaf: jnp.full_like(leaf, 3e38), state.params)
    state = dataclasses.replace(state, params=huge, step=state.step + 4)
    checkpoints = Checkpoints(tmp_path, best_metric=experiment.best_metric)
    checkpoints.save(4, state, effective(config))
    checkpoints.close()
    (tmp_path / "metrics.jsonl").write_text('{"step": 4}\n')
    before = last_digests(tmp_path, config)
    with pytest.raises(NonFiniteError, match="at step 5; stopped, and nothing was saved since"):
        train(config, tmp_path)
    assert last_digests(tmp_path, config) == before
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 4}\n'


def test_nothing_is_written_for_a_config_that_is_refused(tmp_path):
    with pytest.raises(UserError, match="config.objective is 'vegan'"):
        train(tiny("vegan"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def rows_without_speed(workdir):
    return [{name: value for name, value in row.items() if name != "steps_per_second"} for row in read_rows(workdir)]


@pytest.mark.parametrize("at", ["measure", slow("plot"), slow("log")])
def test_a_kill_after_the_save_of_a_step_loses_neither_step_nor_scores_nor_row(tmp_path, monkeypatch, at):
    """The step is saved first, so a kill while it is measured, drawn or logged costs no training."""
    config = tiny()
    train(config, tmp_path / "whole")

    class Killed(BaseException):
        pass

    def killed(*arguments):
        raise Killed

    where = {"measure": scores.Evaluation, "plot": run_hooks.plots, "log": run_hooks.RunLog}[at]
    name = {"measure": "measure", "plot": "draw_samples", "log": "write"}[at]
    real, steps = getattr(where, name), []

    def once(*arguments):
        # The fourth row, or the second measurement and picture, are those of the last step.
        steps.append(1)
        return killed() if len(steps) == (4 if at == "log" else 2) else real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(where, name, once)
        with pytest.raises(Killed):
            train(config, tmp_path / "cut")
    assert (tmp_path / "cut" / "checkpoints" / "8").is_dir()
    assert [row["step"] for row in read_rows(tmp_path / "cut")] == [2, 4, 6]
    train(config, tmp_path / "cut")
    assert rows_without_speed(tmp_path / "cut") == rows_without_speed(tmp_path / "whole")
    assert last_digests(tmp_path / "cut", config) == last_digests(tmp_path / "whole", config)
    assert (tmp_path / "cut" / "checkpoints" / "8" / "scores.json").exists()


def test_a_failing_score_is_named_and_costs_no_training(tmp_path, monkeypatch, caplog):
    def failing(real):
        raise ValueError("Expected n_neighbors <= n_samples_fit")

    monkeypatch.setattr(sys.modules["veegan_jax.metrics.manifold"], "Bins", failing)
    outcome = train(tiny(), tmp_path)
    assert outcome.step == 8
    assert "Expected n_neighbors" in caplog.text
    assert {"modes", "kl"} <= set(read_rows(tmp_path)[-1])
    assert "precision" not in read_rows(tmp_path)[-1]
