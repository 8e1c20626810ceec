"""The forms in which XLA computes a convolution and its gradients fastest on a CPU.

XLA:CPU runs some convolutions 20 to 70 times slower than others of the same value (jax issue 12868), among them those
that lax's rules of differentiation make, above all within a loop. The forms here are convolutions with operands laid
out for XLA's fast path; where XLA leaves that path, products of matrices; and where layers are wide and images small,
Winograd's algorithm, which multiplies less. `benchmarks/convolutions.py` times them.

In all of this file, x are the images `[B, H, W, I]`, the kernel is `[h, w, I, O]`, and y are the outputs
`[B, out, out, O]`.
"""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Size = tuple[int, int]
LAYOUT = ("NHWC", "HWIO", "NHWC")


class Axis(NamedTuple):
    """One of the two spatial axes of a convolution with 'SAME' padding, whose odd pixel goes to the end.

    Attributes:
        size: the number of pixels of x.
        window: the number of pixels of the kernel.
        stride: the number of pixels of x from one output to the next.
    """

    size: int
    window: int
    stride: int

    @property
    def out(self) -> int:
        """The number of pixels of y."""
        return -(-self.size // self.stride)

    @property
    def low(self) -> int:
        """The padding before x."""
        return max((self.out - 1) * self.stride + self.window - self.size, 0) // 2


class Layer(NamedTuple):
    """What the choice of a form depends on beside the axes: B, I, O and the dtype of the operands."""

    batch: int
    inputs: int
    outputs: int
    dtype: np.dtype


Axes = tuple[Axis, Axis]
Map = Callable[[jax.Array, jax.Array, Axes], jax.Array]


def conv(x: jax.Array, kernel: jax.Array, axes: Axes) -> jax.Array:
    """Returns the convolution y of x with the kernel, in the form that is fastest."""
    return conv_form(axes, Layer(x.shape[0], kernel.shape[2], kernel.shape[3], x.dtype))(x, kernel, axes)


def conv_input_grad(y: jax.Array, kernel: jax.Array, axes: Axes) -> jax.Array:
    """Returns the gradient of ⟨y, conv(x, kernel)⟩ to x, the transposed convolution, in the form that is fastest."""
    return input_grad_form(axes, Layer(y.shape[0], kernel.shape[2], kernel.shape[3], y.dtype))(y, kernel, axes)


def conv_kernel_grad(x: jax.Array, y: jax.Array, axes: Axes) -> jax.Array:
    """Returns the gradient of ⟨y, conv(x, kernel)⟩ to the kernel, in the form that is fastest."""
    layer = Layer(x.shape[0], x.shape[3], y.shape[3], x.dtype)
    return kernel_grad_form(axes, layer)(x, y, axes)


def conv_form(axes: Axes, layer: Layer) -> Map:
    """Returns the form of `conv`: XLA exchanges the operands where the kernel is the larger one, and is slow then."""
    if _suits_winograd(axes, layer):
        return winograd_conv
    return conv_by_windows if any(axis.window > axis.size for axis in axes) else direct_conv


def input_grad_form(axes: Axes, layer: Layer) -> Map:
    """Returns the form of `conv_input_grad`."""
    if _suits_winograd(axes, layer):
        return winograd_input_grad
    if any(axis.window > axis.size or axis.window < axis.stride for axis in axes):
        return input_grad_by_windows
    if layer.inputs <= 4 and all(axis.window <= axis.out for axis in axes):
        return dilated_input_grad
    return input_grad_by_phases


def kernel_grad_form(axes: Axes, layer: Layer) -> Map:
    """Returns the form of `conv_kernel_grad`."""
    return winograd_kernel_grad if _suits_winograd(axes, layer) else kernel_grad_over_examples


def _suits_winograd(axes: Axes, layer: Layer) -> bool:
    """Whether the products that Winograd's algorithm saves outweigh the sums that it adds, and its points suffice."""
    small = all(axis.out <= 4 and axis.stride <= axis.size for axis in axes)
    filters = all(axis.stride < axis.window <= 3 * axis.stride for axis in axes)
    # A program that is exported for batches of any size has a symbol here, and is mostly used on large ones.
    large = not isinstance(layer.batch, int) or layer.batch >= 32
    wide = min(layer.inputs, layer.outputs) >= 64
    return small and filters and large and wide and layer.dtype == jnp.float32


# Convolutions.


def direct_conv(x: jax.Array, kernel: jax.Array, axes: Axes) -> jax.Array:
    """Returns y as one convolution."""
    return _correlate(x, kernel, _low(axes), (axes[0].out, axes[1].out), stride=axes[0].stride)


def dilated_input_grad(y: jax.Array, kernel: jax.Array, axes: Axes) -> jax.Array:
    """Returns the gradient to x as one convolution of y, dilated by the stride, with the flipped kernel."""
    low = (axes[0].window - 1 - axes[0].low, axes[1].window - 1 - axes[1].low)
    return _correlate(y, flip_kernel(kernel), low, (axes[0].size, axes[1].size), x_dilation=axes[0].stride)


def input_grad_by_phases(y: jax.Array, kernel: jax.Array, axes: Axes) -> jax.Array:
    """Returns the gradient to x as `stride²` convolutions without dilation.

    The pixels of x at one phase, which lie `stride` apart, meet the same pixels of the kernel.
    """
    zero, stride = jnp.zeros((), y.dtype), axes[0].stride
    x = jnp.zeros((y.shape[0], axes[0].size, axes[1].size, kernel.shape[2]), y.dtype)
    for phase in itertools.product(range(stride), repeat=2):
        starts = [p + axis.low for p, axis in zip(phase, axes, strict=True)]
        part = kernel[starts[0] % stride :: stride, starts[1] % stride :: stride]
        low = (part.shape[0] - 1 - starts[0] // stride, part.shape[1] - 1 - starts[1] // stride)
        counts = [-(-(axis.size - p) // stride) for p, axis in zip(phase, axes, strict=True)]
        pixels = _correlate(y, flip_kernel(part), low, (counts[0], counts[1]))
        ends = [axis.size - p - (n - 1) * stride - 1 for p, axis, n in zip(phase, axes, counts, strict=True)]
        edges = [(p, end, stride - 1) for p, end in zip(phase, ends, strict=True)]
        x += jax.lax.pad(pixels, zero, [(0, 0, 0), *edges, (0, 0, 0)])
    return x


def kernel_grad_over_examples(x: jax.Array, y: jax.Array, axes: Axes) -> jax.Array:
    """Returns the gradient to the kernel as one convolution that sums over B, not over channels."""
    images, outputs = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
    window = (axes[0].window, axes[1].window)
    return _correlate(images, outputs, _low(axes), window, kernel_dilation=axes[0].stride).transpose(1, 2, 0, 3)


def flip_kernel(kernel: jax.Array) -> jax.Array:
    """Returns the kernel turned by 180°, from O to I channels: `[h, w, O, I]`."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _low(axes: Axes) -> Size:
    return axes[0].low, axes[1].low


def _correlate(
    x: jax.Array,
    kernel: jax.Array,
    low: Size,
    out: Size,
    stride: int = 1,
    x_dilation: int = 1,
    kernel_dilation: int = 1,
) -> jax.Array:
    """Returns the `out` products of the kernel with x, the first of which begins `low` pixels before x."""
    extents = zip(x.shape[1:3], kernel.shape[:2], low, out, strict=True)
    padding = [
        (before, (n - 1) * stride + (window - 1) * kernel_dilation - (size - 1) * x_dilation - before)
        for size, window, before, n in extents
    ]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        lhs_dilation=(x_dilation, x_dilation),
        rhs_dilation=(kernel_dilation, kernel_dilation),
        dimension_numbers=LAYOUT,
    )


# Products of matrices with windows.


def conv_by_windows(x: jax.Array, kernel: jax.Array, axes: Axes) -> jax.Array:
    """Returns y as the product of all windows of x with the kernel."""
    y = extract_windows(x, axes) @ kernel.reshape(-1, kernel.shape[3])
    return y.reshape(x.shape[0], axes[0].out, axes[1].out, kernel.shape[3])


def input_grad_by_windows(y: jax.Array, kernel: jax.Array, axes: Axes) -> jax.Array:
    """Returns the gradient to x as a product of y with the kernel, whose windows are added where they overlap.

    The sums are of float32, and are rounded to the dtype of y once.
    """
    windows = jnp.matmul(
        y.reshape(-1, y.shape[3]), kernel.reshape(-1, kernel.shape[3]).T, preferred_element_type=jnp.float32
    )
    images = jax.ShapeDtypeStruct((y.shape[0], axes[0].size, axes[1].size, kernel.shape[2]), jnp.float32)
    (x,) = jax.linear_transpose(lambda x: extract_windows(x, axes), images)(windows)
    return x.astype(y.dtype)


def extract_windows(x: jax.Array, axes: Axes) -> jax.Array:
    """Returns the pixels of x that the kernel meets at each output, 0 outside x: `[B · out · out, h · w · I]`."""
    stride = axes[0].stride
    padding = [(axis.low, (axis.out - 1) * stride + axis.window - axis.size - axis.low, 0) for axis in axes]
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *padding, (0, 0, 0)])
    height, width = ((axis.out - 1) * stride + 1 for axis in axes)
    pixels = [
        x[:, i : i + height : stride, j : j + width : stride].reshape(-1, x.shape[3])
        for i, j in itertools.product(range(axes[0].window), range(axes[1].window))
    ]
    return jnp.concatenate(pixels, axis=1)


# Winograd's algorithm (Lavin and Gray, CVPR 2016), with a whole image as one tile.
#
# Along an axis, a convolution of stride 1 is a product of two polynomials, whose coefficients are the pixels of x and
# those of the kernel. The polynomials are evaluated at P points, the values are multiplied, and the coefficients of the
# product are found from its values. A strided convolution is the sum of such products over its phases. From 7 to 4
# pixels with a window of 5 there are 10 points, in place of 20 products: in two dimensions 100, in place of 400.

# With these points, rounding errors are 3 to 7 times those of a direct convolution (Barabasz et al., ACM TOMS 2020).
# One more point is infinity, where the value of a polynomial is its highest coefficient.
_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)


@functools.cache
def _evaluations(axis: Axis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns matrices X `[P, size]`, K `[P, window]` and Y `[P, out]`, with which y = Yᵀ (X x ∘ K kernel)."""
    phases = []
    for phase in range(axis.stride):
        first = (phase + axis.low) % axis.stride
        pixels, taps = (range(start, n, axis.stride) for start, n in ((phase, axis.size), (first, axis.window)))
        num = len(pixels) + len(taps) - 1
        values = np.vstack([np.vander(_POINTS[: num - 1], num, increasing=True), np.eye(num)[-1]])
        coefficients = np.linalg.inv(values)
        x, kernel, y = np.zeros((num, axis.size)), np.zeros((num, axis.window)), np.zeros((num, axis.out))
        for matrix, places in ((x, pixels), (kernel, taps[::-1])):
            matrix[:-1, places] = values[:-1, : len(places)]
            matrix[-1, places[-1]] = 1
        # The output 0 is this coefficient of the product.
        start = len(taps) - 1 - (phase + axis.low - first) // axis.stride
        for out in range(max(-start, 0), min(axis.out, num - start)):
            y[:, out] = coefficients[start + out]
        phases.append((x, kernel, y))
    x, kernel, y = (np.concatenate(matrices) for matrices in zip(*phases, strict=True))
    return x, kernel, y


def _evaluate(which: int, axes: Axes, pixels: jax.Array) -> jax.Array:
    """Returns the values `[P · P, …]` of pixels `[h, w, …]`: of x for `which` 0, of the kernel for 1, of y for 2."""
    matrix = jnp.asarray(np.kron(*(_evaluations(axis)[which] for axis in axes)), pixels.dtype)
    return (matrix @ pixels.reshape(matrix.shape[1], -1)).reshape(-1, *pixels.shape[2:])


def _evaluate_transpose(which: int, axes: Axes, values: jax.Array) -> jax.Array:
    """Returns the transpose of `_evaluate`: pixels `[h, w, …]` of values `[P · P, …]`."""
    height, width = (_evaluations(axis)[which] for axis in axes)
    pixels = jnp.asarray(np.kron(height, width).T, values.dtype) @ values.reshape(values.shape[0], -1)
    return pixels.reshape(height.shape[1], width.shape[1], *values.shape[1:])


def winograd_conv(x: jax.Array, kernel: jax.Array, axes: Axes) -> jax.Array:
    """Returns y by Winograd's algorithm."""
    values = _evaluate(0, axes, x.transpose(1, 2, 0, 3)) @ _evaluate(1, axes, kernel)
    return _evaluate_transpose(2, axes, values).transpose(2, 0, 1, 3)


def winograd_input_grad(y: jax.Array, kernel: jax.Array, axes: Axes) -> jax.Array:
    """Returns the gradient to x by Winograd's algorithm."""
    values = _evaluate(1, axes, kernel) @ _evaluate(2, axes, y.transpose(1, 2, 0, 3)).swapaxes(1, 2)
    return _evaluate_transpose(0, axes, values).transpose(3, 0, 1, 2)


def winograd_kernel_grad(x: jax.Array, y: jax.Array, axes: Axes) -> jax.Array:
    """Returns the gradient to the kernel by Winograd's algorithm."""
    values = _evaluate(0, axes, x.transpose(1, 2, 0, 3)).swapaxes(1, 2) @ _evaluate(2, axes, y.transpose(1, 2, 0, 3))
    return _evaluate_transpose(1, axes, values)
