"""The peers of the benchmarks take the product's own step: equal losses, updates and averages on equal draws."""

import importlib

import jax
import numpy as np
import pytest

from benchmarks.peers.naive_jax import NaiveJax
from tests.helpers import slow, tiny
from veegan_jax.config.build import build
from veegan_jax.parallel.devices import replicate
from veegan_jax.train.compile import fused_step, initial_state, select_devices
from veegan_jax.train.feed import Batches

STEPS = 3
PENALTIES = {"r1": 0.3, "r2": 0.2}
KINDS = {
    "grid_paper": {"data": "grid", "noise_dim": 1, "ema_half_life": 0.0},
    "ring": {"veegan": {"adversarial_loss": "nonsaturating", "reconstruction_weight": 0.1, "reconstructor_std": 0.5}},
    "compare_grid": {
        "data": "grid",
        "veegan": {"adversarial_loss": "relativistic", "x_critic": 0.7},
        "penalty": PENALTIES,
    },
    "minimax": {"veegan": {"adversarial_loss": "minimax", "reconstruction_reduction": "mean"}},
    "hinge": {"veegan": {"adversarial_loss": "hinge"}, "update_order": "alternating", "disc_updates": 2},
    "stacked_digits": {"data": "stacked_digits", "packing": 2},
    "dcgan": {"data": "stacked_digits", "model": "dcgan", "packing": 2, "gen_updates": 2},
    "dcgan_of_odd_sizes": {"data": "stacked_mnist", "model": "dcgan", "batch_size": 4},
    "dcgan_penalties": {
        "data": "stacked_digits",
        "model": "dcgan",
        "dcgan": {"disc_norm": "none"},
        "veegan": {"adversarial_loss": "relativistic", "x_critic": 1.0},
        "penalty": PENALTIES,
    },
    "resnet_penalties": {
        "data": "cifar10",
        "model": "resnet",
        "batch_size": 4,
        "resnet": {"smallest": 8},
        "veegan": {"adversarial_loss": "relativistic", "x_critic": 1.0},
        "penalty": PENALTIES,
    },
}
# A kind of each family, for what takes long.
CHOSEN = ("compare_grid", "dcgan", "dcgan_penalties")
FORMS = {"eager": (False, False), "channels last": (False, True), "compiled": (True, False)}


@pytest.fixture(autouse=True)
def _standard_promotion():
    """Lets optax's schedules divide integers by floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def config_of(kind):
    config = tiny(**KINDS[kind])
    for player, schedule in (("gen", "cosine"), ("disc", "linear")):
        # With a large eps Adam's update is a smooth function of the gradient, so that float error stays small.
        config.optim[player].update({"eps": 0.1, "learning_rate": 0.1, "schedule": schedule})
    return config


def recorded(config):
    """Trains by the product's own fused step, and returns its start, end, losses, and every draw that it made.

    The draws are handed out as metrics of the losses. `draws[step][turn]` is the noise and the data of a turn.
    """
    experiment = build(config)
    turns, losses = [], experiment.objective.losses

    def recording(params, batch):
        found, _ = losses(params, batch)
        turns.append(None)
        return found, {f"turn/{len(turns):03}": (batch.noise, batch.x)}

    recording_experiment = experiment._replace(objective=experiment.objective._replace(losses=recording))
    devices = select_devices(config)
    arrays = Batches(experiment.source, config.batch_size, devices, 0).take(STEPS)
    state, scalars = fused_step(recording_experiment, devices, STEPS)(
        replicate(initial_state(experiment), devices), arrays
    )
    scalars = jax.tree.map(lambda leaf: np.asarray(leaf)[0], scalars)
    of_turns = [scalars.pop(name) for name in sorted(name for name in scalars if name.startswith("turn/"))]
    draws = [jax.tree.map(lambda leaf, step=step: leaf[step], of_turns) for step in range(STEPS)]
    return (
        experiment,
        initial_state(experiment),
        jax.tree.map(lambda leaf: np.asarray(leaf)[0], (state.params, state.ema)),
        scalars,
        draws,
    )


def assert_takes_the_products_steps(kind, make_peer):
    """Asserts equal losses of each step, and equal parameters and averages at the end, to 1e-4 of the largest."""
    experiment, start, end, scalars, draws = recorded(config_of(kind))
    peer = make_peer(experiment, start)
    for step in range(STEPS):
        for player, loss in peer.step(draws[step]).items():
            np.testing.assert_allclose(float(loss), scalars[f"loss/{player}"][step], rtol=1e-4, atol=1e-5)
    found = peer.in_products_form()
    moved = jax.tree.map(lambda a, b: np.abs(a - b[0]).max(), end[0], start.params)
    assert all(max(jax.tree.leaves(net)) > 1e-3 for net in moved.values())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * max(1e-1, np.abs(b).max())), found, end)


# The residual net takes longest to trace, once for the product and twice for the gradient of each player.
@pytest.mark.parametrize("kind", [kind if "penalties" not in kind else slow(kind) for kind in KINDS])
def test_naive_jax_takes_the_products_steps(kind):
    assert_takes_the_products_steps(kind, NaiveJax)


@pytest.mark.parametrize(
    ("form", "kind"),
    # Compilation takes half a minute, so that it is tested where there are gradients of gradients, and convolutions.
    [*(("eager", kind) for kind in KINDS), *(slow(form, kind) for form in FORMS if form != "eager" for kind in CHOSEN)],
)
def test_pytorch_takes_the_products_steps(form, kind):
    pytest.importorskip("torch")
    PyTorch = importlib.import_module("benchmarks.peers.pytorch").PyTorch
    compiled, channels_last = FORMS[form]
    assert_takes_the_products_steps(
        kind, lambda *given: PyTorch(*given, compiled=compiled, channels_last=channels_last)
    )
