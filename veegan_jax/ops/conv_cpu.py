"""The trilinear form ⟨y, conv(x, w)⟩ and its three maps, from any two of x, w and y to the third.

The derivatives of each map are the other two, so that the three, declared the derivatives of one another, give
gradients, gradients of gradients (R1, R2 penalties), and transposed convolutions.

XLA:CPU differentiates convolutions into forms that it runs many times slower than others of the same value. Here are
the fastest found (benchmarks/stacked_mnist_step.py), of three kinds: Winograd's algorithm for many channels on small
images, products with patches for images themselves, and correlations. On accelerators the maps are lax's own.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Size = tuple[int, int]
Grid = Sequence[Sequence[jax.Array]]
Map = Callable[[jax.Array, jax.Array, "Axes"], jax.Array]


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

    @property
    def taps(self) -> int:
        """Of w, the most that meet pixels of x which are `stride` apart."""
        return -(-self.window // self.stride)


Axes = tuple[Axis, Axis]


class Maps(NamedTuple):
    """The three maps, of x `[B, H, W, I]`, w `[h, w, I, O]` and y `[B, out, out, O]`."""

    to_y: Map  # of x and w: the convolution
    to_x: Map  # of y and w: its gradient to x, the transposed convolution
    to_w: Map  # of x and y: its gradient to w


# Correlations: convolutions of XLA's, in other forms than those that its own derivatives take.


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


def _correlation(x: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    return _correlate(x, w, (axes[0].low, axes[1].low), (axes[0].out, axes[1].out), stride=axes[0].stride)


def _dilated_correlation(y: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    low = (axes[0].window - 1 - axes[0].low, axes[1].window - 1 - axes[1].low)
    return _correlate(y, _turned(w), low, (axes[0].size, axes[1].size), x_dilation=axes[0].stride)


def _correlations_of_phases(y: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    """To x, by one of stride 1 for the pixels of every phase: XLA:CPU is slow where an operand is dilated."""
    zero, stride = jnp.zeros((), y.dtype), axes[0].stride
    x = jnp.zeros((y.shape[0], axes[0].size, axes[1].size, w.shape[2]), y.dtype)
    for phase in itertools.product(range(stride), repeat=2):
        both = list(zip(phase, axes, strict=True))
        first = [(p + axis.low) % stride for p, axis in both]
        part = w[first[0] :: stride, first[1] :: stride]
        low = [part.shape[i] - 1 - (p + axis.low) // stride for i, (p, axis) in enumerate(both)]
        counts = [-(-(axis.size - p) // stride) for p, axis in both]
        places = _correlate(y, _turned(part), (low[0], low[1]), (counts[0], counts[1]))
        spread = [
            (p, axis.size - p - (n - 1) * stride - 1, stride - 1) for (p, axis), n in zip(both, counts, strict=True)
        ]
        x += jax.lax.pad(places, zero, [(0, 0, 0), *spread, (0, 0, 0)])
    return x


def _correlation_over_examples(x: jax.Array, y: jax.Array, axes: Axes) -> jax.Array:
    """To w: it sums over the batch in the place of the channels."""
    images, kernel = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
    low, window = (axes[0].low, axes[1].low), (axes[0].window, axes[1].window)
    return _correlate(images, kernel, low, window, w_dilation=axes[0].stride).transpose(1, 2, 0, 3)


# Patches and Winograd's algorithm: products of matrices between linear maps of x, w and y, which are written once each,
# as transposing them (in the sense of linear algebra) gives the way back.


def _transposed(linear: Callable[[jax.Array], object], shape: tuple[int, ...], cotangent: object) -> jax.Array:
    """The transpose of a linear map from arrays of such a shape, at a cotangent of what it returns."""
    dtype = jax.tree.leaves(cotangent)[0].dtype
    (transposed,) = jax.linear_transpose(linear, jax.ShapeDtypeStruct(shape, dtype))(cotangent)
    return transposed


def _x_shape(y: jax.Array, w: jax.Array, axes: Axes) -> tuple[int, ...]:
    return (y.shape[0], axes[0].size, axes[1].size, w.shape[2])


def _y_shape(x: jax.Array, w: jax.Array, axes: Axes) -> tuple[int, ...]:
    return (x.shape[0], axes[0].out, axes[1].out, w.shape[3])


def _w_shape(x: jax.Array, y: jax.Array, axes: Axes) -> tuple[int, ...]:
    return (axes[0].window, axes[1].window, x.shape[3], y.shape[3])


def _cut(a: jax.Array, low: Size, step: Size, span: Size, counts: Size) -> Grid:
    """The pixels of windows of `span` pixels that begin at −`low` and every `step` pixels on, `counts` of them.

    Returns for each place in the window `[B · counts, C]`: what all of them have there, 0 where a `[B, H, W, C]` ends.
    The pixels are split into blocks of `step`, not sliced with strides, as that is transposed into concatenations.
    """
    blocks = [n + (s - 1) // t for n, s, t in zip(counts, span, step, strict=True)]
    ends = [n * t - size - p for n, t, size, p in zip(blocks, step, a.shape[1:3], low, strict=True)]
    a = jax.lax.pad(a, jnp.zeros((), a.dtype), [(0, 0, 0), (low[0], ends[0], 0), (low[1], ends[1], 0), (0, 0, 0)])
    a = a.reshape(a.shape[0], blocks[0], step[0], blocks[1], step[1], a.shape[3])
    within = [jax.lax.split(row, [1] * step[1], axis=4) for row in jax.lax.split(a, [1] * step[0], axis=2)]

    def at(u: int, v: int) -> jax.Array:
        (i, u), (j, v) = divmod(u, step[0]), divmod(v, step[1])
        return within[u][v][:, i : i + counts[0], 0, j : j + counts[1], 0].reshape(-1, a.shape[-1])

    return [[at(u, v) for v in range(span[1])] for u in range(span[0])]


def _patches(x: jax.Array, axes: Axes) -> jax.Array:
    """The pixels under w at each place of y, `[B · out · out, h · w · I]`."""
    first, second = axes
    pixels = _cut(
        x,
        (first.low, second.low),
        (first.stride, second.stride),
        (first.window, second.window),
        (first.out, second.out),
    )
    return jnp.concatenate([pixel for row in pixels for pixel in row], axis=1)


def _patches_to_y(x: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    return (_patches(x, axes) @ w.reshape(-1, w.shape[3])).reshape(_y_shape(x, w, axes))


def _patches_to_x(y: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    patches = y.reshape(-1, y.shape[3]) @ w.reshape(-1, w.shape[3]).T
    return _transposed(lambda x: _patches(x, axes), _x_shape(y, w, axes), patches)


def _patches_to_w(x: jax.Array, y: jax.Array, axes: Axes) -> jax.Array:
    return (_patches(x, axes).T @ y.reshape(-1, y.shape[3])).reshape(_w_shape(x, y, axes))


# Winograd's minimal filtering F(2, taps): two neighbouring outputs of a filter by taps + 1 products, not 2 · taps, as
# y = Aᵀ (Bᵀ x ∘ G w). (Lavin and Gray, CVPR 2016, whose signs these are; here by the number of taps.)
_BT = {
    1: np.eye(2),
    2: np.array([[1, -1, 0], [0, 1, 0], [0, 1, -1]]),
    3: np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
}
_G = {
    1: np.ones((2, 1)),
    2: np.array([[1, 0], [1, 1], [0, 1]]),
    3: np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
}
_A = {
    1: np.eye(2),
    2: np.array([[1, 0], [1, 1], [0, -1]]),
    3: np.array([[1, 0], [1, 1], [1, -1], [0, -1]]),
}


@functools.cache
def _filtering(window: int, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bᵀ `[P, window + stride]`, G `[P, window]` and A `[P, 2]` of a strided filter: of its phases, side by side."""
    phases = [slice(phase, None, stride) for phase in range(min(stride, window))]
    taps = [len(range(window)[phase]) for phase in phases]
    products = [slice(end - n - 1, end) for n, end in zip(taps, itertools.accumulate(n + 1 for n in taps), strict=True)]
    total = products[-1].stop
    x, w, y = np.zeros((total, window + stride)), np.zeros((total, window)), np.zeros((total, 2))
    for phase, n, rows in zip(phases, taps, products, strict=True):
        x[rows, phase], w[rows, phase], y[rows] = _BT[n], _G[n], _A[n]
    return x, w, y


