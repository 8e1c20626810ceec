"""Checkpoints: what is kept, what is found damaged, and what is read back to the bit."""

import dataclasses
import gc
import json
import math
import random
import shutil
import time

import chex
import jax
import numpy as np
import pytest

from tests.helpers import tiny
from veegan_jax.config.build import build
from veegan_jax.config.convert import effective
from veegan_jax.errors import UserError
from veegan_jax.metrics import COLUMNS
from veegan_jax.storage.checkpoint import SCORES, Checkpoints, digests, from_host, to_host
from veegan_jax.train.compile import abstract_state, initial_state


@pytest.fixture(scope="module")
def experiment():
    return build(tiny(num_seeds=2))


@pytest.fixture(scope="module")
def state(experiment):
    return initial_state(experiment)


@pytest.fixture
def template(experiment):
    return abstract_state(experiment)


@pytest.fixture(autouse=True)
def _failed_reads_are_collected():
    """Orbax's remains of a failed read warn when they are collected: better here than in the midst of an import."""
    yield
    gc.collect()


def shifted(state, by):
    return dataclasses.replace(state, params=jax.tree.map(lambda leaf: leaf + by, state.params))


def opened(folder, *, metric="kl", **options):
    return Checkpoints(folder, best_metric=COLUMNS[metric], **options)


def save(folder, state, config, *steps, kl=None, **options):
    checkpoints = opened(folder, **{"keep_latest": 10, **options})
    for i, step in enumerate(steps):
        checkpoints.save(step, shifted(state, float(step)), effective(config))
        if kl:
            checkpoints.add_scores(step, {"kl": kl[i]})
    checkpoints.close()


def restore(folder, template, step=None, **options):
    checkpoints = opened(folder, **options)
    try:
        return checkpoints.restore(template, step)
    finally:
        checkpoints.close()


def test_round_trip_to_the_bit_with_key_config_and_versions(tmp_path, experiment, state, template):
    save(tmp_path, state, experiment.config, 3)
    found = restore(tmp_path, template)
    assert found.step == 3
    back = from_host(found.state)
    chex.assert_trees_all_equal(to_host(back), to_host(shifted(state, 3.0)))
    assert jax.dtypes.issubdtype(back.key.dtype, jax.dtypes.prng_key)
    assert jax.random.normal(back.key[0]) == jax.random.normal(state.key[0])
    assert found.meta["config"] == effective(experiment.config)
    assert {"jax", "jaxlib", "python", "platform"} <= set(found.meta["versions"])


def test_nothing_there(tmp_path, template):
    assert restore(tmp_path, template) is None


def test_state_may_be_donated_while_it_is_written(tmp_path, experiment, state, template):
    checkpoints = opened(tmp_path)
    live = shifted(state, 1.0)
    expected = to_host(live)
    checkpoints.save(1, live, effective(experiment.config))
    overwrite = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf * 0 - 7, tree), donate_argnums=0)
    jax.block_until_ready(overwrite(live.params))
    checkpoints.close()
    chex.assert_trees_all_equal(restore(tmp_path, template).state, expected)


@pytest.mark.parametrize(("metric", "values", "best"), [("kl", [0.1, 0.5, 0.4, 0.3], 1), ("modes", [3, 9, 4, 5], 2)])
def test_latest_and_best_are_kept(tmp_path, experiment, state, metric, values, best):
    checkpoints = opened(tmp_path, metric=metric, keep_latest=1, keep_best=1)
    for step, value in enumerate(values, start=1):
        checkpoints.save(step, state, {})
        checkpoints.add_scores(step, {metric: value, "other": 0.0})
        assert checkpoints.steps() == sorted({step, checkpoints.best().step})
    checkpoints.save(5, state, {})  # A run that is stopped by a signal is saved, but not measured.
    checkpoints.wait()
    assert checkpoints.steps() == [best, 5]
    assert checkpoints.best().step == best
    checkpoints.close()
    again = opened(tmp_path, metric=metric, read_only=True)
    assert again.best().step == best
    again.close()


