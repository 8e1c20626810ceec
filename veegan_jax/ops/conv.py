"""Convolutions and transposed convolutions, each lowered in the form of its platform, with gradients of any order.

A convolution has three bilinear maps: from images and kernel to outputs, from outputs and kernel to images (the
gradient to the input, which is the transposed convolution), and from images and outputs to the kernel. The gradients of
each map are the other two. So the three are declared the gradients of one another, and gradients of gradients follow,
as the penalties R1 and R2 take them.

A CPU computes the maps in the forms of `ops/conv_cpu.py`, and any other platform computes them as `jax.lax` does. The
form is chosen where a program is lowered, so that a CPU can lower a program for an accelerator.
"""

import functools
from collections.abc import Callable

import jax

from veegan_jax.ops import conv_cpu
from veegan_jax.ops.conv_cpu import Axes, Axis, Map, Size


def conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Computes the convolution with 'SAME' padding.

    Args:
        x: `[B, H, W, I]`.
        kernel: `[h, w, I, O]`, of the dtype of `x`.
        stride: the stride in both directions.

    Returns:
        `[B, ceil(H / stride), ceil(W / stride), O]`, of the dtype of `x`.
    """
    return _conv(x, kernel, _axes((x.shape[1], x.shape[2]), kernel, stride))


def conv_transpose(x: jax.Array, kernel: jax.Array, size: Size, stride: int = 1) -> jax.Array:
    """Computes the transpose of the `conv` that takes images of `size` to images of the size of `x`.

    Args:
        x: `[B, H, W, I]`.
        kernel: `[h, w, I, O]`, of the dtype of `x`: the kernel of that convolution with its channels exchanged.
        size: the size of the result; `ceil(size / stride)` must be (H, W).
        stride: the stride in both directions.

    Returns:
        `[B, *size, O]`, of the dtype of `x`.

    Raises:
        ValueError: where no convolution with this stride takes `size` to (H, W).
    """
    axes = _axes(size, kernel, stride)
    if (axes[0].out, axes[1].out) != x.shape[1:3]:
        raise ValueError(f"no convolution with stride {stride} takes {size} to {x.shape[1:3]}")
    return _conv_input_grad(x, kernel.swapaxes(2, 3), axes)


def _axes(size: Size, kernel: jax.Array, stride: int) -> Axes:
    return Axis(size[0], kernel.shape[0], stride), Axis(size[1], kernel.shape[1], stride)


# The forms of lax: its convolution, and the gradients that its own rules make of it.


def lax_conv(x: jax.Array, kernel: jax.Array, axes: Axes) -> jax.Array:
    """Returns the convolution y `[B, out, out, O]` of x `[B, H, W, I]` with the kernel `[h, w, I, O]`."""
    stride = axes[0].stride
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=conv_cpu.LAYOUT)


def lax_input_grad(y: jax.Array, kernel: jax.Array, axes: Axes) -> jax.Array:
    """Returns the gradient of ⟨y, conv(x, kernel)⟩ to x."""
    images = jax.ShapeDtypeStruct((y.shape[0], axes[0].size, axes[1].size, kernel.shape[2]), y.dtype)
    (grad,) = jax.linear_transpose(lambda x: lax_conv(x, kernel, axes), images)(y)
    return grad


def lax_kernel_grad(x: jax.Array, y: jax.Array, axes: Axes) -> jax.Array:
    """Returns the gradient of ⟨y, conv(x, kernel)⟩ to the kernel."""
    weights = jax.ShapeDtypeStruct((axes[0].window, axes[1].window, x.shape[3], y.shape[3]), x.dtype)
    (grad,) = jax.linear_transpose(lambda kernel: lax_conv(x, kernel, axes), weights)(y)
    return grad


# The three maps.


@functools.cache
def _with_axes(form: Map, axes: Axes) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Returns one function for equal arguments: JAX traces it once, and equal calls of it are seen to be equal."""
    return lambda a, b: form(a, b, axes)


def _bilinear(cpu: Map, default: Map, grads: Callable[..., tuple[jax.Array, jax.Array]]) -> Map:
    """Returns a map that has these gradients, `grads(a, b, cotangent, axes)`, in the form of its platform."""

    def evaluate(a: jax.Array, b: jax.Array, axes: Axes) -> jax.Array:
        return jax.lax.platform_dependent(a, b, cpu=_with_axes(cpu, axes), default=_with_axes(default, axes))

    bilinear = jax.custom_vjp(evaluate, nondiff_argnums=(2,))
    bilinear.defvjp(
        lambda a, b, axes: (bilinear(a, b, axes), (a, b)),
        lambda axes, operands, cotangent: grads(*operands, cotangent, axes),
    )
    return bilinear


_conv: Map = _bilinear(
    conv_cpu.conv,
    lax_conv,
    lambda x, kernel, y, axes: (_conv_input_grad(y, kernel, axes), _conv_kernel_grad(x, y, axes)),
)
_conv_input_grad: Map = _bilinear(
    conv_cpu.conv_input_grad,
    lax_input_grad,
    lambda y, kernel, x, axes: (_conv(x, kernel, axes), _conv_kernel_grad(x, y, axes)),
)
_conv_kernel_grad: Map = _bilinear(
    conv_cpu.conv_kernel_grad,
    lax_kernel_grad,
    lambda x, y, kernel, axes: (_conv_input_grad(y, kernel, axes), _conv(x, kernel, axes)),
)
