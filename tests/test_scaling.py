"""The arithmetic of scaling by hand, and that it reads compiled programs right."""

import math

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, PartitionSpec

from benchmarks import scaling
from benchmarks.scaling import Count, Point, Slice, Worker, cell, expected, nbytes, reductions, times
from configs import grid_paper, ring
from tests.helpers import ROOT
from veegan_jax.config.build import build
from veegan_jax.train.compile import fused_step, initial_state

# 1 ms of products at half of 4 TFLOP/s, 3 ms of traffic of which 1 ms is of the state, and two all-reduces.
COUNT = Count(flops=2e9, traffic=3e9, fixed=1e9, reduced=(40_000_000, 10_000_000))
FOUR = Slice(chips=4, peak=4e12, memory=1e12, network=100e9, latency=5e-6)


def test_times_by_hand():
    # 2 · 3/4 · 50 MB at 100 GB/s are 750 µs, and two latencies 10.
    assert times(COUNT, FOUR) == pytest.approx((3e-3, 760e-6))
    assert times(COUNT, FOUR).apart == pytest.approx(3.76e-3)
    assert times(COUNT, FOUR).overlapped == pytest.approx(3e-3)


def test_a_share_of_the_batch_leaves_the_state_and_the_network_as_they_are():
    assert times(COUNT, FOUR, share=0.25) == pytest.approx((1.5e-3, 760e-6))


def test_products_take_the_time_where_memory_is_fast():
    assert times(COUNT, FOUR._replace(memory=math.inf), share=0.5) == pytest.approx((0.5e-3, 760e-6))


def test_one_chip_sends_nothing():
    assert times(COUNT, FOUR._replace(chips=1)).network == 0.0


@pytest.mark.parametrize("memory", [1e12, math.inf], ids=["traffic", "products"])
def test_what_is_enough_reaches_the_efficiency(memory):
    chips = FOUR._replace(memory=memory)
    each = times(COUNT, chips, scaling.enough(COUNT, chips, 0.9))
    assert each.compute / each.apart == pytest.approx(0.9)


def test_expected_efficiencies(monkeypatch):
    monkeypatch.setattr(scaling, "SLICES", {"four": FOUR})
    monkeypatch.setattr(scaling, "SEVERAL", ["four"])
    # Weak 3 / 3.76 and 3 / 3; batch 256 · 2.92; strong 3 / (4 · (1.5 + 0.76)) and 3 / (4 · 1.5).
    assert expected(COUNT, ring.get_config()) == ["80–100", "748", "33–50"]


def test_a_batch_that_does_not_divide_has_no_strong_scaling():
    weak_and_strong = expected(COUNT, grid_paper.get_config())
    assert "–" not in weak_and_strong[:8]
    assert weak_and_strong[8:] == ["–"] * 4  # 500 over 8, 32, 256 and 8


def test_reductions_of_a_program_of_the_tpu_compiler():
    program = """
  %all-reduce.1 = (f32[2,256]{1,0:T(2,128)S(1)}, /*index=5*/bf16[]{:T(128)}) all-reduce(%a, %b), channel_id=1
  %psum.3 = f32[3]{0:T(128)} all-reduce(%c), channel_id=2
  %add.2 = f32[9]{0} add(%all-reduce.1, %psum.3)"""
    assert reductions(program) == (2 * 256 * 4 + 2, 12)


def test_reductions_of_a_compiled_program():
    mesh = Mesh(jax.devices(), ("devices",))
    everywhere = PartitionSpec()

    def summed(x, y):
        return jax.lax.psum(x, "devices"), jnp.tanh(jax.lax.psum(y, "devices"))

    mapped = jax.shard_map(summed, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False)
    program = jax.jit(mapped).lower(jnp.ones((5, 7)), jnp.ones(3, jnp.bfloat16)).compile().as_text()
    assert sum(reductions(program)) >= 5 * 7 * 4 + 3 * 2  # a CPU sums bfloat16 as float32
    assert sum(reductions(program)) <= 5 * 7 * 4 + 3 * 4


def test_what_a_step_reduces_is_its_gradients_and_scalars():
    config = ring.get_config()
    config.parallel, config.batch_size = "shard_map", 32
    for player in config.optim:
        config.optim[player].schedule = "constant"  # optax's others promote integers
    experiment = build(config)
    state = jax.eval_shape(lambda: initial_state(experiment))
    step = fused_step(experiment, jax.devices(), 1)
    program = jax.jit(step).lower(state, jnp.asarray(experiment.source.train)).compile().as_text()
    scalars = sum(reductions(program)) - nbytes(state.params)
    assert scalars % 4 == 0
    assert 2 <= scalars // 4 <= 8


@pytest.mark.parametrize("name", ["stacked_mnist", "cifar10", "celeba", "resnet_cifar10"])
def test_noise_builds_every_config(name, tmp_path):
    config = scaling.experiments(tmp_path)[name]
    side = {"stacked_mnist": 28, "celeba": 64}.get(name, 32)
    assert build(config).source.shape == (side, side, 3)


def test_a_worker_times_its_step(monkeypatch):
    monkeypatch.chdir(ROOT)
    worker = Worker("ring", Point(2, 8))
    try:
        assert 0 < worker.seconds() < 10
    finally:
        worker.close()


def test_a_cell_has_the_median_of_ratios():
    assert cell([0.002, 0.004, 0.003], [0.001, 0.004, 0.001]) == "3 (2.00)"
