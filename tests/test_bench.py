"""The harness of the benchmarks: what a row and a table say, and that every workload can be built."""

import json

import pytest

from benchmarks import bench, growth
from benchmarks.worker import Setting, Worker
from benchmarks.workloads import WORKLOADS, config_of
from tests.helpers import ROOT
from veegan_jax.config.build import build


def found(seconds, first_call=3.0):
    rounds = [{"seconds": s, "processor": 2 * s, "peak_bytes": 5e6} for s in seconds]
    return {"first_call": first_call, "first_step": 4.0, "steps_of_call": 50, "rounds": rounds}


COSTS = {f"hand_{kind}_bytes": 1e6 for kind in ("state", "gradient", "activation", "data")} | {
    **{f"xla_{kind}_bytes": 2e6 for kind in ("argument", "temporary", "unaliased", "traffic")},
    "hand_flops": 1e9,
    "xla_flops": 1.1e9,
}


def test_a_row_has_medians_over_the_rounds_and_the_ratio_to_the_fastest_peer():
    row = bench.summarise(Setting("ring"), found([0.01, 0.03, 0.02]), {"pytorch": 0.05, "pytorch_compiled": 0.04})
    assert row == pytest.approx(
        {
            "ms_a_step": 20.0,
            "least_ms": 10.0,
            "most_ms": 30.0,
            "processor_ms": 40.0,
            "examples_per_second": 256 / 0.02,
            "compile_seconds": 3.0 - 50 * 0.02,
            "first_step_seconds": 4.0,
            "peak_megabytes": 5.0,
            "of_best_pytorch": 0.5,
        }
    )


def test_examples_of_all_seeds_count():
    setting = Setting("ring", fields=(("num_seeds", 5),))
    assert bench.summarise(setting, found([0.1]), {})["examples_per_second"] == pytest.approx(5 * 256 / 0.1)


def test_results_become_a_table_and_a_plot(tmp_path):
    rows = {
        "product": bench.summarise(Setting("ring"), found([0.02]), {"pytorch": 0.04}),
        "pytorch": bench.summarise(Setting("ring", "pytorch"), found([0.04]), {"pytorch": 0.04}),
        "pytorch_compiled": {"failed": "the first call took more than 240 s"},
    }
    ring = {"ceiling_flops": 1e11, "ceiling_bytes": 1e10, "costs": COSTS, "rows": rows}
    results = {"machine": "a machine", "workloads": {"ring": ring}}
    text = bench.table(json.loads(json.dumps(results)))
    cells = [cell.strip() for cell in next(line for line in text.splitlines() if "| product" in line).split("|")]
    assert cells[2:6] == ["20 (20–20)", "0.50", "12,800", "50 %"]  # 1 GFLOP in 20 ms, of 100 GFLOP/s
    assert "the first call took more than 240 s" in text
    assert "holds 6 MB" in text
    bench.draw(results, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").stat().st_size > 10_000


def test_growth_is_drawn(tmp_path):
    rows = [{"value": n, "ms_a_step": 2.0 * n, "megabytes": 3.0 * n} for n in (1, 2, 4)]
    growth.draw({"batch": rows, "width": rows}, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_can_be_built(name, tmp_path):
    config = config_of(name, tmp_path)
    assert build(config).objective.encode
    assert WORKLOADS[name].steps <= config.steps_per_call


@pytest.mark.parametrize("curve", growth.CURVES.values(), ids=growth.CURVES)
def test_every_point_of_a_curve_can_be_built(curve, tmp_path):
    for value in curve.values:
        config = config_of(curve.workload, tmp_path)
        config.update_from_flattened_dict(dict(curve.fields(value)))
        build(config)


def test_a_process_that_takes_too_long_to_start_is_ended(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(RuntimeError, match="more than 0 s"):
        Worker(Setting("", "matmul"), limit=0.01)
