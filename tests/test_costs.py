"""What a compiled step costs, products counted by hand, traces, donated buffers, and no transfer to the host."""

import re

import jax
import jax.numpy as jnp
import pytest

from benchmarks.counts import compiled_step, count_step, net_cost
from benchmarks.peers.naive_jax import laxs_convolutions
from configs import grid_paper
from tests.helpers import slow, tiny
from veegan_jax.config.build import build
from veegan_jax.parallel.devices import replicate
from veegan_jax.train.compile import abstract_state, fused_step, initial_state, select_devices
from veegan_jax.train.feed import Batches

WIDE = {"mlp": {"gen_hidden": (128, 128), "rec_hidden": (128, 128), "disc_hidden": (128, 128)}}
PENALTIES = {"r1": 0.3, "r2": 0.2}
RELATIVISTIC = {"adversarial_loss": "relativistic", "x_critic": 1.0}
# The steps whose products are counted: each has something that could be computed twice.
COUNTED = {
    "plain": {},
    "packing": {"packing": 2},
    "two critics": {"veegan": RELATIVISTIC},
    "penalties": {"veegan": RELATIVISTIC, "penalty": PENALTIES},
    "two generator updates": {"gen_updates": 2},
    "alternating": {"update_order": "alternating", "disc_updates": 2},
}


def wide(**fields):
    """A config whose products are nearly all of its operations."""
    return tiny(data="stacked_digits", latent_dim=64, batch_size=256, **WIDE, **fields)


@pytest.mark.parametrize("fields", COUNTED.values(), ids=COUNTED)
def test_no_product_of_a_step_is_computed_twice(fields):
    experiment = build(wide(**fields))
    found = compiled_step(experiment, jax.devices()[:1]).cost_analysis()["flops"]
    # The rest is elementwise: draws, activations, Adam and the moving average.
    assert 1.0 <= found / count_step(experiment).flops <= 1.06


def test_the_count_of_the_authors_step_by_hand():
    assert count_step(build(grid_paper.get_config())).flops == pytest.approx(0.476e9, rel=0.01)


def test_the_count_of_a_convolutional_net_by_hand():
    experiment = build(tiny(model="dcgan", data="stacked_digits", latent_dim=3))
    params = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), abstract_state(experiment).params)
    z, x = jax.ShapeDtypeStruct((16, 3), jnp.float32), jax.ShapeDtypeStruct((16, 8, 8, 3), jnp.float32)
    disc = net_cost(experiment.objective.nets["disc"], params["disc"], z, x)
    trunk, head = 2 * 16 * 4 * 4 * 25 * 3 * 2, 2 * 16 * (35 * 8 + 8)
    assert (disc.forward, disc.kernels) == (trunk + head, trunk + head)
    assert (disc.through, disc.to_inputs) == (head, trunk)
    eps = jax.ShapeDtypeStruct((16, 2), jnp.float32)
    gen = net_cost(experiment.objective.nets["gen"], params["gen"], z, eps)
    linear, transposed = 2 * 16 * 5 * 32, 2 * 16 * 4 * 4 * 25 * 2 * 3
    assert (gen.forward, gen.through, gen.to_inputs) == (linear + transposed, transposed, linear)
    assert gen.outputs == 16 * (32 + 8 * 8 * 3)


@pytest.mark.parametrize(
    ("norm", "gen_updates", "expected"),
    [
        ("none", 1, 12),
        slow("none", 2, 20),
        # With flax's own batch normalisation XLA computes two convolutions twice, and 14 are found.
        ("batch", 1, 12),
    ],
)
def test_no_convolution_of_a_step_is_computed_twice(norm, gen_updates, expected):
    """One convolution in each trunk and one in the generator, in lax's forms, of which each is one operation.

    Both players: G; F on x and x_g; D twice; D's two kernels; through D to x_g; F's kernel, and through F to x_g; G's
    kernel, and through G's transposed convolution. The generator alone: G; F on x_g; D once; and no kernel of D.
    """
    config = tiny(model="dcgan", data="stacked_digits", gen_updates=gen_updates, batch_size=32)
    config.dcgan.gen_norm = norm
    with laxs_convolutions():
        program = compiled_step(build(config), jax.devices()[:1]).as_text()
    assert len(re.findall(r" convolution\(", program)) == expected


@pytest.mark.parametrize("parallel", ["pmap", "shard_map"])
def test_calls_trace_the_step_once(parallel):
    experiment = build(tiny(parallel=parallel, num_seeds=2))
    traces, losses = [], experiment.objective.losses

    def counted(params, batch):
        traces.append(None)
        return losses(params, batch)

    experiment = experiment._replace(objective=experiment.objective._replace(losses=counted))
    devices = select_devices(experiment.config)
    call, state = fused_step(experiment, devices, 2), replicate(initial_state(experiment), devices)
    batches = Batches(experiment.source, experiment.config.batch_size, devices, 0)
    state, _ = call(state, batches.take(2))
    once = len(traces)
    for _ in range(3):
        state, _ = call(state, batches.take(2))
    assert 0 < once == len(traces)


@pytest.mark.parametrize("parallel", ["pmap", "shard_map"])
def test_the_state_is_overwritten(parallel):
    experiment = build(tiny(parallel=parallel))
    devices = select_devices(experiment.config)
    state = replicate(initial_state(experiment), devices)
    call = fused_step(experiment, devices, 2)
    call(state, Batches(experiment.source, experiment.config.batch_size, devices, 0).take(2))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state.params, state.opt_state, state.ema)))


def test_the_program_holds_the_state_once():
    experiment = build(wide())
    memory = compiled_step(experiment, jax.devices()[:1], 2).memory_analysis()
    counted = count_step(experiment)
    assert memory.alias_size_in_bytes >= counted.state_bytes
    # What is returned beside the state is two steps of losses, and nothing but the state and the data is given.
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes < 1000
    assert memory.argument_size_in_bytes - counted.state_bytes - counted.data_bytes < 1000


@pytest.mark.parametrize("data", ["ring", "stacked_digits"])
def test_calls_move_nothing_between_host_and_device(data):
    experiment = build(tiny(data=data))
    devices = select_devices(experiment.config)
    call, state = fused_step(experiment, devices, 2), replicate(initial_state(experiment), devices)
    batches = Batches(experiment.source, experiment.config.batch_size, devices, 0)
    state, _ = call(state, batches.take(2))
    with jax.transfer_guard_device_to_host("disallow"), jax.transfer_guard_host_to_device("disallow"):
        for _ in range(3):
            state, _ = call(state, batches.take(2))
