"""The methods: VEEGAN by hand, then every method × architecture × source: shapes, routing, one-step goldens."""

import functools
import json
import os
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.helpers import COMBINATIONS, METHODS_AND_MODELS, tiny
from veegan_jax.config.build import build
from veegan_jax.objectives.base import Batch
from veegan_jax.parallel.devices import over_seeds
from veegan_jax.train.step import batches_in_memory, gradients, make_init, make_step

GOLDENS = Path(__file__).parent / "goldens.json"
every_combination = pytest.mark.parametrize(("objective", "model", "data"), COMBINATIONS)


@functools.cache
def experiment_of(objective="veegan", model="mlp", data="ring"):
    """The experiment of a combination, built once for all tests that leave its options alone."""
    return build(tiny(objective, model, data))


def held_out(experiment):
    """Arrays to draw examples from, which every source has on the device."""
    return jax.tree.map(jnp.asarray, experiment.source.held_out)


def draw(experiment, arrays, n=6):
    """The parameters of seed 0, and a batch of `n` examples at step 0."""
    keys = jax.random.split(jax.random.key(1), n)
    x = jax.vmap(lambda key: experiment.source.sample(arrays, key))(keys)
    state = make_init(experiment.objective, experiment.optimizers, ema=False)(0)
    return state.params, Batch(x, jax.vmap(experiment.objective.noise)(keys), state.step, state.opt_state)


def first_batch(experiment, n=6):
    """What `draw` gives, compiled in one piece."""
    return jax.jit(lambda arrays: draw(experiment, arrays, n))(held_out(experiment))


def test_veegan_losses_by_hand():
    """One example, so that every term can be written down from the nets' outputs."""
    experiment = experiment_of()
    nets = experiment.objective.nets
    params, batch = first_batch(experiment, 1)
    x, noise = batch.x, batch.noise
    z, eps, xi = noise["z"], noise["eps"], noise["xi"]
    x_g = nets["gen"].apply(params["gen"], z, eps)
    mean_g = nets["rec"].apply(params["rec"], x_g)
    z_g = nets["rec"].apply(params["rec"], x) + xi
    logit_g = float(nets["disc"].apply(params["disc"], z, x_g)[0])
    logit_r = float(nets["disc"].apply(params["disc"], z_g, x)[0])
    d = 0.5 * float(np.sum((np.asarray(z) - np.asarray(mean_g)) ** 2)) + 1.5 * np.log(2 * np.pi)
    losses, metrics = experiment.objective.losses(params, batch)
    np.testing.assert_allclose(losses["gen"], logit_g + d, rtol=1e-5)
    np.testing.assert_allclose(losses["disc"], np.log1p(np.exp(-logit_g)) + np.log1p(np.exp(logit_r)), rtol=1e-5)
    np.testing.assert_allclose(metrics["d"], d, rtol=1e-5)

    def gen_loss(**options):
        config = tiny("veegan")
        config.veegan.update(options)
        return float(build(config).objective.losses(params, batch)[0]["gen"])

    np.testing.assert_allclose(gen_loss(reconstruction_weight=0.5), logit_g + 0.5 * d, rtol=1e-5)
    np.testing.assert_allclose(gen_loss(reconstruction_reduction="mean"), logit_g + d / 3, rtol=1e-5)
    np.testing.assert_allclose(gen_loss(adversarial_loss="nonsaturating"), np.log1p(np.exp(logit_g)) + d, rtol=1e-5)
    np.testing.assert_allclose(gen_loss(real_pair_weight=-0.5), logit_g + d - 0.5 * logit_r, rtol=1e-4)


def test_reconstructor_follows_the_reconstruction_loss_alone():
    """In VEEGAN's Algorithm 1, F's gradient is that of mean d: neither D nor real data move F."""
    experiment = experiment_of()
    params, batch = first_batch(experiment)
    compiled = jax.jit(functools.partial(gradients, experiment.objective))
    grads, _ = compiled(params, batch)
    other_x = batch._replace(x=batch.x + 1)
    other_disc = {**params, "disc": jax.tree.map(lambda leaf: leaf + 0.3, params["disc"])}
    with_others, _ = compiled(other_disc, other_x)
    chex.assert_trees_all_close(grads["rec"], with_others["rec"], rtol=1e-5, atol=1e-7)

    def d(rec):
        x_g = experiment.objective.generate(params, batch.noise)
        mean = experiment.objective.nets["rec"].apply(rec, x_g)
        return 0.5 * jnp.mean(jnp.sum((batch.noise["z"] - mean) ** 2, axis=-1))

    chex.assert_trees_all_close(grads["rec"], jax.jit(jax.grad(d))(params["rec"]), rtol=1e-4, atol=1e-6)