def flip(file):
    data = bytearray(file.read_bytes() or b"?")
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def truncate(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def lose(file):
    file.unlink()


def spoil_file(damage, *names):
    def spoil(folder, step):
        files = [p for p in (folder / "checkpoints" / str(step)).rglob("*") if p.is_file()]
        chosen = [p for p in files if p.name in names or (p.parent.name in names and p.parent.parent.name != str(step))]
        assert chosen
        for file in chosen:
            damage(file)

    return spoil


def lose_item(name):
    return lambda folder, step: shutil.rmtree(folder / "checkpoints" / str(step) / name)


def edit_meta(change):
    def edit(folder, step):
        file = folder / "checkpoints" / str(step) / "meta" / "metadata"
        meta = json.loads(file.read_text())
        change(meta)
        file.write_text(json.dumps(meta))

    return edit


def empty(folder, step):
    shutil.rmtree(folder / "checkpoints" / str(step))
    (folder / "checkpoints" / str(step)).mkdir()


def take_another(folder, step):
    shutil.rmtree(folder / "checkpoints" / str(step))
    shutil.copytree(folder / "checkpoints" / str(step - 1), folder / "checkpoints" / str(step))


# Orbax keeps a second copy of small arrays, in folders named d, so all are damaged.
DAMAGES = {
    "a bit of the arrays": spoil_file(flip, "d"),
    "arrays truncated": spoil_file(truncate, "d"),
    "arrays lost": spoil_file(lose, "d"),
    "a bit of the manifest": spoil_file(flip, "manifest.ocdbt"),
    "manifest truncated": spoil_file(truncate, "manifest.ocdbt"),
    "manifest is nonsense": spoil_file(lambda file: file.write_bytes(b"nonsense"), "manifest.ocdbt"),
    "arrays' metadata truncated": spoil_file(truncate, "_METADATA"),
    "state lost": lose_item("state"),
    "meta lost": lose_item("meta"),
    "meta truncated": spoil_file(truncate, "metadata"),
    "meta is no text": spoil_file(lambda file: file.write_bytes(b"\xff\x00"), "metadata"),
    "meta is no object": spoil_file(lambda file: file.write_text("[1]"), "metadata"),
    "another step in meta": edit_meta(lambda meta: meta.update(step=1)),
    "another config in meta": edit_meta(lambda meta: meta["config"].update(seed=5)),
    "another kind in meta": edit_meta(lambda meta: meta["arrays"].update(step="int64[2]")),
    "another digest in meta": edit_meta(lambda meta: meta["digests"].update(step="0" * 64)),
    "meta without digest": edit_meta(lambda meta: meta.pop("digest")),
    "empty folder": empty,
    "another step under its name": take_another,
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_damage_is_named_and_the_newest_whole_one_is_used(tmp_path, experiment, state, template, caplog, damage):
    save(tmp_path, state, experiment.config, 1, 2)
    DAMAGES[damage](tmp_path, 2)
    found = restore(tmp_path, template)
    assert found.step == 1
    chex.assert_trees_all_equal(found.state, to_host(shifted(state, 1.0)))
    (message,) = [record.getMessage() for record in caplog.records if record.name == "veegan_jax"]
    assert message.startswith(f"{tmp_path / 'checkpoints' / '2'} is damaged: ")
    assert message.endswith(f"; step 1 is used instead, and the damaged one is kept as {tmp_path / 'damaged' / '2.0'}")
    assert "\n" not in message
    assert (tmp_path / "damaged" / "2.0").is_dir()  # put aside, not deleted
    # Training comes by step 2 again, and can save it.
    save(tmp_path, state, experiment.config, 2)
    assert restore(tmp_path, template).step == 2


@pytest.mark.parametrize("damage", [flip, truncate, lose])
def test_damage_to_any_file_is_found_or_harmless(tmp_path, experiment, state, template, damage):
    """Each file of a checkpoint in turn: what is read is to the bit what was saved, at this step or the one before."""
    whole = tmp_path / "whole"
    save(whole, state, experiment.config, 1, 2)
    files = [p.relative_to(whole) for p in (whole / "checkpoints" / "2").rglob("*") if p.is_file()]
    assert len(files) > 5
    used = {}
    for i, file in enumerate(files):
        shutil.copytree(whole, tmp_path / str(i))
        damage(tmp_path / str(i) / file)
        found = restore(tmp_path / str(i), template)
        chex.assert_trees_all_equal(found.state, to_host(shifted(state, float(found.step))))
        assert found.meta["step"] == found.step
        used[str(file)] = found.step
    assert set(used.values()) == {1, 2}, used  # Orbax's notes on how it wrote are not needed to read


def test_reading_moves_nothing(tmp_path, experiment, state, template, caplog):
    save(tmp_path, state, experiment.config, 1, 2)
    DAMAGES["arrays truncated"](tmp_path, 2)
    assert restore(tmp_path, template, read_only=True).step == 1
    assert (tmp_path / "checkpoints" / "2").is_dir()
    assert caplog.text.count("; step 1 is used instead\n") == 1


def test_all_damaged_is_an_error_not_a_fresh_start_however_often(tmp_path, experiment, state, template):
    save(tmp_path, state, experiment.config, 1, 2)
    DAMAGES["arrays truncated"](tmp_path, 1)
    DAMAGES["a bit of the arrays"](tmp_path, 2)
    for _ in range(2):
        with pytest.raises(UserError, match="2 is damaged.*1 is damaged.*no whole checkpoint is left"):
            restore(tmp_path, template)
    assert not (tmp_path / "damaged").exists()


def test_a_named_step_is_read_or_refused(tmp_path, experiment, state, template):
    save(tmp_path, state, experiment.config, 1, 2)
    assert restore(tmp_path, template, 1).step == 1
    with pytest.raises(UserError, match=r"no checkpoint of step 7; it has \[1, 2\]"):
        restore(tmp_path, template, 7)
    DAMAGES["arrays truncated"](tmp_path, 2)
    with pytest.raises(UserError, match="2 is damaged.*; name another step"):
        restore(tmp_path, template, 2)
    assert (tmp_path / "checkpoints" / "2").is_dir()


def with_params(template, change):
    params = {name: dict(net) for name, net in template.params.items()}
    change(params)
    return dataclasses.replace(template, params=params)


def cast(params):
    params["gen"] = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, np.float16), params["gen"])


