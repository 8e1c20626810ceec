"""The losses of each method, computed by hand from the outputs of its networks."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.helpers import tiny
from tests.test_objectives import first_batch
from veegan_jax.config.build import build
from veegan_jax.objectives.unrolled import unrolled


def setup(name, n=4, **options):
    """A method's losses and metrics on a batch, its nets as functions to numpy arrays, and the batch."""
    config = tiny(name)
    config[name].update(options)
    experiment = build(config)
    params, batch = first_batch(experiment, n)
    losses, metrics = jax.jit(experiment.objective.losses)(params, batch)
    apply = {net: lambda *inputs, net=net: net_apply(experiment, params, net, inputs) for net in params}
    return losses, metrics, apply, batch


def net_apply(experiment, params, net, inputs):
    return np.asarray(experiment.objective.nets[net].apply(params[net], *inputs), np.float64)


def softplus(t):
    return np.logaddexp(0, t)


def by_hand_pairs(nets, batch, std=None):
    """x_g, z_g, and the logits of the pairs (z, x_g) and (z_g, x). Without `std`, F gives its logarithm."""
    z, eps, xi, x = batch.noise["z"], batch.noise["eps"], batch.noise["xi"], batch.x
    x_g = jnp.asarray(nets["gen"](z, eps), jnp.float32)
    rec_out = nets["rec"](x)
    mean = rec_out[:, :3]
    std = np.exp(rec_out[:, 3:]) if std is None else std
    z_g = jnp.asarray(mean + std * np.asarray(xi), jnp.float32)
    return x_g, z_g, nets["disc"](z, x_g), nets["disc"](z_g, x)


def test_ali_swaps_the_labels_and_learns_its_std():
    losses, _, nets, batch = setup("ali")
    _, _, generated, real = by_hand_pairs(nets, batch)
    np.testing.assert_allclose(losses["disc"], np.mean(softplus(-generated)) + np.mean(softplus(real)), rtol=1e-5)
    np.testing.assert_allclose(losses["gen"], np.mean(softplus(generated)) + np.mean(softplus(-real)), rtol=1e-5)


def test_bigan_encodes_without_noise_and_its_minimax_negates_the_loss():
    losses, _, nets, batch = setup("bigan", adversarial_loss="minimax")
    _, _, generated, real = by_hand_pairs(nets, batch, std=0.0)
    np.testing.assert_allclose(losses["disc"], np.mean(softplus(-generated)) + np.mean(softplus(real)), rtol=1e-5)
    np.testing.assert_allclose(losses["gen"], -losses["disc"], rtol=1e-6)


def test_veegan_with_a_learned_std():
    losses, metrics, nets, batch = setup("veegan", learned_std=True, reconstructor_std=0.5)
    x_g, _, generated, _ = by_hand_pairs(nets, batch)
    rec_out = nets["rec"](x_g)
    std = 0.5 * np.exp(rec_out[:, 3:])
    nll = 0.5 * ((np.asarray(batch.noise["z"]) - rec_out[:, :3]) / std) ** 2 + np.log(std) + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(metrics["d"], np.mean(np.sum(nll, axis=-1)), rtol=1e-5)
    np.testing.assert_allclose(losses["gen"], np.mean(generated) + metrics["d"], rtol=1e-5)


@pytest.mark.parametrize(("reduction", "factor"), [("sum", 1.0), ("mean", 1 / 3)])
def test_veegan_with_a_contrastive_loss(reduction, factor):
    weights = {"reconstruction_weight": 0.3, "reconstruction_reduction": reduction}
    losses, metrics, nets, batch = setup("veegan", reconstruction_loss="contrastive", **weights)
    x_g, _, generated, _ = by_hand_pairs(nets, batch, std=1.0)
    z, z_mixed = batch.noise["z"], batch.noise["z_mixed"]
    contrast = np.mean(softplus(-nets["info"](z, x_g))) + np.mean(softplus(nets["info"](z_mixed, x_g)))
    np.testing.assert_allclose(metrics["contrast"], contrast, rtol=1e-5)
    np.testing.assert_allclose(
        losses["gen"], np.mean(generated) + 0.3 * contrast + 0.3 * factor * metrics["d"], rtol=1e-5
    )
    assert not np.any(np.asarray(z) == np.asarray(z_mixed))


