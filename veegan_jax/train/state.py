"""The state that training carries from step to step."""

import dataclasses
from typing import Any

import jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a step reads and writes. With S replicas every leaf has a leading axis `[S]`.

    Attributes:
        step: int32 `[]`, the number of steps that have been taken.
        key: typed PRNG key `[]` of the replica's seed; it never changes, each step's draws are folded from it.
        params: `{net: parameters}`.
        opt_state: `{player: optax state}`.
        ema: `{net: exponential moving average of the net's parameters}` for the generator's player; empty if switched
            off.
    """

    step: jax.Array
    key: jax.Array
    params: dict[str, Any]
    opt_state: dict[str, Any]
    ema: dict[str, Any]
