"""Checkpoints: what is kept, what is found damaged, and what is read back to the bit."""

import dataclasses
import shutil

import chex
import jax
import numpy as np
import pytest

from tests.helpers import tiny
from veegan_jax.build import build, initial_state
from veegan_jax.checkpoint import Checkpoints, digests, from_host, to_host
from veegan_jax.config import effective
from veegan_jax.errors import UserError


@pytest.fixture(scope="module")
def experiment():
    return build(tiny(num_seeds=2))


@pytest.fixture(scope="module")
def state(experiment):
    return initial_state(experiment)


@pytest.fixture
def template(experiment):
    return jax.eval_shape(lambda: initial_state(experiment))


def shifted(state, by):
    return dataclasses.replace(state, params=jax.tree.map(lambda leaf: leaf + by, state.params))


def save(folder, state, config, *steps, kl=None, **options):
    checkpoints = Checkpoints(folder, **{"keep_latest": 10, **options})
    for i, step in enumerate(steps):
        checkpoints.save(step, shifted(state, float(step)), effective(config), {"kl": kl[i]} if kl else None)
    checkpoints.close()


def restore(folder, template, step=None, **options):
    checkpoints = Checkpoints(folder, **options)
    try:
        return checkpoints.restore(template, step)
    finally:
        checkpoints.close()


def arrays(folder, step):
    """The files that hold a checkpoint's arrays (Orbax keeps a second copy of small ones, so all are damaged)."""
    return [p for p in (folder / "checkpoints" / str(step) / "state").rglob("*") if p.parent.name == "d"]


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
    checkpoints = Checkpoints(tmp_path)
    live = shifted(state, 1.0)
    expected = to_host(live)
    checkpoints.save(1, live, effective(experiment.config))
    overwrite = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf * 0 - 7, tree), donate_argnums=0)
    jax.block_until_ready(overwrite(live.params))
    checkpoints.close()
    chex.assert_trees_all_equal(restore(tmp_path, template).state, expected)


@pytest.mark.parametrize(("metric", "values", "best"), [("kl", [0.1, 0.5, 0.4, 0.3], 1), ("modes", [3, 9, 4, 5], 2)])
def test_latest_and_best_are_kept(tmp_path, experiment, state, metric, values, best):
    checkpoints = Checkpoints(tmp_path, keep_latest=1, keep_best=1, best_metric=metric)
    for step, value in enumerate(values, start=1):
        checkpoints.save(step, state, {}, {metric: value, "other": 0.0})
    checkpoints.save(5, state, {})  # stopped by a signal: saved, but not measured
    checkpoints.wait()
    assert checkpoints.steps() == [best, 5]
    assert checkpoints.best_step() == best
    checkpoints.close()
    again = Checkpoints(tmp_path, best_metric=metric, read_only=True)
    assert again.best_step() == best
    again.close()


def flip_a_bit(folder, step):
    for file in arrays(folder, step):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(bytes(data))


def truncate(folder, step):
    for file in arrays(folder, step):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def lose_arrays(folder, step):
    for file in arrays(folder, step):
        file.unlink()


def spoil_manifest(folder, step):
    for file in (folder / "checkpoints" / str(step) / "state").rglob("manifest.ocdbt"):
        file.write_bytes(b"nonsense")


def lose_meta(folder, step):
    shutil.rmtree(folder / "checkpoints" / str(step) / "meta")


def empty(folder, step):
    shutil.rmtree(folder / "checkpoints" / str(step))
    (folder / "checkpoints" / str(step)).mkdir()


DAMAGES = [flip_a_bit, truncate, lose_arrays, spoil_manifest, lose_meta, empty]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_the_newest_whole_one_is_used(tmp_path, experiment, state, template, caplog, damage):
    save(tmp_path, state, experiment.config, 1, 2)
    damage(tmp_path, 2)
    found = restore(tmp_path, template)
    assert found.step == 1
    chex.assert_trees_all_equal(found.state, to_host(shifted(state, 1.0)))
    assert f"{tmp_path / 'checkpoints' / '2'} is damaged" in caplog.text
    assert (tmp_path / "damaged" / "2.0").is_dir()  # put aside, not deleted
    # Training comes by step 2 again, and can save it.
    save(tmp_path, state, experiment.config, 2)
    assert restore(tmp_path, template).step == 2


def test_reading_moves_nothing(tmp_path, experiment, state, template):
    save(tmp_path, state, experiment.config, 1, 2)
    truncate(tmp_path, 2)
    assert restore(tmp_path, template, read_only=True).step == 1
    assert (tmp_path / "checkpoints" / "2").is_dir()


def test_all_damaged_is_an_error_not_a_fresh_start(tmp_path, experiment, state, template):
    save(tmp_path, state, experiment.config, 1, 2)
    truncate(tmp_path, 1)
    flip_a_bit(tmp_path, 2)
    with pytest.raises(UserError, match="no whole checkpoint is left"):
        restore(tmp_path, template)


def test_a_named_step_is_read_or_refused(tmp_path, experiment, state, template):
    save(tmp_path, state, experiment.config, 1, 2)
    assert restore(tmp_path, template, 1).step == 1
    with pytest.raises(UserError, match=r"no checkpoint of step 7; it has \[1, 2\]"):
        restore(tmp_path, template, 7)
    truncate(tmp_path, 2)
    with pytest.raises(UserError, match="2 is damaged"):
        restore(tmp_path, template, 2)


def test_other_shapes_are_not_taken(tmp_path, experiment, state):
    save(tmp_path, state, experiment.config, 1)
    other = jax.eval_shape(lambda: initial_state(build(tiny(num_seeds=2, latent_dim=4))))
    with pytest.raises(UserError, match="1 is damaged"):
        restore(tmp_path, other)


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
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state, {})
    checkpoints.wait()
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(UserError, match="could not be written"):  # noqa: PT012
        checkpoints.save(2, state, {})
        checkpoints.close()
