"""The step: its updates, its draws, Algorithm 1's single point, fusing, turns, and its number of operations."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.helpers import slow, tiny
from veegan_jax.config.build import build
from veegan_jax.objectives.base import Batch
from veegan_jax.train.compile import initial_state
from veegan_jax.train.step import batches_in_memory, batches_of_stream, fuse, gradients, make_init, make_step, turns

SGD = {"disc": optax.sgd(0.1), "gen": optax.sgd(0.1)}


def make(config, optimizers=None, **options):
    experiment = build(config)
    optimizers = optimizers or experiment.optimizers
    init = make_init(experiment.objective, optimizers, ema=config.ema_half_life > 0)
    state = jax.jit(init)(config.seed)
    options = {"batch_size": config.batch_size, "ema_half_life": config.ema_half_life, **options}
    step = make_step(experiment.objective, batches_in_memory(experiment.source.sample), optimizers, **options)
    return experiment, state, step, jnp.asarray(experiment.source.train)


def step_that_shows_its_batch(experiment):
    """A step whose scalars also hold the batch that it drew."""

    def losses(params, batch):
        own, metrics = experiment.objective.losses(params, batch)
        return own, {**metrics, "x": batch.x, "noise": batch.noise}

    objective = experiment.objective._replace(losses=losses)
    return jax.jit(
        make_step(objective, batches_in_memory(experiment.source.sample), SGD, batch_size=16, ema_half_life=64.0)
    )


def test_update_is_minus_learning_rate_times_gradient_of_the_drawn_batch():
    experiment, state, _, arrays = make(tiny(), SGD)
    after, seen = step_that_shows_its_batch(experiment)(state, arrays)
    chex.assert_shape(seen["x"], (16, 2))
    grads, _ = jax.jit(functools.partial(gradients, experiment.objective))(
        state.params, Batch(seen["x"], seen["noise"], state.step, state.opt_state)
    )
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, grads)
    chex.assert_trees_all_close(after.params, expected, rtol=1e-5, atol=1e-7)


def test_all_players_move_from_one_point():
    """In VEEGAN's Algorithm 1 no player sees the other's update of the same step."""
    together, state, step, arrays = make(tiny(), SGD)
    after, _ = jax.jit(step)(state, arrays)
    for player, nets in together.objective.players.items():
        frozen = {p: optax.sgd(0.1) if p == player else optax.set_to_zero() for p in SGD}
        _, alone_state, alone_step, _ = make(tiny(), frozen)
        alone, _ = jax.jit(alone_step)(alone_state, arrays)
        for net in nets:
            chex.assert_trees_all_equal(after.params[net], alone.params[net])


def test_draws_differ_between_steps_seeds_examples_and_purposes():
    experiment, first, _, arrays = make(tiny("veegan", data="grid"), SGD)
    second = make(tiny("veegan", data="grid", seed=1), SGD)[1]
    step = step_that_shows_its_batch(experiment)
    after, one = step(first, arrays)
    seen = [one, step(after, arrays)[1], step(second, arrays)[1]]
    rows = np.concatenate([np.asarray(scalars["noise"]["z"]) for scalars in seen])
    assert len(np.unique(rows, axis=0)) == len(rows) == 48
    for scalars in seen:
        assert not np.allclose(scalars["noise"]["z"], scalars["noise"]["xi"])


def test_scan_of_steps_is_the_steps():
    _, state, step, arrays = make(tiny())
    fused, scalars = jax.jit(fuse(step, 6))(state, arrays)
    once = jax.jit(fuse(step, 1))
    losses = []
    for _ in range(6):
        state, one = once(state, arrays)
        losses.append(one["loss/gen"])
    chex.assert_trees_all_equal(fused.params, state.params)
    chex.assert_trees_all_equal(fused.opt_state, state.opt_state)
    chex.assert_trees_all_equal(scalars["loss/gen"], jnp.concatenate(losses))
    assert int(fused.step) == 6


def test_one_step_stays_in_a_loop():
    """One step has the bits of longer calls only so: some processors round otherwise what is not in a loop."""
    _, state, step, arrays = make(tiny())
    loops = [jax.jit(fuse(step, n)).lower(state, arrays).compile().as_text().count(" while(") for n in (1, 2)]
    assert loops == [1, 1]


def test_ema_by_hand():
    config = tiny(ema_half_life=64.0, batch_size=16)
    _, state, step, arrays = make(config, SGD)
    decay = 0.5 ** (16 / 64)
    expected, step = state.params["gen"], jax.jit(step)
    for t in range(30):
        state, _ = step(state, arrays)
        d = min(decay, (1 + t) / (10 + t))
        expected = jax.tree.map(lambda old, new, d=d: d * old + (1 - d) * new, expected, state.params["gen"])
    assert set(state.ema) == {"gen", "rec"}
    chex.assert_trees_all_close(state.ema["gen"], expected, rtol=1e-4, atol=1e-6)


def test_no_ema():
    config = tiny(ema_half_life=0.0)
    _, state, step, arrays = make(config)
    assert jax.eval_shape(step, state, arrays)[0].ema == {} == state.ema


def test_bfloat16_trains_float32_parameters():
    _, state, step, arrays = make(tiny(dtype="bfloat16"))
    after, scalars = jax.jit(fuse(step, 3))(state, arrays)
    chex.assert_tree_all_finite((after.params, scalars))
    assert {leaf.dtype for leaf in jax.tree.leaves(after.params)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("packing", [2, 4])
def test_packing_trains(packing):
    _, state, step, arrays = make(tiny(packing=packing))
    after, scalars = jax.jit(fuse(step, 3))(state, arrays)
    chex.assert_tree_all_finite((after.params, scalars))
    assert after.params["disc"]["Dense_0"]["kernel"].shape == (packing * (2 + 3), 8)


def test_initial_states_of_replicas_are_those_of_their_seeds():
    many = initial_state(build(tiny(num_seeds=3, seed=5)))
    for replica, seed in enumerate((5, 6, 7)):
        one = initial_state(build(tiny(seed=seed)))
        chex.assert_trees_all_equal(
            jax.tree.map(lambda leaf, r=replica: leaf[r], many.params), jax.tree.map(lambda leaf: leaf[0], one.params)
        )


def test_turns():
    assert list(turns("simultaneous", 1, 1)) == [("disc", "gen")]
    assert list(turns("simultaneous", 3, 2)) == [("disc",), ("disc",), ("disc", "gen"), ("gen",)]
    assert list(turns("alternating", 2, 1)) == [("disc",), ("disc",), ("gen",)]


def test_alternating_generator_sees_the_updated_discriminator():
    _, state, step, arrays = make(tiny("gan"), SGD, turns=turns("alternating", 1, 1))
    disc_only, gen_only = (make(tiny("gan"), SGD, turns=[player])[2] for player in (("disc",), ("gen",)))
    after, scalars = jax.jit(step)(state, arrays)
    moved, _ = jax.jit(disc_only)(state, arrays)
    chex.assert_trees_all_close(after.params["disc"], moved.params["disc"], rtol=1e-6)
    chex.assert_trees_all_equal(moved.params["gen"], state.params["gen"])
    # The second turn has draws of its own, so that a first turn from the same point has other noise.
    again, _ = jax.jit(gen_only)(dataclasses.replace(moved, step=state.step), arrays)
    moves = [jax.tree.map(jnp.subtract, s.params["gen"], state.params["gen"]) for s in (after, again)]
    assert not np.allclose(moves[0]["Dense_0"]["kernel"], moves[1]["Dense_0"]["kernel"])
    assert set(scalars) == {"loss/disc", "loss/gen"}


def test_each_player_is_updated_as_often_as_the_turns_say():
    _, state, step, arrays = make(tiny(), turns=turns("simultaneous", 2, 3))
    after, _ = jax.jit(step)(state, arrays)
    assert int(after.opt_state["disc"][0].count) == 2
    assert int(after.opt_state["gen"][0].count) == 3
    assert int(after.step) == 1


def test_streamed_batches_are_those_of_their_steps():
    experiment, state, _, arrays = make(tiny("gan"), SGD)
    step = make_step(experiment.objective, batches_of_stream(lambda x: x.astype(jnp.float32)), SGD, batch_size=16)
    batches = jax.random.randint(jax.random.key(0), (3, 16, 2), 0, 9)
    state = dataclasses.replace(state, step=state.step + 7)
    fused, _ = jax.jit(fuse(step, 3))(state, (batches, jnp.int32(7)))
    for i in range(3):
        state, _ = jax.jit(step)(state, (batches[i : i + 1], jnp.int32(7 + i)))
    chex.assert_trees_all_close(fused.params, state.params, rtol=1e-6)
    swapped, _ = jax.jit(fuse(step, 3))(dataclasses.replace(state, step=state.step - 3), (batches[::-1], jnp.int32(7)))
    assert not np.allclose(swapped.params["gen"]["Dense_0"]["kernel"], fused.params["gen"]["Dense_0"]["kernel"])


@pytest.mark.parametrize(
    ("objective", "loss"),
    [("veegan", "relativistic"), ("gan", "hinge"), ("ali", "minimax"), ("aae", "kl"), slow("unrolled", "relativistic")],
)
def test_options_compose(objective, loss):
    """Packing, both penalties, lazy and with a schedule, spectral normalisation and several turns at once."""
    config = tiny(objective, packing=2, spectral_norm=True)
    config.penalty.update({"r1": 0.1, "r2": 0.1, "final": 0.5, "anneal_steps": 3, "every": 2})
    config[config.objective].adversarial_loss = loss
    _, state, step, arrays = make(config, turns=turns("alternating", 1, 2))
    after, scalars = jax.jit(fuse(step, 3))(state, arrays)
    chex.assert_tree_all_finite((after.params, scalars))
