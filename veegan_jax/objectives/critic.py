"""The discriminator's part of every objective: a loss family, gradient penalties, and a second critic of x alone."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from veegan_jax.losses.adversarial import FAMILIES
from veegan_jax.models.network import Network
from veegan_jax.objectives.base import Params
from veegan_jax.objectives.penalty import Penalty

Shapes = tuple[tuple[int, ...], ...]


class Verdict(NamedTuple):
    """Losses, float32 `[]`, and the first critic's logits, float32 `[B]`.

    Attributes:
        disc: of the discriminators, penalties included.
        gen: of a generator that sees the logits of what it generated; no gradient flows through real ones.
        both: of a generator and an encoder who each try to pass for the other.
        generated: logits of generated examples.
        real: logits of real ones.
    """

    disc: jax.Array
    gen: jax.Array
    both: jax.Array
    generated: jax.Array
    real: jax.Array


class Critic(NamedTuple):
    """The discriminator, or two, and how to judge by them.

    Attributes:
        nets: `{net: Network}`, all of them the 'disc' player's.
        inputs: the shapes of one example of each net's inputs.
        judge: `judge(params, generated, real, step) -> Verdict`; generated and real are tuples of inputs `[B, …]`.
    """

    nets: Mapping[str, Network]
    inputs: Mapping[str, Shapes]
    judge: Callable[[Params, tuple[jax.Array, ...], tuple[jax.Array, ...], jax.Array], Verdict]


def make_critic(disc: Network, shapes: Shapes, family: str, penalty: Penalty, x_weight: float = 0.0) -> Critic:
    """A critic of inputs of `shapes`, and if `x_weight` is more than 0 a second one, of the last of them alone.

    Args:
        disc: the network of either.
        shapes: of one example of each input.
        family: a key of `losses.adversarial.FAMILIES`.
        penalty: on the gradients of both.
        x_weight: how much the second counts, beside 1 for the first, in what the generator minimises.

    Raises:
        ValueError: if `x_weight` is negative.
    """
    if x_weight < 0:
        raise ValueError(f"x_critic is {x_weight}; it is a weight, so 0 or more")
    loss = FAMILIES[family]
    # Each critic: how much it counts, and which of the inputs it sees.
    seen = {"disc": (1.0, slice(None)), **({"disc_x": (x_weight, slice(-1, None))} if x_weight else {})}

    def judge(
        params: Params, generated: tuple[jax.Array, ...], real: tuple[jax.Array, ...], step: jax.Array
    ) -> Verdict:
        fraction = penalty.fraction(step)
        verdicts = []
        for name, (weight, part) in seen.items():
            g, g_slope = _logits(disc, params[name], generated[part], penalty.r2)
            r, r_slope = _logits(disc, params[name], real[part], penalty.r1)
            own = loss.disc(g, r) + 0.5 * fraction * (penalty.r2 * g_slope + penalty.r1 * r_slope)
            still = jax.lax.stop_gradient(r)
            verdicts.append(Verdict(own, weight * loss.gen(g, still), weight * loss.both(g, r), g, r))
        first = verdicts[0]
        summed = {
            name: sum(getattr(v, name) for v in verdicts[1:]) + getattr(first, name) for name in first._fields[:3]
        }
        return first._replace(**summed)

    return Critic(dict.fromkeys(seen, disc), {name: shapes[part] for name, (_, part) in seen.items()}, judge)


def _logits(disc: Network, params: Params, inputs: tuple[jax.Array, ...], weight: float) -> tuple[jax.Array, jax.Array]:
    """D's logits `[B]`, and the mean of ‖∇D‖² `[]` by its inputs, which is 0 if nobody asks for it."""
    if not weight:
        return disc.apply(params, *inputs), jnp.zeros(())

    def total(inputs: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        logits = disc.apply(params, *inputs)
        return jnp.sum(logits), logits

    slopes, logits = jax.grad(total, has_aux=True)(inputs)
    return logits, sum((jnp.sum(jnp.square(s)) for s in slopes), jnp.zeros(())) / logits.shape[0]