def parts_of_gradient(**options):
    """Returns the gradients of three losses, that of the generator, d, and T's, with respect to all nets."""
    config = tiny("veegan")
    config.veegan.update(options)
    objective = (experiment := build(config)).objective
    params, batch = first_batch(experiment, 4)

    def part(params, name):
        losses, metrics = objective.losses(params, batch)
        return (losses | metrics).get(name, jnp.zeros(()))

    gradients = {name: jax.grad(functools.partial(part, name=name)) for name in ("gen", "d", "contrast")}
    return {name: jax.jit(gradient)(params) for name, gradient in gradients.items()}


@pytest.mark.parametrize(
    ("loss", "moves"),
    [
        ("gaussian", {"d": {"gen", "rec"}, "contrast": set()}),
        ("contrastive", {"d": {"rec"}, "contrast": {"gen", "info"}}),
        ("none", {"d": {"rec"}, "contrast": set()}),
    ],
)
def test_which_nets_each_reconstruction_loss_moves(loss, moves):
    gradients = parts_of_gradient(reconstruction_loss=loss, reconstruction_weight=0.3)
    for name, nets in moves.items():
        assert {net for net, gradient in gradients[name].items() if optax.tree.norm(gradient) > 0} == nets, name
    for net, name in (("rec", "d"), ("info", "contrast")):
        if net in gradients["gen"]:  # The net has no other part of the loss.
            expected = jax.tree.map(lambda g: 0.3 * g, gradients[name][net])
            chex.assert_trees_all_close(gradients["gen"][net], expected, rtol=1e-4, atol=1e-6)


def test_an_encoder_stays_finite_on_data_far_from_unit_scale():
    experiment = build(tiny("ali"))
    params, batch = first_batch(experiment, 4)
    losses, _ = experiment.objective.losses(params, batch._replace(x=1e4 * batch.x))  # exp(1e4) overflows
    assert all(np.isfinite(loss) for loss in losses.values())


def test_veegan_data_ae_reconstructs_data():
    losses, _, nets, batch = setup("veegan_data_ae", reconstruction_weight=0.3)
    _, z_g, generated, real = by_hand_pairs(nets, batch, std=1.0)
    again = nets["gen"](z_g, batch.noise["eps"])
    error = 0.5 * np.mean(np.sum((np.asarray(batch.x) - again) ** 2, axis=-1))
    np.testing.assert_allclose(losses["gen"], np.mean(generated) + 0.3 * error, rtol=1e-5)
    np.testing.assert_allclose(losses["disc"], np.mean(softplus(-generated)) + np.mean(softplus(real)), rtol=1e-5)


def test_aae_discriminates_latents_and_reconstructs_data():
    losses, _, nets, batch = setup("aae", reconstruction_weight=2.0)
    z_g = jnp.asarray(nets["rec"](batch.x), jnp.float32)
    generated, real = nets["disc"](z_g), nets["disc"](batch.noise["z"])
    again = nets["gen"](z_g, batch.noise["eps"])
    error = 0.5 * np.mean(np.sum((np.asarray(batch.x) - again) ** 2, axis=-1))
    np.testing.assert_allclose(losses["disc"], np.mean(softplus(-generated)) + np.mean(softplus(real)), rtol=1e-5)
    np.testing.assert_allclose(losses["gen"], np.mean(softplus(generated)) + 2.0 * error, rtol=1e-5)


def test_infogan_bounds_the_information_about_its_codes():
    losses, metrics, nets, batch = setup("infogan", information_weight=0.7)  # c₁ has two categories, c₂ one dimension
    z = np.asarray(batch.noise["z"], np.float64)
    x_g = jnp.asarray(nets["gen"](batch.noise["z"], batch.noise["eps"]), jnp.float32)
    rec_out = nets["rec"](x_g)
    log_q = np.sum(z[:, :2] * (rec_out[:, :2] - np.logaddexp(rec_out[:, :1], rec_out[:, 1:2])), axis=-1)
    log_q += -0.5 * ((z[:, 2] - rec_out[:, 2]) / np.exp(rec_out[:, 3])) ** 2 - rec_out[:, 3] - 0.5 * np.log(2 * np.pi)
    bound = np.mean(log_q) + np.log(2) + np.log(2)
    np.testing.assert_allclose(metrics["information"], bound, rtol=1e-5)
    np.testing.assert_allclose(losses["gen"], np.mean(softplus(nets["disc"](x_g))) - 0.7 * bound, rtol=1e-5)


