"""Convolutions and transposed convolutions, fast on a CPU too, in their gradients of any order."""

import jax

from veegan_jax.ops import conv_cpu as trilinear
from veegan_jax.ops.conv_cpu import Axis, Size


def conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolution with 'SAME' padding.

    Args:
        x: `[B, H, W, I]`.
        kernel: `[h, w, I, O]`, of the dtype of `x`.
        stride: in both directions.

    Returns:
        `[B, ceil(H / stride), ceil(W / stride), O]`.
    """
    axes = Axis(x.shape[1], kernel.shape[0], stride), Axis(x.shape[2], kernel.shape[1], stride)
    return trilinear.to_y(x, kernel, axes)


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
    axes = Axis(size[0], kernel.shape[0], stride), Axis(size[1], kernel.shape[1], stride)
    if (axes[0].out, axes[1].out) != x.shape[1:3]:
        raise ValueError(f"no convolution with stride {stride} takes {size} to {x.shape[1:3]}")
    return trilinear.to_x(x, kernel.swapaxes(2, 3), axes)
