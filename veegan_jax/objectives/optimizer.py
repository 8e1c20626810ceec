"""Optimizers, one per player."""

from typing import Literal

import optax


def adam(
    *,
    num_updates: int,
    differentiable: bool,
    learning_rate: float = 1e-3,
    b1: float = 0.5,
    b2: float = 0.999,
    eps: float = 1e-8,
    schedule: Literal["constant", "linear", "cosine"] = "constant",
) -> optax.GradientTransformation:
    """Adam (Kingma and Ba, 2015).

    Args:
        num_updates: of this player in the whole run, over which a schedule falls to 0.
        differentiable: whether an update has to have a derivative where gradients have been 0, as an unrolled one has.
        learning_rate: at the start.
        b1: decay of the gradient's mean; 0.5 is usual for GANs (DCGAN, Radford et al. 2016).
        b2: decay of its square's mean.
        eps: added to the root of the latter.
        schedule: 'constant', or 'linear' or 'cosine' down to 0.

    Raises:
        ValueError: if a number is out of range.
    """
    if learning_rate <= 0:
        raise ValueError(f"learning_rate is {learning_rate}; it must be more than 0")
    for name, decay in (("b1", b1), ("b2", b2)):
        if not 0 <= decay < 1:
            raise ValueError(f"{name} is {decay}; it must be at least 0 and below 1")
    schedules: dict[str, optax.ScalarOrSchedule] = {
        "constant": learning_rate,
        "linear": optax.linear_schedule(learning_rate, 0.0, num_updates),
        "cosine": optax.cosine_decay_schedule(learning_rate, num_updates),
    }
    return optax.adam(schedules[schedule], b1=b1, b2=b2, eps=eps, eps_root=1e-16 if differentiable else 0.0)