def widen(params):
    leaf = params["gen"]["Dense_0"]["bias"]
    params["gen"]["Dense_0"] = {**params["gen"]["Dense_0"], "bias": jax.ShapeDtypeStruct((2, 9), leaf.dtype)}


def more(params):
    params["gen"]["Dense_9"] = {"bias": jax.ShapeDtypeStruct((2, 3), np.float32)}


def less(params):
    del params["gen"]["Dense_0"]


OTHERS = {
    cast: "params/gen/Dense_0/bias is float32[2, 8], the config makes float16[2, 8]; params/gen/Dense_0/kernel is "
    "float32[2, 5, 8], the config makes float16[2, 5, 8]; params/gen/Dense_1/bias is float32[2, 8], the config makes "
    "float16[2, 8]; and 3 more",
    widen: "params/gen/Dense_0/bias is float32[2, 8], the config makes float32[2, 9]",
    more: "params/gen/Dense_9/bias is absent, the config makes float32[2, 3]",
    less: "params/gen/Dense_0/bias is float32[2, 8], the config makes none; params/gen/Dense_0/kernel is "
    "float32[2, 5, 8], the config makes none",
}


@pytest.mark.parametrize("change", OTHERS)
def test_another_model_is_refused_not_taken_for_damage(tmp_path, experiment, state, template, change, caplog):
    save(tmp_path, state, experiment.config, 1, 2)
    DAMAGES["meta truncated"](tmp_path, 2)  # the refusal of 1 leaves it where it is
    other = with_params(template, change)
    for step in (None, 1):
        with pytest.raises(UserError) as refused:
            restore(tmp_path, other, step)
        assert str(refused.value) == (
            f"{tmp_path / 'checkpoints' / '1'} holds another model than this config's: {OTHERS[change]}. Nothing was "
            "changed; use the config it was trained with, or another --workdir"
        )
    assert caplog.text == ""
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["1", "2"]
    assert not (tmp_path / "damaged").exists()
    assert restore(tmp_path, template, 1).step == 1


def test_digests_tell_dtype_shape_and_bits(state):
    host = to_host(state)
    one = digests(host)
    assert one == digests(to_host(state))
    assert len(set(one)) == len(jax.tree.leaves(host))
    flipped = dataclasses.replace(host, step=host.step + np.int32(1))
    assert [name for name, digest in digests(flipped).items() if digest != one[name]] == ["step"]
    wider = dataclasses.replace(host, step=host.step.astype(np.int64))
    assert digests(wider)["step"] != one["step"]


def test_unwritable_disk_is_one_clear_error(tmp_path, state):
    checkpoints = opened(tmp_path)
    checkpoints.save(1, state, {})
    checkpoints.wait()
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(UserError, match="could not be written"):  # noqa: PT012
        checkpoints.save(2, state, {})
        checkpoints.close()


