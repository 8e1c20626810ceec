"""IvOM, inference via optimisation (VEEGAN, section 4.2): how near a generator comes to an example, whatever its z."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

Generator = Callable[[jax.Array], jax.Array]

MEMORY = 10  # steps and changes of the gradient that stand for the Hessian
SEARCHED = 12  # step sizes that one line search may try
# What a step has to achieve: a decrease of the error, and of its slope (Nocedal and Wright 2006, section 3.1).
DECREASE, CURVATURE = 1e-4, 0.9


class Inversion(NamedTuple):
    """The best that was found for each example.

    Attributes:
        z: latents, float32 `[N, K]`.
        error: mean squared difference of G(z) from the example per coordinate, in units of the data, float32 `[N]`.
    """

    z: jax.Array
    error: jax.Array


class Point(NamedTuple):
    """Where each of P problems stands: latents and gradients `[P, K]`, errors `[P]`."""

    z: jax.Array
    error: jax.Array
    gradient: jax.Array


def invert(generate: Generator, x: jax.Array, z0: jax.Array, *, iterations: int = 100) -> Inversion:
    """Minimises ‖x − G(z)‖² over z by L-BFGS, from several starts each, and keeps the best.

    All problems, an example and a start each, advance together, so that the generator always works on one batch of
    them, each with a memory and step sizes of its own; an error never grows. (The line search of `optax.lbfgs` under
    `vmap` copies the generator's parameters for every problem.) It may be jitted.

    Args:
        generate: G, from latents `[B, K]` to `[B, …]`, each example by itself (batch normalisation frozen).
        x: the examples, float32 `[N, …]`.
        z0: the starts, float32 `[N, R, K]`.
        iterations: of L-BFGS.
    """
    num, restarts, latent_dim = z0.shape
    targets = jnp.repeat(x, restarts, axis=0)

    def evaluate(z: jax.Array) -> Point:
        def total(z: jax.Array) -> tuple[jax.Array, jax.Array]:
            errors = jnp.mean(jnp.square(generate(z) - targets).reshape(len(z), -1), axis=-1)
            return jnp.sum(errors), errors

        (_, errors), gradient = jax.value_and_grad(total, has_aux=True)(z)
        return Point(z, errors, gradient)

    found = _minimise(evaluate, z0.reshape(-1, latent_dim), iterations)
    z, error = found.z.reshape(z0.shape), found.error.reshape(num, restarts)
    best = jnp.argmin(error, axis=1)[:, None]
    return Inversion(
        jnp.take_along_axis(z, best[..., None], axis=1)[:, 0], jnp.take_along_axis(error, best, axis=1)[:, 0]
    )


def _minimise(evaluate: Callable[[jax.Array], Point], z: jax.Array, iterations: int) -> Point:
    lbfgs = optax.scale_by_lbfgs(MEMORY)

    def iterate(_: jax.Array, carry: Any) -> Any:
        at, state, active = carry
        direction, state = jax.vmap(lbfgs.update)(at.gradient, state, at.z)
        descends = jnp.sum(direction * at.gradient, axis=-1) > 0
        reached = _search(evaluate, at, -jnp.where(descends[:, None], direction, at.gradient), active)
        return reached, state, active & (reached.error < at.error)

    start = evaluate(z)
    carry = start, jax.vmap(lbfgs.init)(z), jnp.isfinite(start.error)
    return jax.lax.fori_loop(0, iterations, iterate, carry)[0]


def _search(evaluate: Callable[[jax.Array], Point], at: Point, direction: jax.Array, active: jax.Array) -> Point:
    """The best of the points tried along directions `[P, K]`, until a step meets both of Wolfe's conditions.

    Step sizes double until one is too long, and then halve the interval (Lewis and Overton 2013, section 4).
    """
    slope = jnp.sum(at.gradient * direction, axis=-1)

    def body(carry: Any) -> Any:
        tried, step, low, high, active, best = carry
        new = evaluate(at.z + step[:, None] * direction)
        long = ~(new.error <= at.error + DECREASE * step * slope)  # not a number is too long as well
        short = jnp.sum(new.gradient * direction, axis=-1) < CURVATURE * slope
        low, high = jnp.where(long, low, step), jnp.where(long, step, high)
        better = active & (new.error < best.error)
        best = jax.tree.map(lambda b, n: jnp.where(better.reshape(-1, *(1,) * (n.ndim - 1)), n, b), best, new)
        step = jnp.where(jnp.isinf(high), 2 * low, (low + high) / 2)
        return tried + 1, step, low, high, active & (long | short), best

    zero = jnp.zeros_like(at.error)
    carry = jnp.asarray(0), zero + 1, zero, zero + jnp.inf, active, at
    return jax.lax.while_loop(lambda carry: (carry[0] < SEARCHED) & jnp.any(carry[4]), body, carry)[-1]


def ivom_scores(train: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    """What a table shows of errors `[N]` of `ivom` on images in [−1, 1]: the means, per pixel of images in [0, 1]."""
    return {"ivom_train": float(np.mean(train)) / 4, "ivom_held_out": float(np.mean(held_out)) / 4}
