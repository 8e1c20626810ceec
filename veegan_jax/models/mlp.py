"""Multilayer perceptrons for every net: the architecture of the paper's mixtures, and of 8×8 digits."""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from veegan_jax.models import network


class Mlp(nn.Module):
    """Flattens and concatenates its inputs, then hidden layers, then a linear layer of `out_shape`."""

    hidden: tuple[int, ...]
    out_shape: tuple[int, ...]
    activation: str
    init_scheme: str
    dtype: str
    bounded: bool = False

    @nn.compact
    def __call__(self, *inputs: jax.Array) -> jax.Array:
        """Maps inputs `[B, …]` to `[B, *out_shape]`."""
        h = jnp.concatenate([x.reshape(x.shape[0], -1).astype(self.dtype) for x in inputs], axis=-1)
        kernel_init = network.INITIALISERS[self.init_scheme]
        for width in self.hidden:
            h = nn.Dense(width, dtype=self.dtype, kernel_init=kernel_init)(h)
            h = network.ACTIVATIONS[self.activation](h)
        h = nn.Dense(math.prod(self.out_shape), dtype=self.dtype, kernel_init=kernel_init)(h)
        h = jnp.tanh(h) if self.bounded else h
        return h.reshape(h.shape[0], *self.out_shape)


def mlp(
    *,
    shape: tuple[int, ...],
    bounded: bool,
    dtype: str,
    gen_hidden: tuple[int, ...] = (128, 128),
    rec_hidden: tuple[int, ...] = (128, 128),
    disc_hidden: tuple[int, ...] = (128,),
    activation: Literal["relu", "leaky_relu", "tanh", "elu", "silu"] = "relu",
    init: Literal[
        "glorot_uniform", "glorot_normal", "he_normal", "lecun_normal", "orthogonal", "normal_0.02"
    ] = "glorot_uniform",
) -> network.Nets:
    """The three nets as MLPs; the defaults are those of the authors' 2-D notebook.

    Args:
        shape: of one data example.
        bounded: whether data lie in [−1, 1]; then the generator ends in a tanh.
        dtype: of the computation ('float32', 'bfloat16'); parameters stay float32.
        gen_hidden: widths of the generator's hidden layers (z, ε → x).
        rec_hidden: widths of the reconstructor's (x → its outputs).
        disc_hidden: widths of the discriminator's (its inputs, concatenated → logit).
        activation: after each hidden layer.
        init: of the kernels; biases start at 0.
    """

    def net(hidden: tuple[int, ...], out_shape: tuple[int, ...], bounded: bool = False) -> network.Network:
        return network.from_module(Mlp(tuple(hidden), out_shape, activation, init, dtype, bounded))

    return network.Nets(
        gen=net(gen_hidden, shape, bounded),
        rec=lambda outputs: net(rec_hidden, (outputs,)),
        disc=net(disc_hidden, ()),
    )
