"""The discriminator's part: penalties against gradients by hand, their schedule, a second critic."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from tests.test_objectives import one_batch
from veegan_jax.config.build import build
from veegan_jax.errors import UserError
from veegan_jax.models.network import Network, packed
from veegan_jax.objectives.critic import make_critic
from veegan_jax.objectives.penalty import penalty

# D(x) = w · x² has the gradient 2 w x, whose squared norm is 4 Σ w² x².
QUADRATIC = Network(
    init=lambda key, *shapes: jnp.ones(shapes[-1]),
    apply=lambda w, *inputs: sum(jnp.square(x) @ w for x in inputs),
    freeze=lambda w, *inputs: w,
)
W = jnp.array([0.5, -1.0])
GENERATED, REAL = jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.array([[3.0, 0.0], [1.0, 1.0]])
SLOPES = {"r2": np.mean([4 * (0.25 + 4), 4 * 1.0]), "r1": np.mean([4 * 0.25 * 9, 4 * (0.25 + 1)])}


def judge(step=0, x_weight=0.0, disc=QUADRATIC, **penalties):
    critic = make_critic(disc, ((2,),), "nonsaturating", penalty(**penalties), x_weight)
    return critic.judge(dict.fromkeys(critic.nets, W), (GENERATED,), (REAL,), jnp.int32(step))


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_penalty_is_half_its_weight_times_the_mean_squared_norm(name):
    plain, weighed = judge(), judge(**{name: 0.3})
    np.testing.assert_allclose(weighed.disc - plain.disc, 0.15 * SLOPES[name], rtol=1e-5)
    chex.assert_trees_all_equal((plain.gen, plain.both), (weighed.gen, weighed.both))


def test_penalty_counts_packs_not_examples():
    two = packed(QUADRATIC, 2)
    critic = make_critic(two, ((2,),), "nonsaturating", penalty(r1=1.0))
    params = {"disc": jnp.concatenate([W, W])}
    plain = make_critic(two, ((2,),), "nonsaturating", penalty())
    difference = [c.judge(params, (GENERATED,), (REAL,), jnp.int32(0)).disc for c in (critic, plain)]
    np.testing.assert_allclose(difference[0] - difference[1], 0.5 * 2 * SLOPES["r1"], rtol=1e-5)


def test_penalty_moves_the_discriminator():
    """The gradient of a gradient: of γ/2 · 4 mean(Σ w² x²) by w, 4 γ w mean(x²)."""

    def loss(w, r1):
        critic = make_critic(QUADRATIC, ((2,),), "nonsaturating", penalty(r1=r1))
        return critic.judge({"disc": w}, (GENERATED,), (REAL,), jnp.int32(0)).disc

    moved = jax.grad(loss)(W, 0.3) - jax.grad(loss)(W, 0.0)
    np.testing.assert_allclose(moved, 4 * 0.3 * np.asarray(W) * np.mean(np.asarray(REAL) ** 2, axis=0), rtol=1e-4)


@pytest.mark.parametrize(("step", "fraction"), [(0, 1.0), (50, 0.6), (100, 0.2), (1000, 0.2)])
def test_penalty_is_annealed_along_half_a_cosine(step, fraction):
    gained = judge(step, r1=1.0, final=0.2, anneal_steps=100).disc - judge().disc
    np.testing.assert_allclose(gained, fraction * 0.5 * SLOPES["r1"], rtol=1e-4)


def test_second_critic_is_weighed_for_the_generator_alone():
    one = judge()
    critic = make_critic(QUADRATIC, ((2,), (2,)), "nonsaturating", penalty(), 0.25)
    assert critic.inputs == {"disc": ((2,), (2,)), "disc_x": ((2,),)}
    params = {"disc": jnp.zeros(2), "disc_x": W}
    both = critic.judge(params, (REAL, GENERATED), (GENERATED, REAL), jnp.int32(0))
    blind = 2 * np.log(2)  # the first critic's loss, whose logits are 0
    np.testing.assert_allclose(both.disc, one.disc + blind, rtol=1e-5)
    np.testing.assert_allclose(both.gen, 0.25 * one.gen + np.log(2), rtol=1e-5)
    np.testing.assert_allclose(both.both, 0.25 * one.both + blind, rtol=1e-5)


@pytest.mark.parametrize("objective", ["veegan", "veegan_data_ae", "ali", "bigan"])
def test_joint_methods_train_a_second_critic(objective):
    config = tiny(objective)
    config[objective].x_critic = 0.5
    method = build(config).objective
    assert method.players["disc"] == ("disc", "disc_x")
    assert method.inputs["disc_x"] == ((2,),)


def test_nothing_flows_to_the_generator_through_real_logits():
    """A relativistic VEEGAN: the reconstructor still follows d alone (Algorithm 1)."""
    config = tiny()
    config.veegan.adversarial_loss = "relativistic"
    experiment = build(config)
    params, batch = one_batch(experiment)

    def adversarial_part(rec):
        losses, metrics = experiment.objective.losses({**params, "rec": rec}, batch)
        return losses["gen"] - metrics["d"]

    chex.assert_trees_all_close(
        jax.jit(jax.grad(adversarial_part))(params["rec"]), jax.tree.map(jnp.zeros_like, params["rec"]), atol=1e-6
    )


@pytest.mark.parametrize("name", ["r1", "r2", "final"])
def test_negative_penalties_are_refused(name):
    config = tiny()
    config.penalty[name] = -1.0
    with pytest.raises(UserError, match=f"config.penalty.{name} is -1.0; it must be 0 or more"):
        build(config)


def test_a_schedule_of_no_penalty_is_refused():
    config = tiny()
    config.penalty.anneal_steps = 10
    with pytest.raises(UserError, match="config.penalty.anneal_steps is 10, but r1 and r2 are 0"):
        build(config)
