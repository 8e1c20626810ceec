"""Layers of convolutions, and the sizes that they halve an image to."""

import flax.linen as nn
import jax

from veegan_jax.ops.conv import conv, conv_transpose
from veegan_jax.ops.conv_cpu import Size


class Conv(nn.Module):
    """A layer of `conv`, with parameters kernel `[h, w, I, O]` and bias `[O]`."""

    features: int
    kernel_size: int
    stride: int = 1
    use_bias: bool = True
    dtype: str = "float32"
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, H, W, I]` to `[B, ceil(H / stride), ceil(W / stride), features]`, in `dtype`."""
        x, kernel = _operands(self, x)
        return _with_bias(self, conv(x, kernel, self.stride))


class ConvTranspose(nn.Module):
    """A layer of `conv_transpose` to images of `size`, with parameters kernel `[h, w, I, O]` and bias `[O]`."""

    features: int
    kernel_size: int
    size: Size
    stride: int = 1
    use_bias: bool = True
    dtype: str = "float32"
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, H, W, I]` to `[B, *size, features]`, in `dtype`."""
        x, kernel = _operands(self, x)
        return _with_bias(self, conv_transpose(x, kernel, self.size, self.stride))


def _operands(layer: Conv | ConvTranspose, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    shape = (layer.kernel_size, layer.kernel_size, x.shape[-1], layer.features)
    kernel = layer.param("kernel", layer.kernel_init, shape)
    return x.astype(layer.dtype), kernel.astype(layer.dtype)


def _with_bias(layer: Conv | ConvTranspose, y: jax.Array) -> jax.Array:
    if not layer.use_bias:
        return y
    bias = layer.param("bias", nn.initializers.zeros_init(), (layer.features,))
    return y + bias.astype(layer.dtype).reshape(1, 1, 1, -1)


def pyramid(shape: tuple[int, ...], smallest: int) -> list[Size]:
    """The sizes of an image as it is halved, its own first, until a side is `smallest` or less.

    Args:
        shape: `[H, W, C]` of the images.
        smallest: 1 or more.

    Raises:
        ValueError: where `shape` is not that of an image, or it is too small to halve.
    """
    if smallest < 1:
        raise ValueError(f"smallest is {smallest}; it must be 1 or more")
    if len(shape) != 3 or min(shape[:2]) <= smallest:
        raise ValueError(
            f"smallest is {smallest}; the data must be images [H, W, C] of more pixels a side, and these are "
            f"{list(shape)}"
        )
    sizes = [(shape[0], shape[1])]
    while min(sizes[-1]) > smallest:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes
