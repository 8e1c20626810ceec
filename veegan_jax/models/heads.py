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
    """A trunk for images, and an MLP on its features and the latents; with images alone a linear layer, as in DCGAN."""

    trunk: nn.Module
    hidden: tuple[int, ...]
    init_scheme: str
    dtype: str

    @nn.compact
    def __call__(self, *inputs: jax.Array) -> jax.Array:
        """Maps latents `[B, K]`, images `[B, H, W, C]`, or both, to `[B]`."""
        hidden = () if all(x.ndim == 4 for x in inputs) else self.hidden
        head = Mlp(hidden, (), "leaky_relu", self.init_scheme, self.dtype)
        return head(*(self.trunk(x) if x.ndim == 4 else x for x in inputs))
