"""The convolutions against lax's own, to the second derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from veegan_jax.models.convolution import Conv, ConvTranspose, pyramid
from veegan_jax.ops import conv_cpu as trilinear
from veegan_jax.ops.conv import conv, conv_transpose
from veegan_jax.ops.conv_cpu import CORRELATIONS, PATCHES, WINOGRAD, Axis

LAYOUT = ("NHWC", "HWIO", "NHWC")
# Strides, kernel sizes and image sizes, odd and even, in no more cases than that takes.
CASES = [
    *((1, k, (7, 8)) for k in (3, 4, 5)),
    *((2, k, (7, 8)) for k in (3, 4, 5)),
    *((2, k, size) for k, size in ((5, (28, 14)), (4, (32, 28)))),
    *((2, k, size) for k, size in ((3, (1, 2)), (5, (4, 4)), (1, (3, 4)))),  # smaller than the kernel, or the stride
]
FORMS = {"correlations": CORRELATIONS, "patches": PATCHES, "winograd": WINOGRAD}
CHANNELS = {"patches": (3, 4), "correlations": (5, 4), "winograd": (64, 64)}  # for which a CPU takes them at 5×5
parametrised = pytest.mark.parametrize(("stride", "window", "size"), CASES)


def lax_conv(x, kernel, stride):
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=LAYOUT)


def lax_conv_transpose(x, kernel, size, stride):
    """The gradient of lax's convolution to its input, by lax's rule."""
    image = jax.ShapeDtypeStruct((x.shape[0], *size, kernel.shape[3]), x.dtype)
    (y,) = jax.linear_transpose(lambda image: lax_conv(image, kernel.swapaxes(2, 3), stride), image)(x)
    return y


def operands(*shapes, dtype="float32"):
    """Of x and a kernel, whose outputs are of one size for any channels: tanh and sin below lose what is far from 0."""
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape) for shape in shapes)
    return jnp.asarray(x, dtype), jnp.asarray(kernel / 5 * np.sqrt(3 / shapes[1][-2]), dtype)


def loss(function):
    """A sum in which nothing cancels, so that its relative error is that of its terms."""
    return lambda x, kernel: jnp.sum(jnp.tanh(function(x, kernel)) ** 2)


def first_order(function):
    return jax.value_and_grad(loss(function), argnums=(0, 1))


def values(function):
    """The function and its gradients."""
    return jax.jit(lambda *a: (function(*a), first_order(function)(*a)))


def second(function):
    """The gradients of a gradient penalty, as R1 takes it, and of the kernel's gradient too."""

    def penalty(x, kernel):
        _, (to_x, to_kernel) = first_order(function)(x, kernel)
        return jnp.sum(to_x**2) + jnp.sum(jnp.sin(to_kernel))

    return jax.jit(jax.grad(penalty, argnums=(0, 1)))


def assert_close(ours, theirs, tolerance=2e-5):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("form", FORMS)
@parametrised
def test_every_form_has_laxs_maps(form, stride, window, size):
    axes = Axis(size[0], window, stride), Axis(size[1], window, stride)
    never = {"correlations": window < stride or min(size) < window, "winograd": axes[0].taps > 3}
    if never.get(form):
        pytest.skip("never chosen there")
    x, kernel = operands((2, *size, 3), (window, window, 3, 4))
    y, pullback = jax.vjp(lambda *a: lax_conv(*a, stride), x, kernel)
    cotangent = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), "float32")
    maps = FORMS[form]
    ours = jax.jit(lambda x, w, y: (maps.to_y(x, w, axes), maps.to_x(y, w, axes), maps.to_w(x, y, axes)))
    assert_close(ours(x, kernel, cotangent), (y, *pullback(cotangent)), tolerance=2e-6)


@pytest.mark.parametrize(
    ("shape", "dtype", "form"),
    [
        ((7, 5, 2, 128, 256), "float32", WINOGRAD),
        ((8, 3, 1, 64, 64), "float32", WINOGRAD),
        ((7, 5, 2, 128, 256), "bfloat16", CORRELATIONS),  # its sums would be rounded
        ((7, 5, 1, 128, 256), "float32", CORRELATIONS),  # no F(2, 5) here
        ((64, 5, 2, 64, 128), "float32", CORRELATIONS),
        ((7, 5, 2, 16, 256), "float32", CORRELATIONS),
        ((28, 5, 2, 3, 64), "float32", PATCHES),
        ((4, 5, 2, 16, 32), "float32", PATCHES),
        ((8, 1, 1, 128, 128), "float32", PATCHES),
    ],
)
def test_which_form_a_cpu_takes(shape, dtype, form):
    size, window, stride, *channels = shape
    w = jax.ShapeDtypeStruct((window, window, *channels), jnp.dtype(dtype))
    assert trilinear._fastest((Axis(size, window, stride),) * 2, w) is form


@parametrised
def test_conv_has_laxs_gradients(stride, window, size):
    x, kernel = operands((2, *size, 3), (window, window, 3, 4))
    assert_close(values(lambda *a: conv(*a, stride))(x, kernel), values(lambda *a: lax_conv(*a, stride))(x, kernel))


