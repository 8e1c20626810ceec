"""Losses against numbers worked out by hand."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from veegan_jax.losses import adversarial, reconstruction


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


GENERATED, REAL = [0.5, -1.0], [2.0, 0.25]


def test_discriminator_calls_generated_samples_class_1():
    by_hand = -np.mean([math.log(sigmoid(d)) for d in GENERATED]) - np.mean([math.log(1 - sigmoid(d)) for d in REAL])
    loss = adversarial.logistic(jnp.array(GENERATED), jnp.array(REAL))
    np.testing.assert_allclose(loss, by_hand, rtol=1e-6)
    # A discriminator that is right, high on generated and low on real, has a small loss.
    assert adversarial.logistic(jnp.array([9.0]), jnp.array([-9.0])) < 1e-3


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("kl", lambda d: d),
        ("nonsaturating", lambda d: -math.log(1 - sigmoid(d))),
        ("minimax", lambda d: math.log(sigmoid(d))),
    ],
)
def test_generator_losses(name, by_hand):
    expected = np.mean([by_hand(d) for d in GENERATED])
    np.testing.assert_allclose(adversarial.GENERATOR_LOSSES[name](jnp.array(GENERATED)), expected, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(adversarial.GENERATOR_LOSSES))
def test_generator_wants_to_pass_for_real(name):
    loss = adversarial.GENERATOR_LOSSES[name]
    assert loss(jnp.array([-1.0])) < loss(jnp.array([1.0]))


def test_losses_stay_finite_for_sure_discriminators():
    for loss in adversarial.GENERATOR_LOSSES.values():
        assert jnp.isfinite(loss(jnp.array([1e4, -1e4])))
    assert jnp.isfinite(adversarial.logistic(jnp.array([-1e4]), jnp.array([1e4])))


def test_gaussian_nll_sums_over_latents_and_averages_over_the_batch():
    z = jnp.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    mean = jnp.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    by_hand = 0.5 * np.mean([4 + 9, 3]) + 1.5 * math.log(2 * math.pi)
    np.testing.assert_allclose(reconstruction.gaussian_nll(z, mean), by_hand, rtol=1e-6)
