"""GAN inversion: the latent whose image under the generator is nearest to an example.

The error that is left is the score IvOM, inference via optimisation (VEEGAN, section 4.2).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Generator = Callable[[jax.Array], jax.Array]

MEMORY = 10  # steps, with their changes of the gradient, that stand for the Hessian
SEARCHED = 12  # step sizes that one line search may try
# A step has to decrease the error, and its slope, by these shares (Wolfe's conditions; Nocedal and Wright 2006, section
# 3.1).
DECREASE, CURVATURE = 1e-4, 0.9


class Inversion(NamedTuple):
    """The best latent that was found for each example.

    Attributes:
        z: latents, float32 `[N, K]`.
        error: the mean squared difference of G(z) from the example, per coordinate, float32 `[N]`.
    """

    z: jax.Array
    error: jax.Array


class Point(NamedTuple):
    """The current state of P problems: latents and gradients `[P, K]`, errors `[P]`."""

    z: jax.Array
    error: jax.Array
    gradient: jax.Array


def invert(generate: Generator, x: jax.Array, z0: jax.Array, *, iterations: int = 100) -> Inversion:
    """Minimises ‖x − G(z)‖² over z by L-BFGS, from several starts for each example, and keeps the best.

    A problem is an example with a start. All problems advance together, so that the generator always works on one batch
    of them; each has a memory and step sizes of its own, and its error never grows. (The line search of `optax.lbfgs`
    under `vmap` would copy the generator's parameters for every problem.) The function may be jitted.

    Args:
        generate: G, from latents `[B, K]` to `[B, …]`, each example by itself (with batch normalisation frozen).
        x: the examples, float32 `[N, …]`.
        z0: R starts for each example, float32 `[N, R, K]`.
        iterations: the number of iterations of L-BFGS.
    """
    num, restarts, latent_dim = z0.shape
    targets = jnp.repeat(x, restarts, axis=0)

    def evaluate(z: jax.Array) -> Point:
        def total(z: jax.Array) -> tuple[jax.Array, jax.Array]:
            errors = jnp.mean(jnp.square(generate(z) - targets).reshape(len(z), -1), axis=-1)
            return jnp.sum(errors), errors

        (_, errors), gradient = jax.value_and_grad(total, has_aux=True)(z)
        return Point(z, errors, gradient)

    minimum = _minimise(evaluate, z0.reshape(-1, latent_dim), iterations)
    z, error = minimum.z.reshape(z0.shape), minimum.error.reshape(num, restarts)
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
    """Tries points along directions `[P, K]` until a step meets both of Wolfe's conditions, and returns the best.

    Step sizes double until one is too long, and then halve the interval (Lewis and Overton 2013, section 4).
    """
    slope = jnp.sum(at.gradient * direction, axis=-1)

    def body(carry: Any) -> Any:
        tried, step, low, high, active, best = carry
        new = evaluate(at.z + step[:, None] * direction)
        long = ~(new.error <= at.error + DECREASE * step * slope)  # an error that is not a number counts as too long
        short = jnp.sum(new.gradient * direction, axis=-1) < CURVATURE * slope
        low, high = jnp.where(long, low, step), jnp.where(long, step, high)
        better = active & (new.error < best.error)
        best = jax.tree.map(lambda b, n: jnp.where(better.reshape(-1, *(1,) * (n.ndim - 1)), n, b), best, new)
        step = jnp.where(jnp.isinf(high), 2 * low, (low + high) / 2)
        return tried + 1, step, low, high, active & (long | short), best

    zero = jnp.zeros_like(at.error)
    carry = jnp.asarray(0), zero + 1, zero, zero + jnp.inf, active, at
    return jax.lax.while_loop(lambda carry: (carry[0] < SEARCHED) & jnp.any(carry[4]), body, carry)[-1]
