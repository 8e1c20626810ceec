"""The reconstructor and the discriminator of convolutional architectures: MLPs on top of a trunk of convolutions."""

import flax.linen as nn
import jax

from veegan_jax.models.mlp import Mlp


class Reconstructor(nn.Module):
    """A trunk, and an MLP on its features."""

    trunk: nn.Module
    hidden: tuple[int, ...]
    outputs: int
    init_scheme: str
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images `[B, H, W, C]` to `[B, outputs]`."""
        return Mlp(self.hidden, (self.outputs,), "leaky_relu", self.init_scheme, self.dtype)(self.trunk(x))


class Discriminator(nn.Module):
    """A trunk for images, and an MLP on its features and the latents.

    Attributes:
        trunk: The module of images.
        hidden: The widths of the hidden layers where latents are among the inputs.
        hidden_of_x: The widths of the hidden layers where images are the only input.
        init_scheme: A key of `network.INITIALISERS`.
        dtype: What the net computes in.
    """

    trunk: nn.Module
    hidden: tuple[int, ...]
    hidden_of_x: tuple[int, ...]
    init_scheme: str
    dtype: str

    @nn.compact
    def __call__(self, *inputs: jax.Array) -> jax.Array:
        """Maps latents `[B, K]`, images `[B, H, W, C]`, or both, to `[B]`."""
        hidden = self.hidden_of_x if all(x.ndim == 4 for x in inputs) else self.hidden
        head = Mlp(hidden, (), "leaky_relu", self.init_scheme, self.dtype)
        return head(*(self.trunk(x) if x.ndim == 4 else x for x in inputs))
