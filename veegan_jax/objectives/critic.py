"""The discriminator's side of every method: a loss family, gradient penalties, and a second critic of x alone."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from veegan_jax.losses.adversarial import FAMILIES
from veegan_jax.models.network import Network
from veegan_jax.objectives.base import Params
from veegan_jax.objectives.penalty import Penalty

Inputs = tuple[jax.Array, ...]
Shapes = tuple[tuple[int, ...], ...]


class CriticLosses(NamedTuple):
    """The losses of a family, float32 `[]`, summed over the critics; and the first critic's logits, float32 `[B]`.

    Attributes:
        disc: The discriminators' loss, gradient penalties included.
        gen: The loss of a generator; no gradient flows through the logits of real examples.
        swapped: The loss of a generator and an encoder who each want their own examples to pass for the other's.
        generated: The logits of the generated examples.
        real: The logits of the real examples.
    """

    disc: jax.Array
    gen: jax.Array
    swapped: jax.Array
    generated: jax.Array
    real: jax.Array


@dataclasses.dataclass(frozen=True)
class Critic:
    """The discriminator, and where `x_weight` is more than 0 a second one, which sees x alone.

    The player 'disc' trains both. Each minimises the family's loss and the penalties.

    Attributes:
        net: The network of either critic.
        shapes: The shapes of one example of each of the first critic's inputs, with that of x last.
        family: A key of `losses.adversarial.FAMILIES`.
        penalty: The penalty on the gradients of either critic.
        x_weight: The weight of the second critic in the generator's loss, where the first has 1.

    Raises:
        ValueError: If `x_weight` is negative.
    """

    net: Network
    shapes: Shapes
    family: str
    penalty: Penalty
    x_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.x_weight < 0:
            raise ValueError(f"x_critic is {self.x_weight}; it is a weight, so 0 or more")

    @property
    def inputs(self) -> dict[str, Shapes]:
        """The shapes of one example of each input of each critic, `{net: (shape, …)}`."""
        second = {"disc_x": self.shapes[-1:]} if self.x_weight else {}
        return {"disc": self.shapes, **second}

    @property
    def nets(self) -> dict[str, Network]:
        """The networks by name, `{net: Network}`."""
        return dict.fromkeys(self.inputs, self.net)

    def losses(self, params: Params, *, generated: Inputs, real: Inputs, step: jax.Array) -> CriticLosses:
        """Computes the losses of generated examples (class 1) and real ones (class 0), given as D's inputs `[B, …]`."""
        first = self._losses_of_one(params["disc"], generated, real, step)
        if not self.x_weight:
            return first
        second = self._losses_of_one(params["disc_x"], generated[-1:], real[-1:], step)
        return first._replace(
            disc=first.disc + second.disc,
            gen=first.gen + self.x_weight * second.gen,
            swapped=first.swapped + self.x_weight * second.swapped,
        )

    def _losses_of_one(self, params: Params, generated: Inputs, real: Inputs, step: jax.Array) -> CriticLosses:
        family, penalty = FAMILIES[self.family], self.penalty

        def logits_and_slopes(penalised: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
            logits_g, slope_g = _logits_and_slope(self.net, params, generated, needed=penalised and penalty.r2 > 0)
            logits_r, slope_r = _logits_and_slope(self.net, params, real, needed=penalised and penalty.r1 > 0)
            return logits_g, logits_r, penalty.r2 * slope_g + penalty.r1 * slope_r

        logits_g, logits_r, slopes = logits_and_slopes(penalty.every == 1)
        if penalty.every > 1:
            # The branch computes logits anew, so that a generator's turn, which needs no slopes, drops all of it.
            slopes = penalty.every * jax.lax.cond(
                step % penalty.every == 0, lambda: logits_and_slopes(True)[2], lambda: jnp.zeros(())
            )
        penalties = 0.5 * penalty.fraction(step) * slopes
        real_sg = jax.lax.stop_gradient(logits_r)
        return CriticLosses(
            disc=family.disc(logits_g, logits_r) + penalties,
            gen=family.gen(logits_g, real_sg),
            swapped=family.swapped(logits_g, logits_r),
            generated=logits_g,
            real=logits_r,
        )


def _logits_and_slope(net: Network, params: Params, inputs: Inputs, *, needed: bool) -> tuple[jax.Array, jax.Array]:
    """Computes D's logits `[B]` and the mean of ‖∇D‖² `[]` over examples, or 0 where that slope is not needed.

    The gradient is that with respect to all of D's inputs.
    """
    if not needed:
        return net.apply(params, *inputs), jnp.zeros(())

    def total(inputs: Inputs) -> tuple[jax.Array, jax.Array]:
        logits = net.apply(params, *inputs)
        return jnp.sum(logits), logits

    # An example's logit depends on its own inputs alone, so the gradient of the sum holds each example's gradient.
    gradients, logits = jax.grad(total, has_aux=True)(inputs)
    return logits, sum((jnp.sum(jnp.square(g)) for g in gradients), jnp.zeros(())) / logits.shape[0]