def test_deterministic_reconstructor_ignores_its_noise():
    params, batch = first_batch(experiment_of())

    def disc_loss(std, xi_scale):
        config = tiny()
        config.veegan.reconstructor_std = std
        scaled = {**batch.noise, "xi": xi_scale * batch.noise["xi"]}
        return build(config).objective.losses(params, batch._replace(noise=scaled))[0]["disc"]

    assert disc_loss(0.0, 1.0) == disc_loss(0.0, 5.0)
    assert disc_loss(1.0, 1.0) != disc_loss(1.0, 5.0)


@every_combination
def test_shapes(objective, model, data):
    """Shapes and types alone: nothing is compiled."""
    experiment = experiment_of(objective, model, data)
    method, shape = experiment.objective, (6, *experiment.source.shape)
    params, batch = jax.eval_shape(lambda arrays: draw(experiment, arrays), held_out(experiment))
    chex.assert_shape(batch.x, shape)
    chex.assert_shape(jax.eval_shape(method.generate, params, batch.noise), shape)
    if method.encode:
        chex.assert_shape(jax.eval_shape(method.encode, params, batch.x), (6, 3))
    losses, metrics = jax.eval_shape(method.losses, params, batch)
    assert set(losses) == set(method.players) == {"disc", "gen"}
    chex.assert_shape([*losses.values(), *metrics.values()], ())
    chex.assert_type([*losses.values(), *metrics.values()], jnp.float32)


@pytest.mark.parametrize(("objective", "model", "data"), METHODS_AND_MODELS)
def test_each_net_is_moved_by_its_own_player_alone(objective, model, data):
    experiment = experiment_of(objective, model, data)
    method = experiment.objective

    @jax.jit
    def all_gradients(arrays):
        params, batch = draw(experiment, arrays)
        alone = {p: jax.grad(lambda q, p=p: method.losses(q, batch)[0][p])(params) for p in method.players}
        return gradients(method, params, batch)[0], alone

    grads, alone = all_gradients(held_out(experiment))
    chex.assert_tree_all_finite(grads)
    owner = {net: player for player, nets in method.players.items() for net in nets}
    assert set(owner) == set(grads)
    for net, player in owner.items():
        assert optax.tree.norm(grads[net]) > 0, net
        chex.assert_trees_all_close(grads[net], alone[player][net], rtol=1e-4, atol=1e-6)


@every_combination
def test_one_step_golden_of_vmapped_seeds(objective, model, data):
    """One plain-gradient step from seed 0, alone when it is recorded and beside seed 1 when it is compared.

    The optimizer is SGD, since Adam hides a wrong scale of the gradient. `test_optimizer.py` checks Adam by hand.
    """
    update = bool(os.environ.get("UPDATE_GOLDENS"))
    experiment = experiment_of(objective, model, data)
    optimizers = dict.fromkeys(experiment.objective.players, optax.sgd(0.1))
    if experiment.config.unroll:  # unrolling looks ahead by the updates of the optimizer that it was built with
        optimizers["disc"] = experiment.optimizers["disc"]
    init = make_init(experiment.objective, optimizers, ema=True)
    step = make_step(
        experiment.objective, batches_in_memory(experiment.source.sample), optimizers, batch_size=8, ema_half_life=8.0
    )
    mapping = "map" if update else "vmap"

    @jax.jit
    def run(seeds, arrays):
        state = jax.lax.map(init, seeds)
        return state, *over_seeds(step, mapping)(state, arrays)

    seeds = np.arange(1 if update else 2, dtype=np.uint32)
    states_and_scalars = run(seeds, held_out(experiment))
    replicas = [jax.tree.map(lambda leaf, i=i: leaf[i], states_and_scalars) for i in range(len(seeds))]
    found, *others = (moves(*replica) for replica in replicas)
    name = f"{objective}-{model}-{data}"
    goldens = json.loads(GOLDENS.read_text()) if GOLDENS.exists() else {}
    if update:
        GOLDENS.write_text(json.dumps({**goldens, name: found}, indent=1, sort_keys=True) + "\n")
        return
    assert name in goldens, f"{name} is new: UPDATE_GOLDENS=1 pytest -n0 {__file__} records it; check the numbers"
    message = "one step computes something else now; if that is meant, UPDATE_GOLDENS=1 pytest -n0 records it"
    assert found == pytest.approx(goldens[name], rel=2e-3, abs=1e-6), message
    assert all(other != pytest.approx(found, rel=2e-3) for other in others)  # another seed is another run


def moves(state, after, scalars):
    """The scalars of a step, and how far it moved each net."""
    found = {name: float(value) for name, value in scalars.items()}
    for kind in ("params", "ema"):
        for net, params in getattr(after, kind).items():
            before = getattr(state, kind)[net]
            found[f"moved/{kind}/{net}"] = float(optax.tree.norm(jax.tree.map(jnp.subtract, params, before)))
    return found
