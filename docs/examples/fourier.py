"""An architecture: MLPs on Fourier features. Its place would be veegan_jax/models/fourier.py."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from veegan_jax.models import network


class Fourier(nn.Module):
    """Random Fourier features of the inputs (Tancik et al., NeurIPS 2020), a hidden layer, and a linear layer."""

    out_shape: tuple[int, ...]
    width: int
    frequency: float
    dtype: str

    @nn.compact
    def __call__(self, *inputs: jax.Array) -> jax.Array:
        """Maps inputs `[B, …]` to `[B, *out_shape]`."""
        x = jnp.concatenate([x.reshape(x.shape[0], -1) for x in inputs], axis=-1)
        waves = self.param("waves", nn.initializers.normal(self.frequency), (x.shape[-1], self.width))
        h = jnp.concatenate([x, jnp.sin(x @ waves), jnp.cos(x @ waves)], axis=-1)
        h = nn.silu(nn.Dense(self.width, dtype=self.dtype)(h))
        h = nn.Dense(math.prod(self.out_shape), dtype=self.dtype)(h)
        return h.reshape(h.shape[0], *self.out_shape)


def fourier(
    *, shape: tuple[int, ...], bounded: bool, dtype: str, width: int = 128, frequency: float = 1.0
) -> network.Nets:
    """The three nets on Fourier features of their inputs.

    Args:
        shape: The shape of one example of the data.
        bounded: Whether data lie in [−1, 1]. This generator ignores it, and ends in a linear layer.
        dtype: What the hidden and the last layer compute in.
        width: The number of frequencies, and the width of the hidden layer: `config.fourier.width`.
        frequency: The standard deviation of the initial frequencies, in radians per unit of the inputs.

    Raises:
        ValueError: If the width is not positive.
    """
    if width < 1:
        raise ValueError(f"width is {width}; it must be 1 or more")

    def net(*out_shape: int) -> network.Network:
        return network.from_module(Fourier(out_shape, width, frequency, dtype))

    return network.Nets(gen=net(*shape), rec=lambda outputs: net(outputs), disc=net())