def test_a_step_that_is_there_is_never_passed_over_in_silence(tmp_path, state):
    checkpoints = opened(tmp_path)
    checkpoints.save(1, state, {})
    with pytest.raises(UserError, match="checkpoint 1 .*could not be written: .*already exists"):
        checkpoints.save(1, state, {})
    checkpoints.close()


def test_what_a_killed_save_left_is_never_listed_and_goes(tmp_path, experiment, state, template):
    save(tmp_path, state, experiment.config, 1)
    stale = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "checkpoints" / "1", stale)
    assert restore(tmp_path, template, read_only=True).step == 1
    assert stale.exists()
    save(tmp_path, state, experiment.config, 2)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["1", "2"]


def test_the_best_is_one_that_was_measured_and_is_whole(tmp_path, experiment, state):
    save(tmp_path, state, experiment.config, 1, 2, 3, 4, kl=[0.3, 0.1, 0.3, math.nan])
    DAMAGES["another config in meta"](tmp_path, 2)
    checkpoints = opened(tmp_path, read_only=True)
    assert checkpoints.steps() == [1, 2, 3, 4]
    assert checkpoints.best().step == 3  # The latest of equals is the best.
    checkpoints.close()


def test_checkpoints_are_ranked_by_a_score_that_all_of_them_have(tmp_path, experiment, state):
    """A run of version 0.1.0 that is resumed has old checkpoints without the columns that came later."""
    checkpoints = opened(tmp_path, metric="bin_kl", keep_latest=4)
    for step, scores in {1: {"kl": 0.1}, 2: {"kl": 0.2}, 3: {"kl": 0.3, "bin_kl": 0.1}, 4: {}}.items():
        checkpoints.save(step, state, {})
        checkpoints.add_scores(step, scores)
    assert checkpoints.best() == (1, COLUMNS["kl"], 0.1)
    for step in (1, 2):
        checkpoints.add_scores(step, {"kl": 0.1, "bin_kl": 0.2})
    assert checkpoints.best() == (3, COLUMNS["bin_kl"], 0.1)
    checkpoints.close()


@pytest.mark.parametrize("damage", [flip, truncate])
def test_damaged_scores_hide_no_checkpoint_and_are_not_the_best(tmp_path, experiment, state, template, damage):
    save(tmp_path, state, experiment.config, 1, 2, kl=[0.2, 0.1])
    damage(tmp_path / "checkpoints" / "2" / SCORES)
    checkpoints = opened(tmp_path, read_only=True)
    assert checkpoints.best().step == 1
    assert checkpoints.restore(template).step == 2
    checkpoints.close()


def test_some_fields_of_the_state_are_read_alone(tmp_path, experiment, state, template):
    save(tmp_path, state, experiment.config, 1)
    found = restore(tmp_path, {"params": template.params, "ema": template.ema}).state
    assert set(found) == {"params", "ema"}
    chex.assert_trees_all_equal(found["params"], to_host(shifted(state, 1.0)).params)
    chex.assert_trees_all_equal(found["ema"], to_host(state).ema)
    DAMAGES["a bit of the arrays"](tmp_path, 1)
    with pytest.raises(UserError, match="1 is damaged"):
        restore(tmp_path, {"params": template.params})


def test_fields_that_have_other_arrays_are_refused(tmp_path, experiment, state, template):
    save(tmp_path, state, experiment.config, 1)
    with pytest.raises(UserError, match="params/gen/Dense_9/bias is absent, the config makes float32"):
        restore(tmp_path, {"params": with_params(template, more).params})


def test_a_clock_that_jumps_changes_nothing(tmp_path, experiment, state, template, monkeypatch):
    real, draw, offset = time.time, random.Random(0), [0.0]

    def jumping():
        offset[0] += draw.choice([0, 0, 0, 1e6, -1e6, 3600, -3600])
        return real() + offset[0]

    monkeypatch.setattr(time, "time", jumping)
    save(tmp_path, state, experiment.config, *range(1, 9), kl=[8, 1, 7, 6, 5, 4, 3, 2], keep_latest=1, keep_best=1)
    found = restore(tmp_path, template)
    assert found.step == 8
    chex.assert_trees_all_equal(found.state, to_host(shifted(state, 8.0)))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "8"]
