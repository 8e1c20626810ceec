"""The unrolled GAN (Metz, Poole, Pfau, Sohl-Dickstein, ICLR 2017), around any objective."""

from typing import Any

import jax
import optax

from veegan_jax.objectives.base import Batch, Objective, Params, Scalars
from veegan_jax.ops.axis import bound_axis


def unrolled(objective: Objective, optimizer: optax.GradientTransformation, steps: int) -> Objective:
    """The same objective, whose generator minimises its loss against the discriminator of `steps` updates later.

    The generator's gradient goes through those updates (equation 12), which are the optimizer's own, moments and all,
    on the same batch, all devices' of it; the discriminator itself is then moved by one ordinary update (equation 10).

    Args:
        objective: any.
        optimizer: the discriminator's; it must have derivatives where gradients are 0 (Adam's `eps_root` > 0).
        steps: k, more than 0; 5 in the paper's mixtures.
    """
    owned = objective.players["disc"]

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        now, metrics = objective.losses(params, batch)

        def update(carry: Any, _: None) -> tuple[Any, None]:
            disc, state = carry
            grads = jax.grad(lambda disc: objective.losses({**params, **disc}, batch)[0]["disc"])(disc)
            if axis := bound_axis():
                grads = jax.lax.pmean(grads, axis)  # as in the step, or each device looks ahead on its own
            updates, state = optimizer.update(grads, state, disc)
            return (optax.apply_updates(disc, updates), state), None

        disc = {n: params[n] for n in owned}
        (later, _), _ = jax.lax.scan(update, (disc, batch.opt_state["disc"]), length=steps)
        ahead, _ = objective.losses({**params, **later}, batch)
        return {**now, "gen": ahead["gen"]}, metrics

    return objective._replace(losses=losses)
