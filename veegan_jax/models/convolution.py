"""Convolutions whose gradients, of any order, are fast on a CPU too.

A convolution y = conv(x, w) is one of three maps that the trilinear form ⟨y, conv(x, w)⟩ defines: from any two of x, w
and y to the third. The derivatives of each are the other two, so that the three, written once each and declared the
derivatives of one another, give gradients, gradients of gradients (R1, R2 penalties), and transposed convolutions.

They are written as XLA:CPU likes it, whose own gradients are up to 70 times slower. Elsewhere JAX derives them.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax

Size = tuple[int, int]


class Geometry(NamedTuple):
    """What the shapes of x `[B, *size, I]` and w `[*window, I, O]` and the stride say of a padded convolution.

    The padding is 'SAME' (`ceil(size / stride)` outputs), as in TensorFlow: the odd pixel goes to the end.
    """

    size: Size
    window: Size
    stride: int

    @property
    def out(self) -> Size:
        """The size of y."""
        return -(-self.size[0] // self.stride), -(-self.size[1] // self.stride)

    @property
    def low(self) -> Size:
        """The padding before x."""
        first, second = (
            max((out - 1) * self.stride + window - size, 0) // 2
            for size, window, out in zip(self.size, self.window, self.out, strict=True)
        )
        return first, second


def _correlate(
    x: jax.Array, w: jax.Array, low: Size, out: Size, stride: int = 1, x_dilation: int = 1, w_dilation: int = 1
) -> jax.Array:
    """Correlates x `[B, H, W, I]` with w `[h, w, I, O]` at `out` places from −`low` on, wherever x ends."""
    extents = zip(x.shape[1:3], w.shape[:2], low, out, strict=True)
    padding = [
        (a, (n - 1) * stride + (window - 1) * w_dilation - (size - 1) * x_dilation - a)
        for size, window, a, n in extents
    ]
    return jax.lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        padding,
        lhs_dilation=(x_dilation, x_dilation),
        rhs_dilation=(w_dilation, w_dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _to_y(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """The convolution: x `[B, *size, I]`, w `[*window, I, O]` → y `[B, *out, O]`."""
    return _correlate(x, w, geometry.low, geometry.out, stride=geometry.stride)


def _to_x(y: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """The transposed convolution, which is the gradient to x."""
    low = (geometry.window[0] - 1 - geometry.low[0], geometry.window[1] - 1 - geometry.low[1])
    return _correlate(y, w[::-1, ::-1].swapaxes(2, 3), low, geometry.size, x_dilation=geometry.stride)


def _to_w(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    """The gradient to w: the batch is what is summed over, hence in the place of the channels."""
    turned = _correlate(
        x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3), geometry.low, geometry.window, w_dilation=geometry.stride
    )
    return turned.transpose(1, 2, 0, 3)


Bilinear = Callable[[jax.Array, jax.Array, Geometry], jax.Array]


def _derived(function: Bilinear, derivatives: Callable[..., tuple[jax.Array, jax.Array]]) -> Bilinear:
    """A bilinear function with its derivatives: `derivatives(a, b, cotangent, geometry)`."""
    derived = jax.custom_vjp(function, nondiff_argnums=(2,))
    derived.defvjp(
        lambda a, b, geometry: (derived(a, b, geometry), (a, b)),
        lambda geometry, saved, cotangent: derivatives(*saved, cotangent, geometry),
    )
    return derived


_fast_y: Bilinear = _derived(_to_y, lambda x, w, y, g: (_fast_x(y, w, g), _fast_w(x, y, g)))
_fast_x: Bilinear = _derived(_to_x, lambda y, w, x, g: (_fast_y(x, w, g), _fast_w(x, y, g)))
_fast_w: Bilinear = _derived(_to_w, lambda x, y, w, g: (_fast_x(y, w, g), _fast_y(x, w, g)))


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolution with 'SAME' padding.

    Args:
        x: `[B, H, W, I]`.
        kernel: `[h, w, I, O]`, of the dtype of `x`.
        stride: in both directions.

    Returns:
        `[B, ceil(H / stride), ceil(W / stride), O]`.
    """
    geometry = Geometry((x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1]), stride)
    return (_fast_y if _on_cpu() else _to_y)(x, kernel, geometry)


def conv_transpose(x: jax.Array, kernel: jax.Array, size: Size, stride: int = 1) -> jax.Array:
    """The transpose of the `conv` that takes images of `size` to those of x.

    Args:
        x: `[B, H, W, I]`.
        kernel: `[h, w, I, O]`, of the dtype of `x`: the transposed kernel of that convolution.
        size: of the output; `ceil(size / stride)` must be (H, W).
        stride: in both directions.

    Returns:
        `[B, *size, O]`.
    """
    geometry = Geometry(size, (kernel.shape[0], kernel.shape[1]), stride)
    if geometry.out != x.shape[1:3]:
        raise ValueError(f"no convolution with stride {stride} takes {size} to {x.shape[1:3]}")
    return (_fast_x if _on_cpu() else _to_x)(x, kernel.swapaxes(2, 3), geometry)


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
