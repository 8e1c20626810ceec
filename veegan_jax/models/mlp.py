"""Multilayer perceptrons (MLPs) for every net: the architecture for the paper's mixtures and for 8×8 digits."""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from veegan_jax.errors import UserError
from veegan_jax.models import network


class Mlp(nn.Module):
    """An MLP that flattens and concatenates its inputs. Its last layer is linear, or a tanh where `bounded`."""

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


class WithNoise(nn.Module):
    """A generator of vectors that adds its noise ε to what a net makes of z, each coordinate times a learned gain."""

    net: Mlp

    @nn.compact
    def __call__(self, z: jax.Array, eps: jax.Array) -> jax.Array:
        """Maps z `[B, K]` and ε `[B, E]` to `[B, D]`; ε goes to the last E of the D outputs."""
        x = self.net(z)
        if eps.shape[1] > x.shape[1]:
            raise UserError(
                f"config.noise_dim is {eps.shape[1]}; it must be at most {x.shape[1]}, the number of outputs to which "
                "config.mlp.additive_noise adds it"
            )
        gain = self.param("gain", nn.initializers.ones, eps.shape[1:])
        return x + jnp.pad(gain[None] * eps, ((0, 0), (x.shape[1] - eps.shape[1], 0)))


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
    additive_noise: bool = False,
) -> network.Nets:
    """The three nets as MLPs. The defaults are those of the authors' 2-D notebook.

    Args:
        shape: The shape of one example of the data.
        bounded: Whether data lie in [−1, 1]; the generator then ends in a tanh.
        dtype: What the nets compute in, 'float32' or 'bfloat16'; parameters are always float32.
        gen_hidden: The widths of the generator's hidden layers.
        rec_hidden: The widths of the reconstructor's hidden layers.
        disc_hidden: The widths of the discriminator's hidden layers.
        activation: The activation function after each hidden layer.
        init: The initialisation of the kernels; biases start at 0.
        additive_noise: Whether the generator's noise ε is added to its last outputs, each times a learned gain that
            starts at 1, instead of passing through the hidden layers; for data that are vectors without bounds. Of data
            that are whitened, the first outputs are the components of the largest variance: z alone makes them.

    Raises:
        ValueError: If an option does not fit the data.
    """
    if additive_noise and (bounded or len(shape) != 1):
        raise ValueError("additive_noise is True; it is for data that are vectors without bounds")

    def module(hidden: tuple[int, ...], out_shape: tuple[int, ...], bounded: bool = False) -> Mlp:
        return Mlp(tuple(hidden), out_shape, activation, init, dtype, bounded)

    gen = module(gen_hidden, shape, bounded)
    return network.Nets(
        gen=network.from_module(WithNoise(gen) if additive_noise else gen),
        rec=lambda outputs: network.from_module(module(rec_hidden, (outputs,))),
        disc=network.from_module(module(disc_hidden, ())),
    )
