"""The optimizer, of which each player has one."""

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
    """Adam (Kingma and Ba, ICLR 2015), with a schedule of its learning rate.

    Args:
        num_updates: The number of updates of this player in the whole run, at the end of which a schedule reaches 0.
        differentiable: Whether an update has a derivative where gradients have always been 0, as unrolling needs.
        learning_rate: The learning rate at the start of training.
        b1: The decay rate of the mean of the gradient; 0.5 is usual for GANs (DCGAN, Radford et al. 2016).
        b2: The decay rate of the mean of the squared gradient.
        eps: The number added to the root of the mean squared gradient, against division by 0.
        schedule: How the learning rate changes: not at all ('constant'), or down to 0 at the end of training along a
            line ('linear') or half a cosine ('cosine').

    Raises:
        ValueError: If a number is out of range.
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