def test_infogan_draws_its_codes():
    noise = jax.vmap(build(tiny("infogan")).objective.noise)(jax.random.split(jax.random.key(0), 400))
    z = np.asarray(noise["z"])
    np.testing.assert_array_equal(np.sort(z[:, :2], axis=-1), np.tile([0.0, 1.0], (400, 1)))
    assert 150 < z[:, 0].sum() < 250
    assert z[:, 2].min() < -0.9
    assert z[:, 2].max() > 0.9
    assert np.abs(z[:, 2]).max() <= 1


@pytest.mark.parametrize(("categories", "continuous"), [(3, 1), (0, 0), (-1, 2)])
def test_infogan_refuses_codes_that_do_not_fit(categories, continuous):
    with pytest.raises(Exception, match=f"config.infogan.categories is {categories} with {continuous} continuous"):
        setup("infogan", categories=categories, continuous=continuous)


def test_unrolled_generator_sees_the_discriminator_of_k_updates_later():
    experiment = build(tiny("gan"))
    objective, adam = experiment.objective, optax.adam(1e-2, eps_root=1e-16)
    params, batch = first_batch(experiment, 8)
    disc, opt_state = {"disc": params["disc"]}, adam.init({"disc": params["disc"]})
    batch = batch._replace(opt_state={"disc": opt_state})
    losses_of = jax.jit(lambda disc: objective.losses({**params, **disc}, batch)[0])

    @jax.jit
    def updated(disc, opt_state):
        grads = jax.grad(lambda disc: losses_of(disc)["disc"])(disc)
        updates, opt_state = adam.update(grads, opt_state, disc)
        return optax.apply_updates(disc, updates), opt_state

    before = losses_of(disc)
    for _ in range(3):
        disc, opt_state = updated(disc, opt_state)
    losses, _ = jax.jit(unrolled(objective, adam, 3).losses)(params, batch)
    np.testing.assert_allclose(losses["gen"], losses_of(disc)["gen"], rtol=1e-5)
    assert abs(losses["gen"] - before["gen"]) > 1e-3
    np.testing.assert_allclose(losses["disc"], before["disc"], rtol=1e-6)


def test_unrolled_gradient_goes_through_the_updates():
    """The gradient agrees with finite differences; one that did not flow through the discriminator would not."""
    config = tiny("gan")
    config.mlp.activation = "tanh"  # with a ReLU, whose gradient jumps, the unrolled loss would jump
    experiment = build(config)
    sgd = optax.sgd(0.5)
    objective = unrolled(experiment.objective, sgd, 2)
    params, batch = first_batch(experiment, 8)
    batch = batch._replace(opt_state={"disc": sgd.init({"disc": params["disc"]})})
    flat, unravel = jax.flatten_util.ravel_pytree(params["gen"])
    direction = jax.random.normal(jax.random.key(3), flat.shape)

    def gen_loss(method, t):
        return method.losses({**params, "gen": unravel(flat + t * direction)}, batch)[0]["gen"]

    loss = jax.jit(functools.partial(gen_loss, objective))
    h = 3e-3
    numeric = (loss(h) - loss(-h)) / (2 * h)
    gradient, not_unrolled = (
        jax.jit(jax.grad(functools.partial(gen_loss, method)))(0.0) for method in (objective, experiment.objective)
    )
    np.testing.assert_allclose(gradient, numeric, rtol=2e-2)
    assert abs(not_unrolled - numeric) > 0.05 * abs(numeric)


def test_unrolling_has_finite_gradients_where_a_unit_is_dead():
    """A dead ReLU unit has a second moment of 0, at which plain Adam has no derivative."""
    config = tiny("unrolled")
    config.mlp.activation = "relu"
    experiment = build(config)
    params, batch = first_batch(experiment, 8)
    dead = jax.tree.map(jnp.zeros_like, params["disc"])
    state = {"disc": experiment.optimizers["disc"].init({"disc": dead})}
    batch = batch._replace(opt_state=state)

    def loss(gen):
        return experiment.objective.losses({**params, "gen": gen, "disc": dead}, batch)[0]["gen"]

    chex.assert_tree_all_finite(jax.jit(jax.grad(loss))(params["gen"]))
