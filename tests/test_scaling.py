"""The benchmark of scaling: its arithmetic by hand, and what it reads in compiled programs."""

import math

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, PartitionSpec

from benchmarks import scaling
from benchmarks.counts import nbytes
from benchmarks.scaling import (
    Slice,
    StepCost,
    all_reduce_bytes,
    efficiencies,
    median,
    roofline,
    setting,
)
from benchmarks.worker import Setting, Worker
from benchmarks.workloads import config_of
from configs import grid_paper, ring
from tests.helpers import ROOT, tiny
from veegan_jax.config.build import build
from veegan_jax.train.compile import fused_step, initial_state

# 1 ms of products at half of 4 TFLOP/s; 3 ms of traffic, 1 ms of it for the state; and two all-reduces.
COST = StepCost(flops=2e9, traffic=3e9, fixed_traffic=1e9, reduced=(40_000_000, 10_000_000))
FOUR = Slice(chips=4, peak=4e12, memory=1e12, network=100e9, latency=5e-6)


def test_roofline_by_hand():
    # 2 · 3/4 · 50 MB at 100 GB/s take 750 µs, and two latencies take 10 µs.
    assert roofline(COST, FOUR) == pytest.approx((3e-3, 760e-6))
    assert roofline(COST, FOUR).without_overlap == pytest.approx(3.76e-3)
    assert roofline(COST, FOUR).with_overlap == pytest.approx(3e-3)


def test_a_share_of_the_batch_changes_neither_state_nor_network():
    assert roofline(COST, FOUR, share=0.25) == pytest.approx((1.5e-3, 760e-6))


def test_products_determine_the_time_where_memory_is_fast():
    assert roofline(COST, FOUR._replace(memory=math.inf), share=0.5) == pytest.approx((0.5e-3, 760e-6))


def test_one_chip_sends_nothing():
    assert roofline(COST, FOUR._replace(chips=1)).network == 0.0


@pytest.mark.parametrize("memory", [1e12, math.inf], ids=["traffic", "products"])
def test_the_grown_batch_has_the_efficiency_asked_for(memory):
    chips = FOUR._replace(memory=memory)
    each = roofline(COST, chips, scaling.batch_growth(COST, chips, 0.9))
    assert each.compute / each.without_overlap == pytest.approx(0.9)


def test_efficiencies_by_hand(monkeypatch):
    monkeypatch.setattr(scaling, "SLICES", {"four": FOUR})
    monkeypatch.setattr(scaling, "SEVERAL", ["four"])
    # Weak: 3 / 3.76 and 3 / 3. The batch: 256 · 2.92. Strong: 3 / (4 · (1.5 + 0.76)) and 3 / (4 · 1.5).
    assert efficiencies(COST, ring.get_config()) == ["80–100", "748", "33–50"]


def test_a_batch_that_does_not_divide_has_no_strong_scaling():
    found = efficiencies(COST, grid_paper.get_config())
    assert "–" not in found[:8]
    assert found[8:] == ["–"] * 4  # 500 divides neither by 8, nor by 32, nor by 256


def test_all_reduces_are_found_in_a_program_of_the_tpu_compiler():
    program = """
  %all-reduce.1 = (f32[2,256]{1,0:T(2,128)S(1)}, /*index=5*/bf16[]{:T(128)}) all-reduce(%a, %b), channel_id=1
  %psum.3 = f32[3]{0:T(128)} all-reduce(%c), channel_id=2
  %add.2 = f32[9]{0} add(%all-reduce.1, %psum.3)"""
    assert all_reduce_bytes(program) == (2 * 256 * 4 + 2, 12)


def test_all_reduces_are_found_in_a_program_compiled_here():
    mesh = Mesh(jax.devices(), ("devices",))
    replicated = PartitionSpec()

    def summed(x, y):
        return jax.lax.psum(x, "devices"), jnp.tanh(jax.lax.psum(y, "devices"))

    mapped = jax.shard_map(summed, mesh=mesh, in_specs=replicated, out_specs=replicated, check_vma=False)
    program = jax.jit(mapped).lower(jnp.ones((5, 7)), jnp.ones(3, jnp.bfloat16)).compile().as_text()
    assert sum(all_reduce_bytes(program)) >= 5 * 7 * 4 + 3 * 2  # a CPU sums bfloat16 as float32
    assert sum(all_reduce_bytes(program)) <= 5 * 7 * 4 + 3 * 4


def test_a_step_reduces_its_gradients_and_scalars_and_nothing_else():
    experiment = build(tiny(parallel="shard_map"))
    state = jax.eval_shape(lambda: initial_state(experiment))
    step = fused_step(experiment, jax.devices(), 1)
    program = jax.jit(step).lower(state, jnp.asarray(experiment.source.train)).compile().as_text()
    scalars = sum(all_reduce_bytes(program)) - nbytes(state.params)
    assert scalars % 4 == 0
    assert 2 <= scalars // 4 <= 8


def test_noise_builds_every_config_of_images(tmp_path):
    sides = {"stacked_mnist": 28, "cifar10": 32, "celeba": 64, "resnet_cifar10": 32}
    found = {name: build(config_of(name, tmp_path)).source.shape for name in sides}
    assert found == {name: (side, side, 3) for name, side in sides.items()}


@pytest.mark.parametrize("given", [setting("ring", 2, 8), Setting("ring", fields=(("num_seeds", 2),))])
def test_a_worker_times_its_step(given, monkeypatch):
    monkeypatch.chdir(ROOT)
    worker = Worker(given)
    try:
        assert 0 < worker.take()["seconds"] < worker.started["first_step"]
    finally:
        worker.close()


def test_a_cell_has_the_median_of_ratios():
    assert median([0.002, 0.004, 0.003], [0.001, 0.004, 0.001]) == "3 (2.00)"
