"""Whitening: statistics by hand, and methods that train on principal components and speak in the units of data."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from tests.steps import trained
from tests.test_objectives import first_batch
from veegan_jax.config.build import build
from veegan_jax.errors import UserError
from veegan_jax.evaluation.trained import load
from veegan_jax.experiments.run import train
from veegan_jax.objectives import whitened
from veegan_jax.train.step import gradients

# A mean, a turn, and two scales.
STATISTICS = {
    "mean": np.float32([1.0, -2.0]),
    "basis": np.float32([[0.6, -0.8], [0.8, 0.6]]),
    "scale": np.float32([5.0, 0.5]),
}


def whitening(*names, **fields):
    """Returns a tiny config that whitens."""
    config = tiny(*names, **fields)
    config.whiten.floor = 0.1
    return config


def with_statistics(experiment):
    """Returns the parameters and a batch of an experiment, with `STATISTICS`."""
    params, batch = first_batch(experiment, 4)
    return {**params, whitened.NET: jax.tree.map(jnp.asarray, STATISTICS)}, batch


def by_hand(x):
    return (x - STATISTICS["mean"]) @ STATISTICS["basis"] / STATISTICS["scale"]


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_statistics_are_those_of_the_components_and_of_the_floor(power):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(20_000, 3)) * [3.0, 1.0, 0.0]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    x = np.float32(w @ turn.T + [5.0, 0.0, -1.0])
    found = whitened.measure(x, 0.25, power)
    np.testing.assert_allclose(found["mean"], [5.0, 0.0, -1.0], atol=0.1)
    np.testing.assert_allclose(found["scale"], np.power([9.25, 1.25, 0.25], power / 2), rtol=0.02)
    np.testing.assert_allclose(np.abs(found["basis"].T @ turn), np.eye(3), atol=0.03)
    components = (x - found["mean"]) @ found["basis"] / found["scale"]
    expected = np.array([9.0, 1.0, 0.0]) / np.power([9.25, 1.25, 0.25], power)
    np.testing.assert_allclose(np.cov(components.T), np.diag(expected), rtol=0.03, atol=0.02)


def test_losses_are_those_of_the_components():
    plain, experiment = build(tiny()).objective, build(whitening())
    params, batch = with_statistics(experiment)
    expected = plain.losses(params, batch._replace(x=jnp.asarray(by_hand(np.asarray(batch.x)))))
    chex.assert_trees_all_close(experiment.objective.losses(params, batch), expected, rtol=1e-5)


def test_samples_and_encodings_are_in_the_units_of_the_data():
    objective = (experiment := build(whitening())).objective
    params, batch = with_statistics(experiment)
    components = objective.nets["gen"].apply(params["gen"], batch.noise["z"], batch.noise["eps"])
    np.testing.assert_allclose(by_hand(np.asarray(objective.generate(params, batch.noise))), components, atol=1e-5)
    expected = objective.nets["rec"].apply(params["rec"], jnp.asarray(by_hand(np.asarray(batch.x))))
    np.testing.assert_allclose(objective.encode(params, batch.x), expected, atol=1e-5)


def test_no_player_moves_the_statistics():
    objective = (experiment := build(whitening())).objective
    assert all(whitened.NET not in nets for nets in objective.players.values())
    params, batch = with_statistics(experiment)
    moved = gradients(objective, params, batch)[0][whitened.NET]
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(moved))


def test_a_run_keeps_the_statistics_of_its_data(tmp_path):
    """All replicas and all steps have those of the training data, and a model is loaded with them."""
    train(whitening("veegan", "mlp", "grid", num_seeds=2), tmp_path)
    for replica in load(tmp_path).replicas:
        found = jax.tree.map(np.asarray, replica[whitened.NET])
        np.testing.assert_allclose(found["scale"], np.sqrt(8 + 0.05**2 + 0.1), rtol=0.02)
        np.testing.assert_allclose(found["mean"], 0, atol=0.1)
        np.testing.assert_allclose(found["basis"] @ found["basis"].T, np.eye(2), atol=1e-5)


def test_images_are_refused():
    with pytest.raises(UserError, match=r"config.whiten.floor is 0.1; it must be 0 for stacked_digits, no vectors"):
        build(whitening("veegan", "mlp", "stacked_digits"))


@pytest.mark.parametrize(("option", "value"), [("floor", -1.0), ("power", 1.5), ("power", -0.5)])
def test_numbers_out_of_range_are_refused(option, value):
    config = tiny()
    config.whiten[option] = value
    with pytest.raises(UserError, match=rf"config.whiten.{option} is {value}; it must be 0 "):
        build(config)


def test_bits_are_equal_on_any_number_of_devices():
    one, two = (trained(whitening(logical_shards=4, devices=devices)) for devices in (1, 2))
    chex.assert_trees_all_equal(one, two)
