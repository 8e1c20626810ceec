"""The critic: gradient penalties against gradients by hand, their schedule, and a second critic of x alone."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from tests.test_objectives import first_batch
from tests.test_step import make
from veegan_jax.config.build import build
from veegan_jax.errors import UserError
from veegan_jax.models.network import Network, packed
from veegan_jax.objectives.critic import Critic
from veegan_jax.objectives.penalty import penalty

# D(x) = w · x² has the gradient 2 w x, whose squared norm is 4 Σ w² x².
QUADRATIC = Network(
    init=lambda key, *shapes: jnp.ones(shapes[-1]),
    apply=lambda w, *inputs: sum(jnp.square(x) @ w for x in inputs),
    freeze=lambda w, *inputs: w,
)
W = jnp.array([0.5, -1.0])
GENERATED, REAL = jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.array([[3.0, 0.0], [1.0, 1.0]])
# The mean squared norm of D's gradient at the examples that each penalty is on.
SLOPES = {"r2": np.mean([4 * (0.25 + 4), 4 * 1.0]), "r1": np.mean([4 * 0.25 * 9, 4 * (0.25 + 1)])}


def critic_losses(net=QUADRATIC, w=W, step=0, **penalties):
    """The losses of a single critic with parameters `w`."""
    critic = Critic(net, ((2,),), "nonsaturating", penalty(**penalties))
    return critic.losses({"disc": w}, generated=(GENERATED,), real=(REAL,), step=jnp.int32(step))


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_penalty_is_half_its_weight_times_the_mean_squared_norm(name):
    plain, penalised = critic_losses(), critic_losses(**{name: 0.3})
    np.testing.assert_allclose(penalised.disc - plain.disc, 0.15 * SLOPES[name], rtol=1e-5)
    chex.assert_trees_all_equal((plain.gen, plain.swapped), (penalised.gen, penalised.swapped))


def test_penalty_counts_packs_not_examples():
    packs = {"net": packed(QUADRATIC, 2), "w": jnp.concatenate([W, W])}
    gained = critic_losses(**packs, r1=1.0).disc - critic_losses(**packs).disc
    np.testing.assert_allclose(gained, 0.5 * 2 * SLOPES["r1"], rtol=1e-5)


def test_penalty_moves_the_discriminator():
    """The gradient of a gradient: the derivative of γ/2 · 4 mean(Σ w² x²) with respect to w is 4 γ w mean(x²)."""
    with_penalty, without = (jax.grad(lambda w, r1=r1: critic_losses(w=w, r1=r1).disc)(W) for r1 in (0.3, 0.0))
    by_hand = 4 * 0.3 * np.asarray(W) * np.mean(np.asarray(REAL) ** 2, axis=0)
    np.testing.assert_allclose(with_penalty - without, by_hand, rtol=1e-4)


@pytest.mark.parametrize(("step", "fraction"), [(0, 1.0), (50, 0.6), (100, 0.2), (1000, 0.2)])
def test_penalty_is_annealed_along_half_a_cosine(step, fraction):
    gained = critic_losses(step=step, r1=1.0, final=0.2, anneal_steps=100).disc - critic_losses().disc
    np.testing.assert_allclose(gained, fraction * 0.5 * SLOPES["r1"], rtol=1e-4)


def test_lazy_penalties_come_in_every_kth_step_at_k_times_their_weight():
    gained = [(critic_losses(step=step, r1=0.3, r2=0.2, every=3).disc - critic_losses().disc) for step in range(7)]
    whole = 3 * 0.5 * (0.3 * SLOPES["r1"] + 0.2 * SLOPES["r2"])
    np.testing.assert_allclose(gained, [whole, 0, 0, whole, 0, 0, whole], rtol=1e-5, atol=1e-6)


def test_lazy_penalties_move_the_discriminator_as_much_in_k_steps():
    def gradient(step, every):
        return jax.jit(jax.grad(lambda w: critic_losses(w=w, step=step, r1=0.3, every=every).disc))(W)

    plain = jax.grad(lambda w: critic_losses(w=w).disc)(W)
    in_one = gradient(0, 1) - plain
    np.testing.assert_allclose(gradient(4, 4) - plain, 4 * in_one, rtol=1e-5)
    np.testing.assert_array_equal(gradient(3, 4), jax.jit(lambda: plain)())


def test_steps_without_lazy_penalties_leave_out_their_work():
    """The critics' slopes are in branches, and a turn of the generator, which needs no slopes, has none."""
    config = tiny(update_order="alternating")
    config.veegan.x_critic = 1.0
    config.penalty.update({"r1": 0.1, "r2": 0.1, "every": 4})
    for player, branches in (("disc", True), ("gen", False)):
        _, state, step, arrays = make(config, turns=[(player,)])
        program = jax.jit(step).lower(state, arrays).compile().as_text()
        assert (" conditional(" in program) is branches


