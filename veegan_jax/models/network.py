"""What a network is to the rest of the code: two pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

Params = Any
Shape = tuple[int, ...]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "leaky_relu": lambda h: jax.nn.leaky_relu(h, 0.2),
    "tanh": jnp.tanh,
    "elu": jax.nn.elu,
    "silu": jax.nn.silu,
}
INITIALISERS: dict[str, nn.initializers.Initializer] = {
    "glorot_uniform": nn.initializers.glorot_uniform(),
    "glorot_normal": nn.initializers.glorot_normal(),
    "he_normal": nn.initializers.he_normal(),
    "lecun_normal": nn.initializers.lecun_normal(),
    "orthogonal": nn.initializers.orthogonal(),
    "normal_0.02": nn.initializers.normal(0.02),
}


class Network(NamedTuple):
    """A network as pure functions. Parameters are float32; outputs are float32, whatever it computes in.

    Attributes:
        init: `init(key, *shapes) -> params`, the shapes being those of one example of each input.
        apply: `apply(params, *inputs) -> output`, inputs and output with a leading batch axis `[B, …]`.
    """

    init: Callable[..., Params]
    apply: Callable[..., jax.Array]


def from_module(module: nn.Module) -> Network:
    """Wraps a linen module whose only variables are parameters."""

    def init(key: jax.Array, *shapes: Shape) -> Params:
        return module.init(key, *(jnp.zeros((1, *shape)) for shape in shapes))["params"]

    def apply(params: Params, *inputs: jax.Array) -> jax.Array:
        return jnp.asarray(module.apply({"params": params}, *inputs), jnp.float32)

    return Network(init, apply)


def packed(network: Network, m: int) -> Network:
    """The same network judging `m` examples at once (PacGAN, Lin et al. 2018, section 3).

    Inputs `[B, …, C]` become `[B/m, …, m·C]`: neighbours in the batch are concatenated along features or channels.
    """
    if m == 1:
        return network

    def pack(x: jax.Array) -> jax.Array:
        groups = jnp.moveaxis(x.reshape(x.shape[0] // m, m, *x.shape[1:]), 1, -2)
        return groups.reshape(*groups.shape[:-2], m * x.shape[-1])

    def init(key: jax.Array, *shapes: Shape) -> Params:
        return network.init(key, *((*shape[:-1], m * shape[-1]) for shape in shapes))

    return Network(init, lambda params, *inputs: network.apply(params, *map(pack, inputs)))
