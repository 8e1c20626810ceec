"""Each player's optimizer against Adam by hand, over several updates and with its schedule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from veegan_jax.config.build import build
from veegan_jax.objectives.optimizer import adam

# Gradients of two parameters: they change in size and sign, so that a wrong memory of them shows.
GRADIENTS = np.array([[1.0, -0.3], [-0.4, 0.5], [0.2, 2.0], [0.7, -1.0]])


def adam_by_hand(gradients, rates, b1, b2, eps):
    """Algorithm 1 of Kingma and Ba (ICLR 2015), in float64: the updates that are added to the parameters."""
    m = v = np.zeros(gradients.shape[1])
    updates = []
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = b1 * m + (1 - b1) * gradient
        v = b2 * v + (1 - b2) * gradient**2
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        updates.append(-rate * m_hat / (np.sqrt(v_hat) + eps))
    return np.array(updates)


def updates_of(optimizer, gradients):
    """The updates that an optimizer makes of these gradients, one after another."""
    state, updates = optimizer.init(jnp.zeros(gradients.shape[1])), []
    for gradient in gradients:
        with jax.numpy_dtype_promotion("standard"):  # optax's cosine schedule compares an integer with a float
            update, state = optimizer.update(jnp.asarray(gradient, jnp.float32), state)
        updates.append(np.asarray(update))
    return np.array(updates)


@pytest.mark.parametrize("player", ["disc", "gen"])
def test_each_player_has_its_own_adam(player):
    config = tiny()
    options = {
        "disc": {"learning_rate": 0.02, "b1": 0.5, "b2": 0.9, "eps": 1e-3},
        "gen": {"learning_rate": 0.07, "b1": 0.3, "b2": 0.99, "eps": 1e-2},
    }
    for name, chosen in options.items():
        config.optim[name].update(chosen)
    rate, *moments = options[player].values()
    expected = adam_by_hand(GRADIENTS, [rate] * 4, *moments)
    np.testing.assert_allclose(updates_of(build(config).optimizers[player], GRADIENTS), expected, rtol=2e-6)


def test_a_differentiable_adam_makes_the_same_updates():
    """Unrolling needs a derivative at gradients of 0; nothing else changes."""
    optimizer = adam(num_updates=4, differentiable=True)
    np.testing.assert_allclose(
        updates_of(optimizer, GRADIENTS), adam_by_hand(GRADIENTS, [1e-3] * 4, 0.5, 0.999, 1e-8), rtol=2e-5
    )


@pytest.mark.parametrize(("player", "updates"), [("disc", 30), ("gen", 20)])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_schedules_last_as_long_as_the_run_however_often_a_player_is_updated(player, updates, schedule):
    config = tiny("gan", num_steps=10, disc_updates=3, gen_updates=2)
    config.optim[player].schedule = schedule
    # With a constant gradient Adam's update is the learning rate alone.
    rates = -updates_of(build(config).optimizers[player], np.ones((updates + 1, 1)))[:, 0]
    progress = np.linspace(0.0, 1.0, updates + 1)
    fraction = {"constant": 1 + 0 * progress, "linear": 1 - progress, "cosine": 0.5 * (1 + np.cos(np.pi * progress))}
    np.testing.assert_allclose(rates / config.optim[player].learning_rate, fraction[schedule], atol=1e-5)
