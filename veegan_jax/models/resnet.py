"""A residual network without normalisation, in the manner of R3GAN (Huang et al., NeurIPS 2024, section 3).

A block has 1×1, 3×3 and 1×1 convolutions with leaky ReLUs between. The kernel of the last one starts at 0, so that a
net starts as its skip connections. Without batch normalisation an example's gradient, which a penalty is on, does not
depend on its batch. Differences from R3GAN: it has 20 million parameters, these nets have fewer; F and D end in MLPs;
and the 3×3 convolutions are not grouped, because the gradients of grouped ones are slow on a CPU.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from veegan_jax.models import network
from veegan_jax.models.convolution import Conv, pyramid
from veegan_jax.models.heads import Discriminator, Reconstructor
from veegan_jax.models.mlp import Mlp
from veegan_jax.ops.conv_cpu import Size

# The gain with which the variance stays the same through a leaky ReLU of slope 0.2.
LEAKY_GAIN = 2 / (1 + 0.2**2)


class Block(nn.Module):
    """h + f(h), where f is three convolutions whose initial scale is that of Fixup (Zhang et al., ICLR 2019).

    Attributes:
        depth: The number of blocks in the net, on which that scale depends.
        dtype: What the block computes in.
    """

    depth: int
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
    """Blocks at each size; between sizes, a linear interpolation and a 1×1 convolution to the next width."""

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
    """A linear layer to the smallest grid, stages up to the image's size, and a 1×1 convolution to its channels."""

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
    """Interpolates `[B, H, W, C]` to a size, with a triangle filter against aliasing where it shrinks."""
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

    The number of channels doubles with each halving: 28×28 pixels go through 28×28×32, 14×14×64, 7×7×128 and 4×4×256.

    Args:
        shape: The shape of one example of the data, `[H, W, C]`.
        bounded: Whether data lie in [−1, 1]; the generator then ends in a tanh.
        dtype: What the nets compute in, 'float32' or 'bfloat16'; parameters are always float32.
        base_width: The number of channels at the size of the images.
        blocks: The number of residual blocks at each size.
        smallest: The size in pixels at which halving stops: images are halved until a side is this or less.
        rec_hidden: The widths of the reconstructor's hidden layers after the convolutions.
        disc_hidden: The widths of the discriminator's hidden layers after the convolutions where it sees z; where it
            sees x alone, it ends in a linear layer.

    Raises:
        ValueError: If `shape` is not that of an image, or an option is out of range.
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
        disc=network.from_module(Discriminator(down, tuple(disc_hidden), (), **head)),
    )
