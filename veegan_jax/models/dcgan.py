"""DCGAN (Radford et al., ICLR 2016), with a reconstructor and a discriminator of pairs (z, x) as VEEGAN needs them."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from veegan_jax.models import network
from veegan_jax.models.convolution import Conv, ConvTranspose, pyramid
from veegan_jax.models.heads import Discriminator, Reconstructor
from veegan_jax.models.mlp import Mlp
from veegan_jax.ops.conv_cpu import Size

Norm = Literal["batch", "none"]


class Generator(nn.Module):
    """A linear layer to the smallest grid, then a transposed convolution to each larger size, with ReLUs between.

    Attributes:
        sizes: The sizes from the smallest grid to the image.
        widths: The number of channels at each size; the last is that of the image.
        norm: 'batch' to normalise after every layer but the last.
        bounded: Whether the images lie in [−1, 1], so that a tanh comes last.
        kernel_size: The side of every kernel.
        init_scheme: A key of `network.INITIALISERS`.
        dtype: What the net computes in.
    """

    sizes: tuple[Size, ...]
    widths: tuple[int, ...]
    norm: Norm
    bounded: bool
    kernel_size: int
    init_scheme: str
    dtype: str

    @nn.compact
    def __call__(self, *noise: jax.Array) -> jax.Array:
        """Maps noises `[B, …]` to images `[B, H, W, C]`."""
        h = Mlp((), (*self.sizes[0], self.widths[0]), "relu", self.init_scheme, self.dtype)(*noise)
        for size, width in zip(self.sizes[1:], self.widths[1:], strict=True):
            h = _normalise(h, self.norm, self.dtype)
            h = nn.relu(h)
            bias = self.norm == "none" or size == self.sizes[-1]
            init = network.INITIALISERS[self.init_scheme]
            h = ConvTranspose(width, self.kernel_size, size, 2, use_bias=bias, dtype=self.dtype, kernel_init=init)(h)
        return jnp.tanh(h) if self.bounded else h


class Trunk(nn.Module):
    """Convolutions of stride 2 with leaky ReLUs. With `norm` 'batch' all but the first are normalised."""

    widths: tuple[int, ...]
    norm: Norm
    kernel_size: int
    init_scheme: str
    dtype: str

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """Maps images `[B, H, W, C]` to features `[B, h, w, c]`."""
        for i, width in enumerate(self.widths):
            norm = self.norm if i > 0 else "none"
            init = network.INITIALISERS[self.init_scheme]
            h = Conv(width, self.kernel_size, 2, use_bias=norm == "none", dtype=self.dtype, kernel_init=init)(h)
            h = network.ACTIVATIONS["leaky_relu"](_normalise(h, norm, self.dtype))
        return h


def _normalise(h: jax.Array, norm: Norm, dtype: str) -> jax.Array:
    return network.BatchNorm(dtype)(h) if norm == "batch" else h


def dcgan(
    *,
    shape: tuple[int, ...],
    bounded: bool,
    dtype: str,
    base_width: int = 64,
    disc_ratio: float = 1.0,
    kernel_size: int = 5,
    smallest: int = 4,
    gen_norm: Norm = "batch",
    rec_norm: Norm = "batch",
    disc_norm: Norm = "batch",
    rec_hidden: tuple[int, ...] = (500, 500),
    disc_hidden: tuple[int, ...] = (200,),
    disc_x_hidden: tuple[int, ...] = (),
    init: Literal["normal_0.02", "glorot_uniform", "glorot_normal", "he_normal", "lecun_normal", "orthogonal"] = (
        "normal_0.02"
    ),
) -> network.Nets:
    """Convolutional nets for images, without pooling: strides alone change the size.

    G is a linear layer to `smallest` pixels a side, then transposed convolutions with ReLUs. F and D are convolutions
    with leaky ReLUs (slope 0.2), then MLPs. The number of channels doubles with each halving: 28×28 pixels go through
    14×14×64, 7×7×128 and 4×4×256. The MLPs of F and D are those in the repository of the paper's second author.

    Args:
        shape: The shape of one example of the data, `[H, W, C]`.
        bounded: Whether data lie in [−1, 1]; the generator then ends in a tanh.
        dtype: What the nets compute in, 'float32' or 'bfloat16'; parameters are always float32.
        base_width: The number of channels at half the size of the images.
        disc_ratio: The factor on the discriminator's numbers of channels (0.25 and 0.5 in the experiments of Metz et
            al. 2017 on unrolling).
        kernel_size: The side of every kernel; every convolution has stride 2.
        smallest: The size in pixels at which halving stops: images are halved until a side is this or less. 2 gives
            PacGAN's four layers on 28×28.
        gen_norm: Whether the generator has batch normalisation after every layer but the last ('batch' or 'none').
        rec_norm: Whether the reconstructor has batch normalisation after every convolution but the first ('batch' or
            'none').
        disc_norm: Whether the discriminator has batch normalisation after every convolution but the first ('batch' or
            'none'). Gradient penalties need 'none', and the relativistic loss should have it, since with 'batch' an
            example's gradient depends on its batch.
        rec_hidden: The widths of the reconstructor's hidden layers after the convolutions.
        disc_hidden: The widths of the discriminator's hidden layers after the convolutions where it sees z.
        disc_x_hidden: The widths of the discriminator's hidden layers after the convolutions where it sees x alone;
            without any, it ends in a linear layer there, as DCGAN's does.
        init: The initialisation of the kernels; biases start at 0.

    Raises:
        ValueError: If `shape` is not that of an image, or an option is out of range.
    """
    for name, value in (("base_width", base_width), ("kernel_size", kernel_size)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more")
    if not disc_ratio > 0:
        raise ValueError(f"disc_ratio is {disc_ratio}; it must be more than 0")
    sizes = pyramid(shape, smallest)
    widths = tuple(base_width * 2**i for i in range(len(sizes) - 1))
    style = {"kernel_size": kernel_size, "init_scheme": init, "dtype": dtype}
    disc_trunk = Trunk(tuple(max(1, round(disc_ratio * w)) for w in widths), disc_norm, **style)
    rec_trunk = Trunk(widths, rec_norm, **style)
    gen = Generator(tuple(sizes[::-1]), (*widths[::-1], shape[-1]), gen_norm, bounded, **style)
    return network.Nets(
        gen=network.from_module(gen),
        rec=lambda outputs: network.from_module(Reconstructor(rec_trunk, tuple(rec_hidden), outputs, init, dtype)),
        disc=network.from_module(Discriminator(disc_trunk, tuple(disc_hidden), tuple(disc_x_hidden), init, dtype)),
    )
