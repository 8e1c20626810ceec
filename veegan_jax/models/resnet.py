"""A residual network without normalisation, in the manner of R3GAN's (Huang et al., NeurIPS 2024, section 3).

Blocks are 1×1, 3×3, 1×1 convolutions with biases and leaky ReLUs, the last of which starts at 0, so that a net starts
as its skip connections, and gradient penalties see no batch. It differs from R3GAN's in size (that has 20 million
parameters), in heads of MLPs, and in 3×3 convolutions that are not grouped: the gradients of grouped ones are
slow on a CPU.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from veegan_jax.models import network
from veegan_jax.models.convolution import Conv, pyramid
from veegan_jax.models.heads import Discriminator, Reconstructor
from veegan_jax.models.mlp import Mlp
from veegan_jax.ops.conv_cpu import Size

LEAKY_GAIN = 2 / (1 + 0.2**2)  # keeps the variance through a leaky ReLU of slope 0.2


class Block(nn.Module):
    """h + f(h), with f of three convolutions, scaled at the start as in Fixup (Zhang et al., ICLR 2019)."""

    depth: int  # blocks in the net
    dtype: str

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """Maps `[B, H, W, C]` to the same shape."""
        width, skip = h.shape[-1], h
        scaled = nn.initializers.variance_scaling(LEAKY_GAIN / self.depth**0.5, "fan_in", "normal")
        h = network.ACTIVATIONS["leaky_relu"](nn.Dense(width, dtype=self.dtype, kernel_init=scaled)(h))
        h = network.ACTIVATIONS["leaky_relu"](Conv(width, 3, dtype=self.dtype, kernel_init=scaled)(h))
        return skip + nn.Dense(width, dtype=self.dtype, use_bias=False, kernel_init=nn.initializers.zeros_init())(h)


class Stages(nn.Module):
    """Blocks at each size; between sizes, a 1×1 convolution to the next width and a linear interpolation."""

    sizes: tuple[Size, ...]
    widths: tuple[int, ...]
    blocks: int
    dtype: str

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """Maps `[B, *sizes[0], C]` to `[B, *sizes[-1], widths[-1]]`."""
        for size, width in zip(self.sizes, self.widths, strict=True):
            shrinks = size < h.shape[1:3]
            h = _resized(h, size) if shrinks else h
            h = nn.Dense(width, dtype=self.dtype)(h)
            h = h if shrinks else _resized(h, size)
            for _ in range(self.blocks):
                h = Block(self.blocks * len(self.sizes), self.dtype)(h)
        return h


class Generator(nn.Module):
    """Linear to the smallest grid, stages up to the image, and a 1×1 convolution to its channels."""

    stages: Stages
    channels: int
    bounded: bool
    dtype: str

    @nn.compact
    def __call__(self, *noise: jax.Array) -> jax.Array:
        """Maps noises `[B, …]` to images `[B, H, W, C]`."""
        grid = (*self.stages.sizes[0], self.stages.widths[0])
        h = self.stages(Mlp((), grid, "leaky_relu", "lecun_normal", self.dtype)(*noise))
        h = nn.Dense(self.channels, dtype=self.dtype)(h)
        return jnp.tanh(h) if self.bounded else h


def _resized(h: jax.Array, size: Size) -> jax.Array:
    """Interpolates `[B, H, W, C]` to a size, a triangle filter against aliases where it shrinks."""
    return jax.image.resize(h, (h.shape[0], *size, h.shape[-1]), "linear")


def resnet(
    *,
    shape: tuple[int, ...],
    bounded: bool,
    dtype: str,
    base_width: int = 32,
    blocks: int = 1,
    smallest: int = 4,
    rec_hidden: tuple[int, ...] = (500,),
    disc_hidden: tuple[int, ...] = (200,),
) -> network.Nets:
    """Residual nets without normalisation, for losses with gradient penalties ('relativistic' with R1 and R2).

    The widths double with each halving: 28×28 is 28×28×32, 14×14×64, 7×7×128 and 4×4×256.

    Args:
        shape: of one data example, `[H, W, C]`.
        bounded: whether data lie in [−1, 1]; then the generator ends in a tanh.
        dtype: of the computation ('float32', 'bfloat16'); parameters stay float32.
        base_width: channels at the size of the images.
        blocks: at each size.
        smallest: images are halved until a side is this or less.
        rec_hidden: widths of F's hidden layers after the convolutions.
        disc_hidden: widths of D's hidden layers where z is among its inputs; with x alone D ends in a linear layer.

    Raises:
        ValueError: where `shape` is not that of an image, or an option is out of its range.
    """
    for name, value in (("base_width", base_width), ("blocks", blocks)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more")
    sizes = tuple(pyramid(shape, smallest))
    widths = tuple(base_width * 2**i for i in range(len(sizes)))
    down, up = (Stages(sizes[::way], widths[::way], blocks, dtype) for way in (1, -1))
    head = {"init_scheme": "he_normal", "dtype": dtype}
    return network.Nets(
        gen=network.from_module(Generator(up, shape[-1], bounded, dtype)),
        rec=lambda outputs: network.from_module(Reconstructor(down, tuple(rec_hidden), outputs, **head)),
        disc=network.from_module(Discriminator(down, tuple(disc_hidden), **head)),
    )
