"""A comparison: one table of several runs, which resumes where it stopped, and whose rows may diverge."""

import json

import jax
import pytest
from ml_collections import ConfigDict

from tests.helpers import tiny
from veegan_jax.errors import NonFiniteError, UserError
from veegan_jax.experiments import compare as module
from veegan_jax.experiments.compare import compare

ROWS = {
    "gan": {"objective": "gan"},
    "pacgan2": {"objective": "gan", "packing": 2},
    "veegan": {"veegan": {"reconstruction_weight": 0.1}},
}


def comparison(rows=ROWS, **fields):
    config = tiny(num_steps=4, **fields)
    with config.unlocked():
        config.compare = ConfigDict(rows)
    return config


def test_one_table_of_all_rows(tmp_path):
    outcome = compare(comparison(num_seeds=2), tmp_path)
    assert outcome.stopped_by is None
    for row in ("gan", "pacgan2", "veegan", "real data", "veegan (paper)"):
        assert f"\n| {row} " in outcome.table
    gan, veegan = (
        next(line for line in outcome.table.splitlines() if line.startswith(f"| {r} ")) for r in ROWS if r != "pacgan2"
    )
    assert gan.count("±") + 2 == veegan.count("±")  # a GAN has no reconstructor to score
    assert (tmp_path / "results.md").read_text().strip() == outcome.table
    stored = json.loads((tmp_path / "results.json").read_text())
    assert {name: len(replicas) for name, replicas in stored["rows"].items()} == dict.fromkeys(ROWS, 2)
    assert json.loads((tmp_path / "pacgan2" / "config.json").read_text())["packing"] == 2
    assert json.loads((tmp_path / "veegan" / "config.json").read_text())["veegan"]["reconstruction_weight"] == 0.1


def test_programs_of_a_finished_row_are_let_go(tmp_path, monkeypatch):
    held, real = [], module.train

    def spy(config, folder):
        held.append(len(jax.devices()[0].client.live_executables()))
        return real(config, folder)

    monkeypatch.setattr(module, "train", spy)
    compare(comparison(), tmp_path)
    assert len(held) == 3
    assert held[2] <= held[1]


def test_finished_rows_are_not_trained_again(tmp_path, monkeypatch):
    trained = []

    def spy(config, folder):
        trained.append(folder.name)
        if folder.name == "pacgan2" and trained.count("pacgan2") == 1:
            raise KeyboardInterrupt
        return real(config, folder)

    real = module.train
    monkeypatch.setattr(module, "train", spy)
    with pytest.raises(KeyboardInterrupt):
        compare(comparison(), tmp_path)
    table = compare(comparison(), tmp_path).table
    assert trained == ["gan", "pacgan2", "pacgan2", "veegan"]
    assert compare(comparison(), tmp_path).table == table
    assert len(trained) == 4
    (tmp_path / "gan" / "results.json").write_text("{")  # damaged: measured again, from its last checkpoint
    assert compare(comparison(), tmp_path).table == table
    assert trained[4:] == ["gan"]


def test_a_row_that_diverges_is_said_to(tmp_path, monkeypatch):
    def train(config, folder):
        if folder.name == "gan":
            raise NonFiniteError("loss/gen is nan at step 3; stopped")
        return real(config, folder)

    real = module.train
    monkeypatch.setattr(module, "train", train)
    table = compare(comparison(), tmp_path).table
    assert "Diverged: gan: loss/gen is nan at step 3." in table
    assert "\n| gan " in table
    monkeypatch.setattr(module, "train", real)
    assert "Diverged: gan" in compare(comparison(), tmp_path).table  # known, and not tried again


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"objectiv": "gan"}, r"config.compare.bad.objectiv is no field of this version; did you mean 'objective'\?"),
        ({"objective": "gann"}, r"config.objective is 'gann'; did you mean 'gan'\?"),
        ({"packing": "two"}, "config.compare.bad.packing is 'two'"),
        ({"packing": 3}, "config.batch_size is 16; it must divide by config.packing, 3"),
    ],
)
def test_a_wrong_row_is_named_before_any_training(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        compare(comparison({"gan": {"objective": "gan"}, "bad": row}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
