"""The unrolled GAN (Metz, Poole, Pfau, Sohl-Dickstein, ICLR 2017), as a wrapper of any method."""

from typing import Any

import jax
import optax

from veegan_jax.objectives.base import Batch, Objective, Params, Scalars
from veegan_jax.ops.axis import bound_axis


def unrolled(objective: Objective, optimizer: optax.GradientTransformation, steps: int) -> Objective:
    """Returns the method with a generator that minimises its loss against the discriminator of `steps` updates later.

    The updates are those of the discriminator's optimizer with its present moments, all on the present batch. The
    generator's gradient flows through them (equation 12). The discriminator itself then takes one ordinary update
    (equation 10).

    Args:
        objective: Any method.
        optimizer: The discriminator's optimizer. It must be differentiable where gradients are 0, as Adam is with
            `eps_root` > 0.
        steps: The number k of updates, 1 or more; the paper's mixtures have 5.
    """
    owned = objective.players["disc"]

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        present, metrics = objective.losses(params, batch)

        def disc_loss(disc: Params) -> jax.Array:
            return objective.losses({**params, **disc}, batch)[0]["disc"]

        def update(carry: Any, _: None) -> tuple[Any, None]:
            disc, opt_state = carry
            grads = jax.grad(disc_loss)(disc)
            # As in the step, the gradient is that of the batch over all devices, so that all look ahead to the same D.
            if axis := bound_axis():
                grads = jax.lax.pmean(grads, axis)
            updates, opt_state = optimizer.update(grads, opt_state, disc)
            return (optax.apply_updates(disc, updates), opt_state), None

        disc = {net: params[net] for net in owned}
        (unrolled_disc, _), _ = jax.lax.scan(update, (disc, batch.opt_state["disc"]), length=steps)
        ahead, _ = objective.losses({**params, **unrolled_disc}, batch)
        return {**present, "gen": ahead["gen"]}, metrics

    return objective._replace(losses=losses)
