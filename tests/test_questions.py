"""The figures of the research questions: what is counted, and whose gradient is whose."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import questions
from configs.questions import rq3_methods, rq3_tries
from tests.helpers import ROOT, tiny
from veegan_jax.config.build import build
from veegan_jax.config.convert import effective
from veegan_jax.experiments.cells import Cell, write_cell
from veegan_jax.experiments.reproduce import at_once, units
from veegan_jax.experiments.run import train
from veegan_jax.storage.checkpoint import read_checkpoint
from veegan_jax.train.compile import abstract_state


def cell(unit, modes, curve):
    replicas = [{"modes": found, "high_quality": 50.0, "kl": 0.5} for found in modes]
    steps = [1000 * (i + 1) for i in range(len(curve))]
    seeds = list(range(unit.config.seed, unit.config.seed + unit.config.num_seeds))
    fields = effective(unit.config)
    measured = {"step": steps, "modes": curve, "kl": [0.1] * len(curve)}
    return Cell(fields, seeds, 5000, "", replicas, {}, 2500, [], measured, 1.0, {})


@pytest.mark.parametrize("data", rq3_methods.DATA)
def test_the_recipes_of_question_3_are_the_best_of_equally_many_tries(data):
    lines = (json.loads(line) for line in (ROOT / "docs" / "results" / "trials.jsonl").read_text().splitlines())
    tries = [line for line in lines if re.fullmatch(r"\w+_try\d", line.get("trial", ""))]
    tried = {line["trial"]: line for line in tries if line["changed"].get("data", "ring") == data}
    assert set(tried) == set(rq3_tries.get_config(data).compare)
    score = rq3_tries.asked(data).score
    for method, best in zip(rq3_tries.METHODS, rq3_methods.DATA[data], strict=True):
        found = [tried[f"{method}_try{number}"] for number in range(4)]
        assert best == min(range(4), key=lambda number: (found[number][score], found[number]["kl"]))


def test_a_row_counts_the_seeds_with_all_modes_and_the_step_from_which_all_have_them(tmp_path):
    name = "rq1_collapse"
    wanted = units({name: questions.QUESTIONS[name]()})
    (unit,) = at_once([unit for unit in wanted if unit.row == "weak_critic_d"])
    unit.cell(tmp_path).parent.mkdir()
    write_cell(unit.cell(tmp_path), cell(unit, [25, 25, 24, 25, 3], [25.0, 24.8, 25.0, 25.0]))
    lines = {line.split("|")[1].strip(): line for line in questions.table(name, tmp_path).splitlines()}
    assert "| 3 of 5" in lines["weak_critic_d"]
    assert "| 3,000 " in lines["weak_critic_d"]
    assert "not run" in lines["usual_critic_d"]


def test_weights_are_read_from_the_names_of_rows():
    name = "rq4_tuning"
    wanted = at_once(units({name: questions.QUESTIONS[name]()}))
    rows = {unit.row: [cell(unit, [25, 25, 25], [25.0])] for unit in wanted}
    found = questions.by_weight(rows)
    assert set(found) == {"veegan", "veegan_data_ae", "infogan", "aae", "r3gan"}
    assert all(len(weights) == 5 for weights in found.values())
    assert sorted(found["veegan"]) == [1e-4, 1e-3, 1e-2, 1e-1, 1.0]


def test_rows_are_drawn_by_their_critics_also_those_of_a_single_seed():
    name = "rq1_collapse"
    wanted = units({name: questions.QUESTIONS[name]()})
    rows = {unit.row: [cell(unit, [25], [24.0, 25.0])] for unit in wanted if unit.config.seed == 0}
    groups = questions.groups_of(rows)
    assert {title: list(found) for title, found in groups.items()} == {
        "strong critic": ["d", "d_cut_from_gen", "no_rec"],
        "usual critic": ["d", "d_cut_from_gen", "no_rec"],
        "weak critic": ["d", "d_cut_from_gen", "no_rec", "no_rec_925"],
    }
    figure = questions.draw_over_steps(groups)
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[24.0, 25.0]] * 3
    assert list(questions.groups_of({"usual": []})) == ["all rows"]


@pytest.mark.parametrize("loss", ["gaussian", "none"])
def test_the_gradient_of_d_is_what_the_weight_adds_to_the_generators_gradient(tmp_path, loss):
    config = tiny(num_seeds=2, num_steps=4, save_every=4)
    config.veegan.reconstruction_weight, config.veegan.reconstruction_loss = 0.3, loss
    train(config, tmp_path)
    (found,) = questions.gradients(tmp_path, [4])
    experiment = build(config)
    state = read_checkpoint(experiment, tmp_path, abstract_state(experiment), 4).state
    batch = questions.fresh_batch(experiment)

    def gradient(weight, params):
        changed = config.copy_and_resolve_references()
        changed.veegan.reconstruction_weight = weight
        objective = build(changed).objective
        return jax.grad(lambda gen: objective.losses({**params, "gen": gen}, batch)[0]["gen"])(params["gen"])

    replicas = [jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), state.params) for i in range(2)]
    both = [(gradient(0.3, params), gradient(0.0, params)) for params in replicas]
    added = [optax.tree.norm(optax.tree.sub(whole, without)) for whole, without in both]
    np.testing.assert_allclose(found["d"], np.mean(added), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found["adversarial"], np.mean([optax.tree.norm(w) for _, w in both]), rtol=1e-5)
    assert (found["d"] > 0) == (loss == "gaussian")


def test_modes_that_a_generator_lacks_are_those_without_a_good_sample(tmp_path):
    config = tiny(num_seeds=2, num_steps=4, save_every=4)
    config.ring.std = 0.3  # An untrained generator makes the modes on one side of the ring.
    train(config, tmp_path)
    found = questions.detection(tmp_path, questions.kept_steps(tmp_path))
    assert {(one["step"], one["seed"]) for one in found} <= {(4, 0), (4, 1)}
    assert found
    assert all(1 <= one["missing"] <= 7 and 0 <= one["auc"] <= 1 for one in found)
    assert questions.detection_table({"a": found, "b": []}).count("–") >= 3
    assert questions.runs_with_rec(tmp_path.parent) == {}


def test_the_nearest_mean_and_its_distance():
    mode, distance = questions.nearest(np.array([[0.1, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 3.0]]))
    assert mode.tolist() == [0, 1]
    np.testing.assert_allclose(distance, [0.1, 1.0])
