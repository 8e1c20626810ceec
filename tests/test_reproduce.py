"""Cells: what is computed once, by whom, and what is printed of cells alone."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from tests.helpers import ROOT, tiny
from veegan_jax.cli import commands, usage
from veegan_jax.cli.config_file import find, read
from veegan_jax.cli.options import Options
from veegan_jax.errors import UserError
from veegan_jax.experiments import cells as cells_module
from veegan_jax.experiments import compare as training
from veegan_jax.experiments.cells import locked_cell, read_cell
from veegan_jax.experiments.compare import compare
from veegan_jax.experiments.reproduce import (
    at_once,
    by_row,
    joint_table,
    read_cells,
    reproduce,
    units,
    with_budget,
    write_tables,
)

ROWS = {"gan": {"objective": "gan"}, "veegan": {"veegan": {"reconstruction_weight": 0.1}}}
NAMES = ["c/gan.seed0", "c/veegan.seed0", "c/gan.seed1", "c/veegan.seed1"]
REAL_TRAIN = training.train


def comparison(rows=ROWS, **fields):
    config = tiny(**{"num_steps": 4, "eval_every": 2, "num_seeds": 2, **fields})
    with config.unlocked():
        config.compare = ConfigDict(rows)
    return config


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """Two rows with two seeds, computed: the folder with the runs and that of the cells."""
    folder = tmp_path_factory.mktemp("computed")
    done = reproduce(units({"c": comparison()}), folder / "runs", folder / "cells")
    assert done == ({}, {}, None)
    return folder


@pytest.fixture
def there(computed, tmp_path):
    """A copy of the computed runs and cells."""
    return Path(shutil.copytree(computed, tmp_path / "there"))


@pytest.fixture
def trained(monkeypatch):
    """The names of the runs that are trained from now on."""
    names = []

    def train(config, folder, name):
        names.append(folder.name)
        return REAL_TRAIN(config, folder)

    monkeypatch.setattr(training, "train", train)
    return names


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.json")}


def test_seeds_come_one_after_the_other_in_all_rows():
    assert [unit.name for unit in units({"c": comparison()})] == NAMES
    wanted = units({"c": comparison(), "d": comparison({"ali": {"objective": "ali"}}, seed=7)}, 0.5)
    assert [unit.name for unit in wanted] == [
        *("c-budget0.5/gan.seed0", "c-budget0.5/veegan.seed0", "d-budget0.5/ali.seed7"),
        *("c-budget0.5/gan.seed1", "c-budget0.5/veegan.seed1", "d-budget0.5/ali.seed8"),
    ]
    assert {unit.config.num_seeds for unit in wanted} == {1}
    assert [unit.name for unit in units({"c": tiny("aae")})] == ["c/aae.seed0"]  # A single run is a row of its own.


def test_a_budget_scales_the_steps_and_all_that_is_a_share_of_the_training():
    config = tiny(num_steps=1_000, eval_every=100, save_every=50, log_every=25, ema_half_life=400.0)
    config.penalty.r1, config.penalty.anneal_steps = 1.0, 800
    scaled = with_budget(config, 0.1)
    assert (scaled.num_steps, scaled.eval_every, scaled.save_every, scaled.log_every) == (100, 10, 5, 2)
    assert (scaled.penalty.anneal_steps, scaled.ema_half_life) == (80, 40.0)
    assert (config.num_steps, scaled.batch_size) == (1_000, config.batch_size)
    assert with_budget(config, 1e-9).num_steps == 1
    config.penalty.anneal_steps = 0
    assert with_budget(config, 0.1).penalty.anneal_steps == 0


def test_a_cell_says_all_of_its_run(computed):
    (unit, *_) = units({"c": comparison()})
    cell = read_cell(unit.cell(computed / "cells"), unit.config)
    assert cell is not None
    assert (cell.seeds, cell.step, cell.diverged, cell.samples) == ([0], 4, "", 64)
    results = json.loads((computed / "runs" / unit.name / "results.json").read_text())
    assert (cell.replicas, cell.real) == (results["replicas"], results["real"])
    assert cell.curve["step"] == [2, 4]
    assert cell.curve["modes"][-1] == cell.replicas[0]["modes"]
    assert len(cell.curve["loss/gen"]) == 2
    assert "steps_per_second" not in cell.curve
    assert any("64 samples" in note for note in cell.notes)
    assert {"jax", "device", "veegan_jax"} <= set(cell.versions)
    assert cell.config["latent_dim"] == 3


def test_cells_have_the_scores_that_the_comparison_gives_all_seeds_at_once(computed, tmp_path):
    compare(comparison({"veegan": ROWS["veegan"]}), tmp_path)
    replicas = json.loads((tmp_path / "results.json").read_text())["rows"]["veegan"]
    for unit in units({"c": comparison()})[1::2]:
        assert read_cell(unit.cell(computed / "cells"), unit.config).replicas == [replicas[unit.config.seed]]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("changed", [{}, {"steps_per_call": 4, "save_every": 1, "parallel": "shard_map"}])
def test_a_cell_is_never_computed_twice_also_without_its_run(there, trained, changed):
    shutil.rmtree(there / "runs")
    before = files(there / "cells")
    assert reproduce(units({"c": comparison(**changed)}), there / "runs", there / "cells").failed == {}
    assert trained == []
    assert files(there / "cells") == before


@pytest.mark.parametrize("together", [True, False])
def test_seeds_that_are_trained_at_once_have_one_cell_which_is_never_computed_twice(there, trained, together):
    wanted = units({"c": comparison()})
    singly = write_tables(wanted, there / "new", there / "cells", 1, "")
    for name in (NAMES[0], NAMES[2]):
        (there / "cells" / f"{name}.json").unlink()
    assert reproduce(wanted, there / "runs", there / "cells", together=True).failed == {}
    assert trained == ["gan.seeds0-1"]
    assert reproduce(wanted, there / "new", there / "cells", together=together).failed == {}
    assert trained == ["gan.seeds0-1"]
    found = read_cells(wanted, there / "cells").found
    assert list(found) == NAMES
    assert found[NAMES[0]] is found[NAMES[2]]
    assert found[NAMES[0]].seeds == [0, 1]
    assert write_tables(wanted, there / "new", there / "cells", 1, "") == singly


def test_a_seed_that_two_cells_have_counts_once(there):
    wanted = units({"c": comparison()})
    before = write_tables(wanted, there / "new", there / "cells", 1, "")
    reproduce(units({"c": comparison()}), there / "runs", there / "other", together=True)
    shutil.copy(there / "other" / "c" / "gan.seeds0-1.json", there / "cells" / "c")
    (there / "cells" / f"{NAMES[2]}.json").unlink()
    found = by_row(wanted, read_cells(wanted, there / "cells").found)
    assert [cell.seeds for cell in found["gan"]] == [[0], [1]]
    assert write_tables(wanted, there / "new", there / "cells", 1, "") == before


def test_only_seeds_that_follow_one_another_are_trained_at_once():
    wanted = units({"c": comparison(num_seeds=4)})
    names = [unit.name for unit in at_once([unit for unit in wanted if unit.name != "c/gan.seed1"])]
    assert names == ["c/gan.seed0", "c/gan.seeds2-3", "c/veegan.seeds0-3"]


def test_a_kill_between_the_end_of_training_and_the_cell_loses_nothing(there, trained):
    before = files(there / "cells")
    shutil.rmtree(there / "cells")
    reproduce(units({"c": comparison()}), there / "runs", there / "cells")
    assert trained == []
    assert files(there / "cells") == before


def test_a_cell_that_is_missing_resumes_from_the_checkpoints_of_its_run(there, trained):
    (there / "cells" / f"{NAMES[1]}.json").unlink()
    (there / "runs" / NAMES[1] / "results.json").unlink()
    reproduce(units({"c": comparison()}), there / "runs", there / "cells")
    assert trained == ["veegan.seed0"]


def test_a_cell_of_another_config_is_named_and_neither_used_nor_overwritten(there, trained, capsys):
    before = files(there / "cells")
    wanted = units({"c": comparison(ROWS | {"gan": {"objective": "gan", "batch_size": 8}})})
    done = reproduce(wanted, there / "other", there / "cells")
    assert list(done.failed) == ["c/gan.seed0", "c/gan.seed1"]
    line = r"c/gan.seed0: .*gan.seed0.json is of another config \(config.batch_size: 8, but the run has 16\); delete it"
    assert re.search(line, capsys.readouterr().out)
    assert trained == []
    assert files(there / "cells") == before
    assert list(read_cells(wanted, there / "cells").found) == ["c/veegan.seed0", "c/veegan.seed1"]


def test_a_cell_of_a_version_that_lacks_a_field_is_that_of_the_fields_default(there):
    (unit, *_) = units({"c": comparison()})
    path = unit.cell(there / "cells")
    assert '"spectral_norm": false, ' in path.read_text()
    path.write_text(path.read_text().replace('"spectral_norm": false, ', ""))
    assert read_cell(path, unit.config) is not None
    unit.config.spectral_norm = True
    with pytest.raises(UserError, match=r"is of another config \(config.spectral_norm: True, but the run has False\)"):
        read_cell(path, unit.config)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "it is not JSON"),
        ("{}", "its names are none; a cell has config, seeds, step,"),
        (None, "config.batch_size is 'many'"),
    ],
)
def test_a_damaged_cell_is_named_in_one_line_and_left_as_it_is(there, trained, content, reason):
    path = there / "cells" / f"{NAMES[2]}.json"
    content = content or path.read_text().replace('"batch_size": 16', '"batch_size": "many"')
    path.write_text(content)
    done = reproduce(units({"c": comparison()}), there / "runs", there / "cells")
    assert list(done.failed) == [NAMES[2]]
    assert f"{path} is damaged, or of another version: {reason}" in done.failed[NAMES[2]]
    assert "\n" not in done.failed[NAMES[2]]
    assert (trained, path.read_text()) == ([], content)


def test_a_row_that_diverges_is_a_cell_which_is_not_tried_again(tmp_path, trained):
    rows = {"gan": {"objective": "gan", "optim": {"gen": {"learning_rate": 1e38}}}}
    wanted = units({"c": comparison(rows, num_seeds=1)})
    assert reproduce(wanted, tmp_path / "runs", tmp_path / "cells") == ({}, {}, None)
    (cell,) = read_cells(wanted, tmp_path / "cells").found.values()
    assert "not finite" in cell.diverged or "nan" in cell.diverged
    assert cell.replicas == []
    reproduce(wanted, tmp_path / "elsewhere", tmp_path / "cells")
    assert trained == ["gan.seed0"]
    table = write_tables(wanted, tmp_path / "tables", tmp_path / "cells", 1, "")
    assert re.search(r"\n\| gan \(1 diverged\) +\|", table)
    assert "diverged: gan with seed 0 (" in table


def test_a_model_whose_scores_are_not_finite_has_diverged(there, monkeypatch):
    """JSON has no such number, so that its results could not be read, and it would be trained again and again."""
    (unit, *_) = units({"c": comparison()})
    unit.cell(there / "cells").unlink()
    results = there / "runs" / unit.name / "results.json"
    results.unlink()

    def train(config, folder, name):
        results.write_text('{"step": 4, "replicas": [{"kl": NaN}], "real": {}}')
        return training.Outcome(4, "a table", None)

    monkeypatch.setattr(training, "train", train)
    assert reproduce([unit], there / "runs", there / "cells").failed == {}
    cell = read_cell(unit.cell(there / "cells"), unit.config)
    assert (cell.diverged, cell.replicas) == ("a score of step 4 is not finite", [])


def test_a_cell_that_fails_does_not_stop_the_others_and_is_tried_again(there, monkeypatch, capsys):
    wanted = units({"c": comparison()})
    for unit in wanted:
        unit.cell(there / "cells").unlink()
    results = there / "runs" / wanted[0].name / "results.json"
    results.rename(results.with_suffix(".away"))

    def train(config, folder, name):
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(training, "train", train)
    done = reproduce(wanted, there / "runs", there / "cells")
    assert done.failed == {NAMES[0]: "out of memory"}
    assert "in train\n    raise RuntimeError" in capsys.readouterr().err
    assert list(read_cells(wanted, there / "cells").found) == NAMES[1:]
    results.with_suffix(".away").rename(results)
    assert reproduce(wanted, there / "runs", there / "cells").failed == {}
    assert list(read_cells(wanted, there / "cells").found) == NAMES


def test_a_wrong_row_is_named_before_anything_is_trained(tmp_path, trained):
    wanted = units({"c": comparison({"bad": {"packing": 3}})})
    done = reproduce(wanted, tmp_path / "runs", tmp_path / "cells")
    assert done.failed == dict.fromkeys(
        ("c/bad.seed0", "c/bad.seed1"), "config.batch_size is 16; it must divide by config.packing, 3"
    )
    assert trained == []
    with pytest.raises(UserError, match=r"--row is 'bat'; did you mean 'bad'\?"):
        reproduce(wanted, tmp_path / "runs", tmp_path / "cells", "bat")


def test_a_cell_that_another_process_computes_is_left_to_it(there, trained):
    wanted = units({"c": comparison()})
    for name in NAMES[:2]:
        (there / "cells" / f"{name}.json").unlink()
    with locked_cell(wanted[0].cell(there / "cells")):
        done = reproduce(wanted, there / "new", there / "cells", "gan")
    assert done == ({}, {"c/gan.seed0": f"process {os.getpid()} on {os.uname().nodename}"}, None)
    assert trained == []


def test_a_cell_that_another_process_has_finished_meanwhile_is_not_computed(there, trained, monkeypatch):
    """The cell appears between the first look at it and its lock."""
    path = there / "cells" / f"{NAMES[0]}.json"
    content = path.read_text()
    path.unlink()
    real_lock = cells_module.lock

    def lock(locked):
        path.write_text(content)
        return real_lock(locked)

    monkeypatch.setattr(cells_module, "lock", lock)
    assert reproduce(units({"c": comparison()}), there / "new", there / "cells").failed == {}
    assert trained == []


def test_a_signal_ends_it_and_the_same_call_resumes(there, monkeypatch):
    wanted = units({"c": comparison()})
    for unit in wanted:
        unit.cell(there / "cells").unlink()
    results = there / "runs" / wanted[1].name / "results.json"
    results.rename(results.with_suffix(".away"))
    monkeypatch.setattr(training, "train", lambda config, folder, name: training.Outcome(2, None, "SIGTERM"))
    assert reproduce(wanted, there / "runs", there / "cells").stopped_by == "SIGTERM"
    assert list(read_cells(wanted, there / "cells").found) == NAMES[:1]  # No other is begun.
    results.with_suffix(".away").rename(results)
    assert reproduce(wanted, there / "runs", there / "cells").stopped_by is None
    assert list(read_cells(wanted, there / "cells").found) == NAMES


def test_tables_and_pictures_come_from_cells_alone(there):
    shutil.rmtree(there / "runs")
    (there / "cells" / f"{NAMES[2]}.json").unlink()
    wanted = units({"c": comparison()})
    table = write_tables(wanted, there / "tables", there / "cells", 1, "")
    assert (there / "tables" / "c" / "results.md").read_text().strip() == table
    assert (there / "tables" / "c" / "curves.png").read_bytes().startswith(b"\x89PNG")
    lines = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| ")}
    assert {"gan (1 of 2 seeds)", "veegan", "real data", "veegan (paper)", "gan (PacGAN's run)"} <= set(lines)
    assert "±" in lines["veegan"]
    assert "±" not in lines["gan (1 of 2 seeds)"]
    assert "4 steps of 16 examples; seeds 0 to 1, mean ± standard error; 64 samples a row" in table
    assert "budget" not in table


def test_the_joint_table_has_all_methods_also_those_that_are_not_run(there):
    wanted = units(
        {"c": comparison(), "m": comparison({"gan": {"objective": "gan", "data": "grid"}}, data="grid")}, 0.5
    )
    mine = units({"c": comparison()})
    half = {unit.name.replace("c/", "c-budget0.5/"): unit for unit in mine}
    cells = {name: read_cell(unit.cell(there / "cells"), unit.config) for name, unit in half.items()}
    cells.pop("c-budget0.5/gan.seed1")
    table = joint_table(wanted, cells, 0.5)
    head, _, *body = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n\n")[0].splitlines()
    ]
    rows = {name: dict(zip(head[1:], texts, strict=True)) for name, *texts in body}
    assert head[1:] == [f"{data}: {title}" for data in ("ring", "grid") for title in ("modes ↑", "high quality (%) ↑")]
    assert list(rows)[:5] == ["gan", "gan (paper)", "gan (PacGAN's run)", "veegan", "veegan (paper)"]
    assert list(rows)[-1] == "real data"
    assert rows["gan"]["ring: modes ↑"].endswith(" (1 of 2 seeds)")
    assert "±" in rows["veegan"]["ring: modes ↑"]
    assert rows["gan"]["grid: modes ↑"] == "(not run)"
    assert rows["veegan"]["grid: modes ↑"] == "–"
    assert rows["veegan (paper)"]["ring: high quality (%) ↑"] == "52.9"
    assert rows["real data"]["ring: modes ↑"] == "8"
    assert "\n\n2 steps of 16 examples; seeds 0 to 1, mean ± standard error; ring: 64 samples a row; ring: " in table
    assert table.endswith("; budget: 50 % of the steps.")


def options(there, **given):
    empty = {"config": None, "step": "latest", "num": 1, "seed": 0}
    return Options(mode="reproduce", workdir=there / "runs", cells=str(there / "cells"), **empty, **given)


def test_the_command_prints_what_there_is_and_names_what_is_not(there, capsys, trained):
    (there / "cells" / f"{NAMES[0]}.json").write_text("{")
    with pytest.raises(UserError, match=r"1 of 4 cells could not be computed or used; c/gan.seed0: .*it is not JSON"):
        commands.reproduce_cells(options(there, comparisons={"c": comparison()}))
    assert f"3 of 4 cells are in {there / 'cells'}; tables and curves are in " in capsys.readouterr().out
    (there / "cells" / f"{NAMES[0]}.json").unlink()
    assert commands.reproduce_cells(options(there, comparisons={"c": comparison()})) is None
    assert f"4 of 4 cells are in {there / 'cells'}" in capsys.readouterr().out
    assert trained == []


def test_the_usual_folder_of_cells_is_that_of_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = options(tmp_path)._replace(cells=None)
    assert commands._cells_folder(given) == given.workdir
    Path("docs/results/cells").mkdir(parents=True)
    assert commands._cells_folder(given) == Path("docs/results/cells")


@pytest.mark.parametrize("table", usage.TABLES)
def test_the_tables_have_the_methods_of_the_paper_with_five_seeds(table, monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in usage.TABLES[table]:
        config = read(find(name), [], [])
        assert list(config.compare) == ["ali", "gan", "unrolled", "veegan"]
        assert (config.num_seeds, config.num_steps) == (5, 100_000)
        assert config.objective == "veegan"
        assert (config.veegan.adversarial_loss, config.veegan.reconstructor_std) == ("kl", 1.0)
