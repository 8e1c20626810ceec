"""Whitening: a wrapper of any method, whose networks then see the principal components of vectors at unit scale."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.models.network import Network
from veegan_jax.objectives.base import Batch, Objective, Params, Scalars

# The net whose parameters are the statistics of the data. No player owns it, so that it stays as it is measured.
NET = "whitening"


class Whiten(NamedTuple):
    """How the principal components of the data are scaled. `whiten` makes it, checked."""

    floor: float
    power: float


def whiten(*, floor: float = 0.0, power: float = 1.0) -> Whiten:
    """Principal components of the data in place of the data, each divided by (λ + `floor`)^(½ `power`).

    λ is the variance of the component. Networks, penalties and errors of reconstructed data then see these components;
    samples, scores and what is encoded stay in the units of the data. It is for data that are vectors.

    Args:
        floor: The variance that is added to each λ, in squared units of the data, so that directions in which the data
            do not vary are not blown up; 0 to leave the data as they are.
        power: The share of the spread that is divided away: 1 gives all components unit scale, and less leaves those
            of a larger variance wider, where data have structure that is finer than their spread.

    Raises:
        ValueError: If a number is out of range.
    """
    if floor < 0:
        raise ValueError(f"floor is {floor}; it must be 0 or more")
    if not 0 <= power <= 1:
        raise ValueError(f"power is {power}; it must be 0 to 1")
    return Whiten(floor, power)


def whitened(objective: Objective, dim: int) -> Objective:
    """Returns the method on w = diag(scale)⁻¹ Vᵀ (x − mean) in place of x `[B, D]`, for networks and penalties alike.

    Samples and what is encoded stay in the data's own units: G's w is mapped back to x, and F sees w of x. Statistics
    are parameters of the net `whitening`, so that a state and a checkpoint hold them: `measure` makes them, and before
    that they change nothing.

    Args:
        objective: Any method, built for vectors of D numbers.
        dim: D.
    """

    def init(key: jax.Array, *shapes: tuple[int, ...]) -> Params:
        return {"mean": jnp.zeros(dim), "basis": jnp.eye(dim), "scale": jnp.ones(dim)}

    def forward(params: Params, x: jax.Array) -> jax.Array:
        return (x - params["mean"][None]) @ params["basis"] / params["scale"][None]

    def back(params: Params, w: jax.Array) -> jax.Array:
        return (w * params[NET]["scale"][None]) @ params[NET]["basis"].T + params[NET]["mean"][None]

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        return objective.losses(params, batch._replace(x=forward(params[NET], batch.x)))

    encode = objective.encode
    return objective._replace(
        nets={**objective.nets, NET: Network(init, forward, lambda params, x: params)},
        inputs={**objective.inputs, NET: ((dim,),)},
        losses=losses,
        encode=(lambda params, x: encode(params, forward(params[NET], x))) if encode else None,
        to_data=back,
    )


def measure(x: np.ndarray, floor: float, power: float) -> dict[str, Any]:
    """Computes the statistics by which examples are whitened, by principal components in float64.

    Args:
        x: Training examples, float32 `[N, D]`.
        floor: See `whiten`.
        power: See `whiten`.

    Returns:
        `mean` `[D]`; `basis` V `[D, D]`, whose columns are the components, that of the largest variance first; and
        `scale` (λ + floor)^(½ power) `[D]`, all float32.
    """
    mean = np.mean(x, axis=0, dtype=np.float64)
    centred = x - mean
    variances, basis = np.linalg.eigh(centred.T @ centred / len(x))
    scale = (np.maximum(variances, 0) + floor) ** (power / 2)
    statistics = {"mean": mean, "basis": basis[:, ::-1], "scale": scale[::-1]}
    return {name: np.ascontiguousarray(value, np.float32) for name, value in statistics.items()}