def _combined(matrix: np.ndarray, arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """The sums of arrays that the rows of a matrix of few, simple numbers weigh."""

    def term(factor: float, array: jax.Array) -> jax.Array:
        return array if factor == 1 else -array if factor == -1 else float(factor) * array

    rows = ([term(m, a) for m, a in zip(row, arrays, strict=True) if m] for row in matrix)
    return [functools.reduce(jnp.add, terms) for terms in rows]


def _on_both_axes(matrices: tuple[np.ndarray, np.ndarray], grid: Grid) -> list[jax.Array]:
    columns = [_combined(matrices[0], column) for column in zip(*grid, strict=True)]
    return [a for row in zip(*columns, strict=True) for a in _combined(matrices[1], row)]


def _factors_of_x(x: jax.Array, axes: Axes) -> list[jax.Array]:
    first, second = axes
    pixels = _cut(
        x,
        (first.low, second.low),
        (2 * first.stride, 2 * second.stride),
        (first.window + first.stride, second.window + second.stride),
        (-(-first.out // 2), -(-second.out // 2)),
    )
    return _on_both_axes((_filtering(*first[1:])[0], _filtering(*second[1:])[0]), pixels)


def _factors_of_w(w: jax.Array, axes: Axes) -> list[jax.Array]:
    window = axes[0].window, axes[1].window
    taps = _cut(w.reshape(1, *window, -1), (0, 0), window, window, (1, 1))
    taps = [[tap.reshape(w.shape[2:]) for tap in row] for row in taps]
    return _on_both_axes((_filtering(*axes[0][1:])[1], _filtering(*axes[1][1:])[1]), taps)


def _factors_of_y(y: jax.Array, axes: Axes) -> list[jax.Array]:
    places = _cut(y, (0, 0), (2, 2), (2, 2), (-(-axes[0].out // 2), -(-axes[1].out // 2)))
    return _on_both_axes((_filtering(*axes[0][1:])[2], _filtering(*axes[1][1:])[2]), places)


def _winograd_to_y(x: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    products = [a @ b for a, b in zip(_factors_of_x(x, axes), _factors_of_w(w, axes), strict=True)]
    return _transposed(lambda y: _factors_of_y(y, axes), _y_shape(x, w, axes), products)


def _winograd_to_x(y: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    products = [a @ b.T for a, b in zip(_factors_of_y(y, axes), _factors_of_w(w, axes), strict=True)]
    return _transposed(lambda x: _factors_of_x(x, axes), _x_shape(y, w, axes), products)


def _winograd_to_w(x: jax.Array, y: jax.Array, axes: Axes) -> jax.Array:
    products = [a.T @ b for a, b in zip(_factors_of_x(x, axes), _factors_of_y(y, axes), strict=True)]
    return _transposed(lambda w: _factors_of_w(w, axes), _w_shape(x, y, axes), products)


CORRELATIONS = Maps(_correlation, _correlations_of_phases, _correlation_over_examples)
PATCHES = Maps(_patches_to_y, _patches_to_x, _patches_to_w)
WINOGRAD = Maps(_winograd_to_y, _winograd_to_x, _winograd_to_w)


def _fastest(axes: Axes, w: jax.Array | jax.ShapeDtypeStruct) -> Maps:
    """What a CPU runs fastest (benchmarks/convolutions.py)."""
    wide, small = min(w.shape[2:]) >= 64, all(axis.out <= 16 for axis in axes)
    if wide and small and w.dtype == jnp.float32 and all(1 < axis.taps <= 3 for axis in axes):
        return WINOGRAD
    if w.shape[2] <= 4 or any(axis.taps == 1 or axis.window > axis.size for axis in axes):
        return PATCHES
    return CORRELATIONS


def _derived(function: Map, derivatives: Callable[..., tuple[jax.Array, jax.Array]]) -> Map:
    """A bilinear function with its derivatives: `derivatives(a, b, cotangent, axes)`."""
    derived = jax.custom_vjp(function, nondiff_argnums=(2,))
    derived.defvjp(
        lambda a, b, axes: (derived(a, b, axes), (a, b)),
        lambda axes, saved, cotangent: derivatives(*saved, cotangent, axes),
    )
    return derived


_to_y: Map = _derived(
    lambda x, w, axes: _fastest(axes, w).to_y(x, w, axes),
    lambda x, w, y, axes: (_to_x(y, w, axes), _to_w(x, y, axes)),
)
_to_x: Map = _derived(
    lambda y, w, axes: _fastest(axes, w).to_x(y, w, axes),
    lambda y, w, x, axes: (_to_y(x, w, axes), _to_w(x, y, axes)),
)
_to_w: Map = _derived(
    lambda x, y, axes: _fastest(axes, jax.ShapeDtypeStruct(_w_shape(x, y, axes), x.dtype)).to_w(x, y, axes),
    lambda x, y, w, axes: (_to_x(y, w, axes), _to_y(x, w, axes)),
)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def to_y(x: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    """The convolution of x `[B, H, W, I]` with w `[h, w, I, O]`, to `[B, out, out, O]`."""
    return (_to_y if _on_cpu() else _correlation)(x, w, axes)


def to_x(y: jax.Array, w: jax.Array, axes: Axes) -> jax.Array:
    """Its transpose: of y `[B, out, out, O]` and w `[h, w, I, O]`, to `[B, H, W, I]`."""
    return (_to_x if _on_cpu() else _dilated_correlation)(y, w, axes)
