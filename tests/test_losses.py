"""The losses against numbers computed by hand."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from veegan_jax.losses import adversarial, reconstruction


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


GENERATED, REAL = [0.5, -1.0], [2.0, 0.25]


def test_generated_examples_are_class_1_of_the_discriminator():
    by_hand = -np.mean([math.log(sigmoid(d)) for d in GENERATED]) - np.mean([math.log(1 - sigmoid(d)) for d in REAL])
    loss = adversarial.logistic(jnp.array(GENERATED), jnp.array(REAL))
    np.testing.assert_allclose(loss, by_hand, rtol=1e-6)
    # A discriminator that is right, with high logits of generated and low ones of real examples, has a small loss.
    assert adversarial.logistic(jnp.array([9.0]), jnp.array([-9.0])) < 1e-3


def softplus(t: float) -> float:
    return math.log1p(math.exp(t))


GEN = {
    "kl": lambda g, r: g,
    "nonsaturating": lambda g, r: -math.log(1 - sigmoid(g)),
    "minimax": lambda g, r: math.log(sigmoid(g)),
    "relativistic": lambda g, r: -math.log(sigmoid(r - g)),
    "hinge": lambda g, r: g,
}
SWAPPED = {
    "kl": lambda g, r: g - r,
    "nonsaturating": lambda g, r: -math.log(1 - sigmoid(g)) - math.log(sigmoid(r)),
    "minimax": lambda g, r: math.log(sigmoid(g)) + math.log(1 - sigmoid(r)),
    "relativistic": lambda g, r: -math.log(sigmoid(r - g)),
    "hinge": lambda g, r: g - r,
}
DISC = {
    **dict.fromkeys(("kl", "nonsaturating", "minimax"), lambda g, r: softplus(-g) + softplus(r)),
    "relativistic": lambda g, r: -math.log(sigmoid(g - r)),
    "hinge": lambda g, r: max(0, 1 - g) + max(0, 1 + r),
}


@pytest.mark.parametrize("part", ["disc", "gen", "swapped"])
@pytest.mark.parametrize("name", sorted(adversarial.FAMILIES))
def test_families_by_hand(name, part):
    by_hand = {"disc": DISC, "gen": GEN, "swapped": SWAPPED}[part][name]
    expected = np.mean([by_hand(g, r) for g, r in zip(GENERATED, REAL, strict=True)])
    loss = getattr(adversarial.FAMILIES[name], part)(jnp.array(GENERATED), jnp.array(REAL))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(adversarial.FAMILIES))
def test_generated_examples_want_to_pass_for_real_ones_and_real_ones_for_generated(name):
    family = adversarial.FAMILIES[name]
    low, zero, high = jnp.array([-0.5]), jnp.array([0.0]), jnp.array([0.5])
    assert family.gen(low, zero) < family.gen(high, zero)
    assert family.swapped(low, zero) < family.swapped(high, zero)
    assert family.swapped(zero, high) < family.swapped(zero, low)
    assert family.disc(high, low) < family.disc(low, high)


def test_losses_are_finite_for_confident_discriminators():
    for family in adversarial.FAMILIES.values():
        for loss in family:
            assert jnp.isfinite(loss(jnp.array([1e4, -1e4]), jnp.array([-1e4, 1e4])))


def test_gaussian_nll_sums_over_latents_and_averages_over_the_batch():
    z = jnp.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    mean = jnp.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    by_hand = 0.5 * np.mean([4 + 9, 3]) + 1.5 * math.log(2 * math.pi)
    np.testing.assert_allclose(reconstruction.gaussian_nll(z, mean), by_hand, rtol=1e-6)


def test_gaussian_nll_with_a_learned_std():
    z, mean = jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 0.0]])
    std = jnp.array([[0.5, 2.0]])
    by_hand = 0.5 * (4 + 1) + math.log(0.5) + math.log(2.0) + math.log(2 * math.pi)
    np.testing.assert_allclose(reconstruction.gaussian_nll(z, mean, std), by_hand, rtol=1e-6)


def test_half_squared_error_sums_over_an_example_and_averages_over_the_batch():
    x = jnp.zeros((2, 2, 2, 1))
    other = jnp.concatenate([jnp.ones((1, 2, 2, 1)), 3 * jnp.ones((1, 2, 2, 1))])
    np.testing.assert_allclose(reconstruction.half_squared_error(x, other), 0.5 * (4 + 36) / 2, rtol=1e-6)
