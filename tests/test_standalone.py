"""A trained model stands alone: its checkpoint has all that sampling and encoding need, and the data may be gone."""

import json
import shutil
from contextlib import closing
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

import veegan_jax
from tests.helpers import tiny
from veegan_jax.config.build import build
from veegan_jax.config.convert import effective
from veegan_jax.experiments.run import train
from veegan_jax.inference.model import Sampler, Weights
from veegan_jax.storage.checkpoint import Checkpoints
from veegan_jax.storage.folder import check_or_write_config
from veegan_jax.train.compile import initial_state


def begun(folder, data="images", model="dcgan", **fields):
    """Returns the config of a run whose data lie in a folder of its own."""
    config = tiny(model=model, data=data, num_seeds=2, **fields)
    section = config[config.data]
    given, own = Path(section.path), folder / "data" / Path(section.path).name
    shutil.copytree(given, own) if given.is_dir() else (own.parent.mkdir(), shutil.copy(given, own))
    section.path = str(own)
    return config


def save(config, workdir, *steps, stored=True):
    """Saves untrained states as the steps of a run, with what inference needs or, as earlier versions, without it."""
    experiment = build(config)
    state, sampler = initial_state(experiment), Sampler(experiment)
    check_or_write_config(workdir, effective(config), experiment.source.contents)
    more = {"data": experiment.spec, "statistics": sampler.statistics(state)} if stored else {}
    with closing(Checkpoints(workdir, keep_latest=9)) as checkpoints:
        for step in steps:
            checkpoints.save(step, state, effective(config), **more)
    return state, sampler


@pytest.mark.parametrize("data", ["mnist", "stacked_mnist", "cifar10", "celeba", "images", "stream"])
def test_a_model_gives_the_same_bits_without_its_data(tmp_path, data):
    config = begun(tmp_path, data)
    state, sampler = save(config, tmp_path / "run", 1)
    calibrated = [sampler.trained(state, replica) for replica in range(2)]
    shutil.rmtree(tmp_path / "data")
    run = veegan_jax.load(tmp_path / "run", step="best")
    chex.assert_trees_all_equal(run.replicas, calibrated)
    assert "batch_stats" in run.replicas[1]["gen"]
    x = run.sample(4)
    np.testing.assert_array_equal(run.sampler.encode(calibrated[0], x), run.encode(x))
    assert np.isfinite(run.reconstruct(x)).all()
    with pytest.raises(veegan_jax.UserError, match=r"path"):
        run.held_out(1)


def test_data_are_found_from_another_folder(tmp_path, monkeypatch):
    config = begun(tmp_path)
    monkeypatch.chdir(tmp_path)
    config.images.path = str(Path(config.images.path).relative_to(tmp_path))
    save(config, tmp_path / "run", 1)
    here = veegan_jax.load("run").held_out(3)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(veegan_jax.load("../run").held_out(3), here)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(veegan_jax.UserError, match=f"images.path is .*{tmp_path}/data"):
        veegan_jax.load("../run").held_out(3)


def test_a_run_of_an_earlier_version_is_calibrated_when_it_is_loaded(tmp_path):
    state, sampler = save(begun(tmp_path), tmp_path / "run", 1, stored=False)
    run = veegan_jax.load(tmp_path / "run")
    chex.assert_trees_all_equal(run.replicas[1], sampler.trained(state, 1))
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(veegan_jax.UserError, match="images.path"):
        veegan_jax.load(tmp_path / "run")


def test_nets_without_batch_normalisation_store_no_statistics_and_draw_no_data(tmp_path, monkeypatch):
    monkeypatch.setattr(Sampler, "training", lambda self, n, seed: pytest.fail("training data were drawn"))
    save(begun(tmp_path, model="mlp"), tmp_path / "run", 1)
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert not (checkpoint / "statistics").exists()
    assert json.loads((checkpoint / "meta" / "metadata").read_text())["statistics"] == {}
    shutil.rmtree(tmp_path / "data")
    assert veegan_jax.load(tmp_path / "run").sample(2).shape == (2, 8, 8, 3)


def test_damaged_statistics_are_passed_over_as_any_damage(tmp_path, caplog):
    save(begun(tmp_path), tmp_path / "run", 1, 2)
    for file in (tmp_path / "run" / "checkpoints" / "2" / "statistics").rglob("*"):
        if file.is_file() and file.parent.name == "d":
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(bytes(content))
    assert veegan_jax.load(tmp_path / "run").step == 1
    assert "is damaged" in caplog.text
    with pytest.raises(veegan_jax.UserError, match="2 is damaged"):
        veegan_jax.load(tmp_path / "run", step=2)


def test_training_stores_the_statistics_of_its_averaged_parameters(tmp_path):
    """The statistics in a trained run are those that a load would compute from its moving averages."""
    config = begun(tmp_path, num_steps=2, eval_every=2)
    train(config, tmp_path / "run")
    run = veegan_jax.load(tmp_path / "run")
    sampler = Sampler(build(config))
    for frozen in run.replicas:
        params = {net: p.get("params", p) for net, p in frozen.items()}
        alone = Weights(jax.tree.map(lambda leaf: leaf[None], params), {})
        chex.assert_trees_all_equal(sampler.trained(alone, 0), frozen)
