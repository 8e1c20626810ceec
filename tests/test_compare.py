"""A comparison: one table of several runs, which resumes where it stopped, and whose rows may diverge."""

import json
import shutil

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
REAL_TRAIN = module.train


def comparison(rows=ROWS, **fields):
    config = tiny(num_steps=4, **fields)
    with config.unlocked():
        config.compare = ConfigDict(rows)
    return config


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison that has run to its end: its config, folder, outcome, and the programs held before each row."""
    workdir, config, held = tmp_path_factory.mktemp("compared"), comparison(num_seeds=2), []

    def spy(config, folder, name):
        held.append(len(jax.devices()[0].client.live_executables()))
        return REAL_TRAIN(config, folder, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train", spy)
        outcome = compare(config, workdir)
    return config, workdir, outcome, held


def test_one_table_of_all_rows(compared):
    _, workdir, outcome, _ = compared
    assert outcome.stopped_by is None
    for row in ("gan", "pacgan2", "veegan", "real data", "veegan (paper)"):
        assert f"\n| {row} " in outcome.table
    gan, veegan = (
        next(line for line in outcome.table.splitlines() if line.startswith(f"| {r} ")) for r in ROWS if r != "pacgan2"
    )
    assert gan.count("±") + 2 == veegan.count("±")  # A GAN has no reconstructor to score.
    assert (workdir / "results.md").read_text().strip() == outcome.table
    stored = json.loads((workdir / "results.json").read_text())
    assert {name: len(replicas) for name, replicas in stored["rows"].items()} == dict.fromkeys(ROWS, 2)
    assert json.loads((workdir / "pacgan2" / "config.json").read_text())["packing"] == 2
    assert json.loads((workdir / "veegan" / "config.json").read_text())["veegan"]["reconstruction_weight"] == 0.1


def test_programs_of_a_finished_row_are_freed(compared):
    held = compared[-1]
    assert len(held) == 3
    assert held[2] <= held[1]


def test_finished_rows_are_not_trained_again_but_a_damaged_one_is_measured_again(compared, tmp_path, monkeypatch):
    config, workdir, outcome, _ = compared
    shutil.copytree(workdir, tmp_path / "run")
    trained = []
    monkeypatch.setattr(module, "train", lambda row, folder, name: trained.append(name) or REAL_TRAIN(row, folder))
    assert compare(config, tmp_path / "run").table == outcome.table
    assert trained == []
    (tmp_path / "run" / "gan" / "results.json").write_text("{")
    assert compare(config, tmp_path / "run").table == outcome.table
    assert trained == ["gan"]


def test_a_comparison_resumes_at_the_row_where_it_was_interrupted(tmp_path, monkeypatch):
    trained, rows = [], {name: ROWS[name] for name in ("gan", "veegan")}

    def train(config, folder, name):
        trained.append(folder.name)
        if trained == ["gan", "veegan"]:
            raise KeyboardInterrupt
        return REAL_TRAIN(config, folder, name)

    monkeypatch.setattr(module, "train", train)
    with pytest.raises(KeyboardInterrupt):
        compare(comparison(rows), tmp_path)
    table = compare(comparison(rows), tmp_path).table
    assert trained == ["gan", "veegan", "veegan"]
    assert "\n| gan " in table
    assert "\n| veegan " in table


def test_a_row_that_diverges_is_reported(tmp_path, monkeypatch):
    rows = {name: ROWS[name] for name in ("gan", "veegan")}

    def train(config, folder, name):
        if folder.name == "gan":
            raise NonFiniteError("loss/gen is nan at step 3; stopped")
        return REAL_TRAIN(config, folder, name)

    monkeypatch.setattr(module, "train", train)
    _, table, _, short_table = compare(comparison(rows), tmp_path)
    assert short_table.endswith("Diverged: gan: loss/gen is nan at step 3.")
    assert [line.split()[1] for line in short_table.splitlines() if line.startswith("gan ")] == ["–"]
    assert "Diverged: gan: loss/gen is nan at step 3." in table
    assert "\n| gan " in table
    monkeypatch.setattr(module, "train", REAL_TRAIN)
    assert "Diverged: gan" in compare(comparison(rows), tmp_path).table  # It is known, and not tried again.


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