@pytest.mark.parametrize("form", CHANNELS)
@pytest.mark.parametrize(("stride", "window", "size"), [CASES[0], CASES[5], CASES[7], CASES[9]])
def test_conv_has_laxs_second_derivatives(stride, window, size, form):
    channels = CHANNELS[form]
    x, kernel = operands((2, *size, channels[0]), (window, window, *channels))
    assert_close(second(lambda *a: conv(*a, stride))(x, kernel), second(lambda *a: lax_conv(*a, stride))(x, kernel))


@parametrised
def test_conv_transpose_is_the_gradient_of_laxs_conv(stride, window, size):
    check_conv_transpose(stride, window, size)


def test_conv_transpose_on_accelerators(monkeypatch):
    """Their form, which runs on any device."""
    monkeypatch.setattr(trilinear, "_on_cpu", lambda: False)
    check_conv_transpose(2, 5, (7, 8))


def check_conv_transpose(stride, window, size):
    small = [-(-n // stride) for n in size]
    x, kernel = operands((2, *small, 4), (window, window, 4, 3))
    ours = values(lambda *a: conv_transpose(*a, size, stride))(x, kernel)
    assert_close(ours, values(lambda *a: lax_conv_transpose(*a, size, stride))(x, kernel))


@pytest.mark.parametrize("channels", [(3, 4), (5, 4)])
def test_bfloat16(channels):
    x, kernel = operands((2, 8, 8, channels[0]), (5, 5, *channels), dtype="bfloat16")
    loss_value, to_x_and_kernel = jax.jit(first_order(lambda *a: conv(*a, 2)))(x, kernel)
    exact, expected = jax.jit(first_order(lambda *a: lax_conv(*a, 2)))(x.astype("float32"), kernel.astype("float32"))
    assert {leaf.dtype for leaf in jax.tree.leaves((loss_value, to_x_and_kernel))} == {jnp.dtype("bfloat16")}
    rounded = jax.tree.map(lambda a: np.asarray(a, "float32"), (loss_value, to_x_and_kernel))
    assert_close(rounded, (exact, expected), tolerance=0.03)


@pytest.mark.parametrize("form", CHANNELS)
@pytest.mark.parametrize("over", ["vmap", "map", "scan", "pmap"])
def test_transformed(over, form):
    """The second derivative under each of JAX's maps: of a batch of images, each with its own kernel."""
    channels = CHANNELS[form]
    x, kernel = operands((4, 2, 8, 8, channels[0]), (4, 5, 5, *channels))
    maps = {
        "vmap": jax.vmap,
        "map": lambda f: lambda *a: jax.lax.map(lambda pair: f(*pair), a),
        "scan": lambda f: lambda *a: jax.lax.scan(lambda carry, pair: (carry, f(*pair)), 0, a)[1],
        "pmap": jax.pmap,
    }
    ours = jax.jit(maps[over](second(lambda *a: conv(*a, 2))))(x, kernel)
    theirs = [second(lambda *a: lax_conv(*a, 2))(*pair) for pair in zip(x, kernel, strict=True)]
    theirs = jax.tree.map(lambda *leaves: np.stack(leaves), *theirs)
    assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("layer", "expected"), [(Conv(4, 5, 2), (2, 4, 4, 4)), (ConvTranspose(4, 5, (15, 16), 2), (2, 15, 16, 4))]
)
def test_layers_have_a_kernel_and_a_bias(layer, expected):
    x = jnp.ones((2, 8, 8, 3))
    params = layer.init(jax.random.key(0), x)["params"]
    assert jax.tree.map(jnp.shape, params) == {"kernel": (5, 5, 3, 4), "bias": (4,)}
    raised = {"kernel": params["kernel"], "bias": jnp.arange(4.0)}
    y = layer.apply({"params": raised}, x)
    assert y.shape == expected
    difference = y - layer.apply({"params": params}, x)
    np.testing.assert_allclose(difference, np.broadcast_to(np.arange(4.0), expected), atol=1e-5)
    low = layer.clone(dtype="bfloat16", use_bias=False)
    assert set(low.init(jax.random.key(0), x)["params"]) == {"kernel"}
    assert low.apply({"params": {"kernel": params["kernel"]}}, x).dtype == jnp.bfloat16


def test_conv_transpose_refuses_a_size_that_no_convolution_takes_there():
    x, kernel = operands((1, 4, 4, 3), (5, 5, 3, 2))
    with pytest.raises(ValueError, match=r"takes \(9, 8\) to \(4, 4\)"):
        conv_transpose(x, kernel, (9, 8), 2)


def test_pyramid():
    assert pyramid((28, 28, 3), 4) == [(28, 28), (14, 14), (7, 7), (4, 4)]
    assert pyramid((8, 12, 1), 4) == [(8, 12), (4, 6)]
    for shape in ((2,), (4, 28, 3), (28, 28)):
        with pytest.raises(
            ValueError, match=r"smallest is 4; the data must be images \[H, W, C\] of more pixels .* are \["
        ):
            pyramid(shape, 4)
    with pytest.raises(ValueError, match="smallest is 0; it must be"):
        pyramid((8, 8, 3), 0)