def test_second_critic_has_a_weight_for_the_generator_alone():
    alone = critic_losses()
    critic = Critic(QUADRATIC, ((2,), (2,)), "nonsaturating", penalty(), x_weight=0.25)
    assert critic.inputs == {"disc": ((2,), (2,)), "disc_x": ((2,),)}
    assert set(critic.nets) == {"disc", "disc_x"}
    params = {"disc": jnp.zeros(2), "disc_x": W}
    both = critic.losses(params, generated=(REAL, GENERATED), real=(GENERATED, REAL), step=jnp.int32(0))
    # The first critic's logits are 0, so that its loss of generated examples is log 2, and that of real ones, too.
    np.testing.assert_allclose(both.disc, 2 * np.log(2) + alone.disc, rtol=1e-5)
    np.testing.assert_allclose(both.gen, np.log(2) + 0.25 * alone.gen, rtol=1e-5)
    np.testing.assert_allclose(both.swapped, 2 * np.log(2) + 0.25 * alone.swapped, rtol=1e-5)


@pytest.mark.parametrize("objective", ["veegan", "veegan_data_ae", "ali", "bigan"])
def test_methods_of_pairs_train_a_second_critic(objective):
    config = tiny(objective)
    config[objective].x_critic = 0.5
    method = build(config).objective
    assert method.players["disc"] == ("disc", "disc_x")
    assert method.inputs["disc_x"] == ((2,),)


def test_no_gradient_reaches_the_reconstructor_through_real_logits():
    """A relativistic loss has real logits in the generator's loss; still the reconstructor follows d alone."""
    config = tiny()
    config.veegan.adversarial_loss = "relativistic"
    experiment = build(config)
    params, batch = first_batch(experiment)

    def adversarial_part(rec):
        losses, metrics = experiment.objective.losses({**params, "rec": rec}, batch)
        return losses["gen"] - metrics["d"]

    gradient = jax.jit(jax.grad(adversarial_part))(params["rec"])
    chex.assert_trees_all_close(gradient, jax.tree.map(jnp.zeros_like, params["rec"]), atol=1e-6)


@pytest.mark.parametrize("name", ["r1", "r2", "final"])
def test_negative_penalties_are_refused(name):
    config = tiny()
    config.penalty[name] = -1.0
    with pytest.raises(UserError, match=f"config.penalty.{name} is -1.0; it must be 0 or more"):
        build(config)


def test_a_schedule_without_a_penalty_is_refused():
    config = tiny()
    config.penalty.anneal_steps = 10
    with pytest.raises(UserError, match="config.penalty.anneal_steps is 10, but r1 and r2 are 0"):
        build(config)


def test_lazy_penalties_that_could_mean_nothing_are_refused():
    config = tiny()
    config.penalty.every = 4
    with pytest.raises(UserError, match="config.penalty.every is 4, but r1 and r2 are 0"):
        build(config)
    config.penalty.r1, config.penalty.every = 1.0, 0
    with pytest.raises(UserError, match="config.penalty.every is 0; it must be 1 or more"):
        build(config)
