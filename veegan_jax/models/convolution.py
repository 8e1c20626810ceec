"""Convolutions whose gradients, of any order, are fast on a CPU too.

A convolution y = conv(x, w) is one of three maps that the trilinear form ⟨y, conv(x, w)⟩ defines: from any two of x, w
and y to the third. The derivatives of each are the other two, so that the three, written once each and declared the
derivatives of one another, give gradients, gradients of gradients (R1, R2 penalties), and transposed convolutions.

XLA:CPU differentiates convolutions into forms that it runs many times slower than others of the same value; here are
the fastest found (benchmarks/stacked_mnist_step.py). On accelerators they are lax's own.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

Size = tuple[int, int]


class Axis(NamedTuple):
    """One of the two axes of a convolution with 'SAME' padding, whose odd pixel goes to the end as in TensorFlow."""

    size: int  # of x
    window: int  # of w
    stride: int

    @property
    def out(self) -> int:
        """The size of y."""
        return -(-self.size // self.stride)

    @property
    def low(self) -> int:
        """The padding before x."""
        return max((self.out - 1) * self.stride + self.window - self.size, 0) // 2

    def at_place(self, place: int) -> tuple[slice, slice]:
        """The parts of x and w that meet at a place of y, padding left out."""
        start = place * self.stride - self.low
        first, last = max(0, -start), min(self.window, self.size - start)
        return slice(start + first, start + last), slice(first, last)

    def at_tap(self, tap: int) -> tuple[slice, slice]:
        """The parts of x and y that meet at a tap of w, padding left out."""
        places = [place for place in range(self.out) if 0 <= place * self.stride + tap - self.low < self.size]
        if not places:
            return slice(0, 0), slice(0, 0)
        first, last = (place * self.stride + tap - self.low for place in (places[0], places[-1]))
        return slice(first, last + 1, self.stride), slice(places[0], places[-1] + 1)


Axes = tuple[Axis, Axis]


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


def _turned(w: jax.Array) -> jax.Array:
    return w[::-1, ::-1].swapaxes(2, 3)


def _lax_y(x: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    """The convolution: x `[B, H, W, I]`, w `[h, w, I, O]` → y `[B, out, out, O]`."""
    return _correlate(x, w, (axes[0].low, axes[1].low), (axes[0].out, axes[1].out), stride=axes[0].stride)


def _lax_x(y: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    """The transposed convolution, which is the gradient to x."""
    low = (axes[0].window - 1 - axes[0].low, axes[1].window - 1 - axes[1].low)
    return _correlate(y, _turned(w), low, (axes[0].size, axes[1].size), x_dilation=axes[0].stride)


def _padded(axes: Axes) -> bool:
    """Whether a quarter of all products is with padding: 0.36 from 7×7 to 4×4, 0.16 from 14×14 to 7×7 (windows 5×5)."""
    used = [sum(taps.stop - taps.start for _, taps in map(axis.at_place, range(axis.out))) for axis in axes]
    return math.prod(n / (axis.out * axis.window) for n, axis in zip(used, axes, strict=True)) < 0.75


def _tiny(axes: Axes) -> bool:
    """Whether the kernel is larger than the images: XLA:CPU then swaps the two, and is slow."""
    return any(axis.window > axis.size for axis in axes)


def _cpu_y(x: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    """`_lax_y`; by a product for each row of w if much is padding, and on tiny images for each place of y."""
    if _tiny(axes):
        return _y_from_places(x, w, axes)
    return (_y_from_rows if _padded(axes) else _lax_y)(x, w, axes)


def _y_from_places(x: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    met = [[axis.at_place(place) for place in range(axis.out)] for axis in axes]
    rows = [
        [_flat(x[:, rows, columns], 1) @ _flat(w[above, beside], 3) for columns, beside in met[1]]
        for rows, above in met[0]
    ]
    return jnp.stack([jnp.stack(row, axis=1) for row in rows], axis=1)


def _y_from_rows(x: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    """A product for each row of w, which leaves the padding above and below out; its taps side by side."""
    vertical, horizontal = axes
    last = (horizontal.out - 1) * horizontal.stride + 1
    end = last - 1 + horizontal.window - horizontal.size - horizontal.low
    wide = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (0, 0, 0), (horizontal.low, end, 0), (0, 0, 0)])
    met = jnp.concatenate([wide[:, :, t : t + last : horizontal.stride] for t in range(horizontal.window)], axis=-1)
    y = jnp.zeros((), x.dtype)
    for s in range(vertical.window):
        x_rows, y_rows = vertical.at_tap(s)
        part = (_flat(met[:, x_rows], 3) @ _flat(w[s], 2)).reshape(len(x), -1, horizontal.out, w.shape[3])
        y += jnp.pad(part, [(0, 0), (y_rows.start, vertical.out - y_rows.stop), (0, 0), (0, 0)])
    return y


def _cpu_x(y: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    """`_lax_x`, by a convolution of stride 1 for every phase of x; on tiny images a product at each place of y."""
    return (_x_from_places if _tiny(axes) else _x_from_phases)(y, w, axes)


def _x_from_places(y: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    x = jnp.zeros((), y.dtype)
    for p, q in itertools.product(*(range(axis.out) for axis in axes)):
        (x_rows, w_rows), (x_columns, w_columns) = axes[0].at_place(p), axes[1].at_place(q)
        part = w[w_rows, w_columns]
        met = (y[:, p, q] @ _flat(part, 3).T).reshape(-1, *part.shape[:3])
        around = [(i.start, axis.size - i.stop) for i, axis in zip((x_rows, x_columns), axes, strict=True)]
        x += jnp.pad(met, [(0, 0), *around, (0, 0)])
    return x


def _x_from_phases(y: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    zero, stride = jnp.zeros((), y.dtype), axes[0].stride
    x = jnp.zeros((y.shape[0], axes[0].size, axes[1].size, w.shape[2]), y.dtype)
    for phase in itertools.product(range(stride), repeat=2):
        both = list(zip(phase, axes, strict=True))
        first = [(p + axis.low) % stride for p, axis in both]
        part = w[first[0] :: stride, first[1] :: stride]
        if not part.size:  # a phase that a kernel smaller than the stride misses
            continue
        low = [part.shape[i] - 1 - (p + axis.low) // stride for i, (p, axis) in enumerate(both)]
        counts = [-(-(axis.size - p) // stride) for p, axis in both]
        places = _correlate(y, _turned(part), (low[0], low[1]), (counts[0], counts[1]))
        spread = [
            (p, axis.size - p - (n - 1) * stride - 1, stride - 1) for (p, axis), n in zip(both, counts, strict=True)
        ]
        x += jax.lax.pad(places, zero, [(0, 0, 0), *spread, (0, 0, 0)])
    return x


def _cpu_w(x: jax.Array, y: jax.Array, axes: Axes) -> jax.Array:
    """The gradient to w: a correlation that sums over the batch in the place of the channels.

    Where much of the images is padding, it is a product at each tap of w, which leaves the padding out.
    """
    if not _padded(axes):
        images, kernel = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
        low, window = (axes[0].low, axes[1].low), (axes[0].window, axes[1].window)
        return _correlate(images, kernel, low, window, w_dilation=axes[0].stride).transpose(1, 2, 0, 3)
    taps = []
    for s, t in itertools.product(*(range(axis.window) for axis in axes)):
        (x_rows, y_rows), (x_columns, y_columns) = axes[0].at_tap(s), axes[1].at_tap(t)
        taps.append(_flat(x[:, x_rows, x_columns], 3).T @ _flat(y[:, y_rows, y_columns], 3))
    return jnp.stack(taps).reshape(axes[0].window, axes[1].window, x.shape[-1], y.shape[-1])


def _flat(a: jax.Array, axes: int) -> jax.Array:
    """`[…, C]` as a matrix, the rows of which are the first `axes` axes."""
    rows = math.prod(a.shape[:axes])
    return a.reshape(rows, math.prod(a.shape[axes:]))


Bilinear = Callable[[jax.Array, jax.Array, Axes], jax.Array]


def _derived(function: Bilinear, derivatives: Callable[..., tuple[jax.Array, jax.Array]]) -> Bilinear:
    """A bilinear function with its derivatives: `derivatives(a, b, cotangent, axes)`."""
    derived = jax.custom_vjp(function, nondiff_argnums=(2,))
    derived.defvjp(
        lambda a, b, axes: (derived(a, b, axes), (a, b)),
        lambda axes, saved, cotangent: derivatives(*saved, cotangent, axes),
    )
    return derived


_to_y: Bilinear = _derived(_cpu_y, lambda x, w, y, axes: (_to_x(y, w, axes), _to_w(x, y, axes)))
_to_x: Bilinear = _derived(_cpu_x, lambda y, w, x, axes: (_to_y(x, w, axes), _to_w(x, y, axes)))
_to_w: Bilinear = _derived(_cpu_w, lambda x, y, w, axes: (_to_x(y, w, axes), _to_y(x, w, axes)))


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
    axes = Axis(x.shape[1], kernel.shape[0], stride), Axis(x.shape[2], kernel.shape[1], stride)
    return (_to_y if _on_cpu() else _lax_y)(x, kernel, axes)


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
    return (_to_x if _on_cpu() else _lax_x)(x, kernel.swapaxes(2, 3), axes)


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
