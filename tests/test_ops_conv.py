"""The convolutions against lax's own, to the second derivative, and the forms in which each platform gets them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from veegan_jax.models.convolution import Conv, ConvTranspose, pyramid
from veegan_jax.models.dcgan import dcgan
from veegan_jax.ops import conv as ops
from veegan_jax.ops import conv_cpu
from veegan_jax.ops.conv import conv, conv_transpose
from veegan_jax.ops.conv_cpu import Axis, Layer

LAYOUT = ("NHWC", "HWIO", "NHWC")
# Strides, kernel sizes and image sizes, odd and even, in as few cases as that takes.
CASES = [
    *((1, k, (7, 8)) for k in (3, 4, 5)),
    *((2, k, (7, 8)) for k in (3, 4, 5)),
    *((2, k, size) for k, size in ((5, (28, 14)), (4, (32, 28)))),
    *((2, k, size) for k, size in ((3, (1, 2)), (5, (4, 4)), (1, (3, 4)))),  # smaller than the kernel, or the stride
]
# The least layer that Winograd's algorithm is for.
WIDE = Layer(32, 64, 64, np.dtype("float32"))
parametrised = pytest.mark.parametrize(("stride", "window", "size"), CASES)


def lax_conv(x, kernel, stride):
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=LAYOUT)


def lax_conv_transpose(x, kernel, size, stride):
    """Returns the gradient of lax's convolution to its input, by lax's rule."""
    image = jax.ShapeDtypeStruct((x.shape[0], *size, kernel.shape[3]), x.dtype)
    (y,) = jax.linear_transpose(lambda image: lax_conv(image, kernel.swapaxes(2, 3), stride), image)(x)
    return y


def operands(*shapes, dtype="float32"):
    """Returns images and a kernel whose outputs are as large for any channels: tanh and sin lose what is far from 0."""
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape) for shape in shapes)
    return jnp.asarray(x, dtype), jnp.asarray(kernel / 5 * np.sqrt(3 / shapes[1][-2]), dtype)


def loss(function):
    """Returns a sum in which nothing cancels, so that its relative error is that of its terms."""
    return lambda x, kernel: jnp.sum(jnp.tanh(function(x, kernel)) ** 2)


def first_order(function):
    return jax.value_and_grad(loss(function), argnums=(0, 1))


def values(function):
    """Returns a function of the value and the gradients of a function."""
    return jax.jit(lambda *a: (function(*a), first_order(function)(*a)))


def second(function):
    """Returns the gradients of a penalty on both gradients, the first of which R1 takes."""

    def penalty(x, kernel):
        _, (input_grad, kernel_grad) = first_order(function)(x, kernel)
        return jnp.sum(input_grad**2) + jnp.sum(jnp.sin(kernel_grad))

    return jax.jit(jax.grad(penalty, argnums=(0, 1)))


def assert_close(ours, theirs, tolerance=2e-5):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@parametrised
def test_every_form_has_laxs_values(stride, window, size):
    axes = Axis(size[0], window, stride), Axis(size[1], window, stride)
    x, kernel = operands((2, *size, 3), (window, window, 3, 4))
    y, pullback = jax.vjp(lambda *a: lax_conv(*a, stride), x, kernel)
    cotangent = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), "float32")
    input_grad, kernel_grad = pullback(cotangent)
    convs = [ops.lax_conv, conv_cpu.direct_conv, conv_cpu.conv_by_windows]
    input_grads = [ops.lax_input_grad, conv_cpu.dilated_input_grad, conv_cpu.input_grad_by_windows]
    if stride <= window <= min(size):  # it is never chosen for others
        input_grads.append(conv_cpu.input_grad_by_phases)
    kernel_grads = [ops.lax_kernel_grad, conv_cpu.kernel_grad_over_examples]

    @jax.jit
    def all_forms(x, kernel, y):
        return (
            [form(x, kernel, axes) for form in convs],
            [form(y, kernel, axes) for form in input_grads],
            [form(x, y, axes) for form in kernel_grads],
        )

    ours = all_forms(x, kernel, cotangent)
    theirs = [y] * len(convs), [input_grad] * len(input_grads), [kernel_grad] * len(kernel_grads)
    assert_close(ours, theirs, tolerance=2e-6)


@pytest.mark.parametrize(
    ("stride", "window", "size"),
    [(1, 2, (3, 2)), (1, 3, (4, 3)), *((2, k, (7, 8)) for k in (3, 4, 5, 6)), (2, 5, (5, 4)), (3, 7, (12, 10))],
)
def test_winograds_algorithm_has_laxs_values(stride, window, size):
    """Rounding errors are a few times those of the direct forms; a wrong sign or place gives errors far larger."""
    axes = Axis(size[0], window, stride), Axis(size[1], window, stride)
    x, kernel = operands((2, *size, 3), (window, window, 3, 4))
    y, pullback = jax.vjp(lambda *a: lax_conv(*a, stride), x, kernel)
    cotangent = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), "float32")
    ours = (
        conv_cpu.winograd_conv(x, kernel, axes),
        conv_cpu.winograd_input_grad(cotangent, kernel, axes),
        conv_cpu.winograd_kernel_grad(x, cotangent, axes),
    )
    assert_close(ours, (y, *pullback(cotangent)), tolerance=1e-5)


DIRECT = "direct_conv input_grad_by_phases kernel_grad_over_examples"
WINDOWS = "conv_by_windows input_grad_by_windows kernel_grad_over_examples"
WINOGRAD = "winograd_conv winograd_input_grad winograd_kernel_grad"


@pytest.mark.parametrize(
    ("size", "window", "stride", "layer", "forms"),
    [
        (14, 5, 2, WIDE, DIRECT),
        (28, 5, 2, WIDE._replace(inputs=3), "direct_conv dilated_input_grad kernel_grad_over_examples"),
        (7, 5, 2, WIDE._replace(inputs=3), DIRECT),  # the kernel is larger than the outputs
        (4, 5, 2, WIDE._replace(inputs=32), WINDOWS),  # the kernel is larger than the images
        (8, 1, 2, WIDE, "direct_conv input_grad_by_windows kernel_grad_over_examples"),  # phases without a pixel of it
        *((size, window, stride, WIDE, WINOGRAD) for size, window, stride in ((7, 5, 2), (8, 6, 2), (4, 3, 1))),
        (7, 5, 2, WIDE._replace(batch=31), DIRECT),
        (7, 5, 2, WIDE._replace(outputs=63), DIRECT),
        (7, 5, 2, WIDE._replace(dtype=np.dtype(jnp.bfloat16)), DIRECT),  # the values at points would be rounded
        (4, 4, 1, WIDE, DIRECT),  # there are too few points
    ],
)
def test_which_forms_a_cpu_takes(size, window, stride, layer, forms):
    axes = (Axis(size, window, stride),) * 2
    choices = conv_cpu.conv_form, conv_cpu.input_grad_form, conv_cpu.kernel_grad_form
    assert [choose(axes, layer).__name__ for choose in choices] == forms.split()


def float32(*shape):
    return jax.ShapeDtypeStruct(shape, "float32")


def lowered(function, platform, *arrays):
    """Returns the program of a function of such arrays, lowered for a platform that need not be here."""
    return jax.jit(function).trace(*arrays).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_accelerators_have_laxs_convolutions(platform):
    """A CPU's forms would be slow there: they gave the discriminator's gradient no convolution and 301 products."""
    disc = dcgan(shape=(28, 28, 3), bounded=True, dtype="float32", base_width=4).disc
    params = jax.eval_shape(lambda key: disc.init(key, (10,), (28, 28, 3)), jax.random.key(0))
    grad = jax.grad(lambda params, z, x: jnp.mean(disc.apply(params, z, x)))
    program = lowered(grad, platform, params, float32(8, 10), float32(8, 28, 28, 3))
    assert program.count("stablehlo.convolution") == 8  # three layers' values, kernels and, but for the first, inputs
    assert program.count("stablehlo.dot_general") == 5
    assert program.count("stablehlo.concatenate") == 1  # z with the features: there are no windows


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_accelerators_differentiate_as_lax_does(platform):
    def convolutions(function):
        program = lowered(first_order(function), platform, float32(2, 8, 8, 3), float32(5, 5, 3, 4))
        return sorted(re.findall(r"stablehlo\.convolution\(.*?\) (.*)", program))

    assert convolutions(lambda *a: conv(*a, 2)) == convolutions(lambda *a: lax_conv(*a, 2))


def test_one_program_for_several_platforms():
    x, kernel = operands((2, 8, 8, 3), (5, 5, 3, 4))
    exported = jax.export.export(values(lambda *a: conv(*a, 2)), platforms=("cpu", "tpu", "cuda"))(x, kernel)
    assert_close(exported.call(x, kernel), values(lambda *a: lax_conv(*a, 2))(x, kernel))


@parametrised
def test_conv_has_laxs_gradients(stride, window, size):
    x, kernel = operands((2, *size, 3), (window, window, 3, 4))
    assert_close(values(lambda *a: conv(*a, stride))(x, kernel), values(lambda *a: lax_conv(*a, stride))(x, kernel))


@parametrised
def test_conv_transpose_is_the_gradient_of_laxs_conv(stride, window, size):
    small = [-(-n // stride) for n in size]
    x, kernel = operands((2, *small, 4), (window, window, 4, 3))
    ours = values(lambda *a: conv_transpose(*a, size, stride))(x, kernel)
    assert_close(ours, values(lambda *a: lax_conv_transpose(*a, size, stride))(x, kernel))


@pytest.mark.parametrize("channels", [(3, 4), (5, 4)])
@pytest.mark.parametrize(("stride", "window", "size"), [CASES[0], CASES[5], CASES[7], CASES[9]])
def test_conv_has_laxs_second_derivatives(stride, window, size, channels):
    x, kernel = operands((2, *size, channels[0]), (window, window, *channels))
    assert_close(second(lambda *a: conv(*a, stride))(x, kernel), second(lambda *a: lax_conv(*a, stride))(x, kernel))


# Layers in bfloat16 whose gradient to x is taken in each of the forms.
@pytest.mark.parametrize(("size", "channels"), [(16, (3, 4)), (8, (5, 4)), (4, (5, 4))])
def test_bfloat16(size, channels):
    x, kernel = operands((2, size, size, channels[0]), (5, 5, *channels), dtype="bfloat16")
    loss_value, grads = jax.jit(first_order(lambda *a: conv(*a, 2)))(x, kernel)
    exact, expected = jax.jit(first_order(lambda *a: lax_conv(*a, 2)))(x.astype("float32"), kernel.astype("float32"))
    assert {leaf.dtype for leaf in jax.tree.leaves((loss_value, grads))} == {jnp.dtype("bfloat16")}
    rounded = jax.tree.map(lambda a: np.asarray(a, "float32"), (loss_value, grads))
    assert_close(rounded, (exact, expected), tolerance=0.03)


def over_devices(function):
    """Returns a function of a batch, an example on each device, by shard_map."""
    mesh, spec = jax.sharding.Mesh(jax.devices()[:4], "examples"), jax.sharding.PartitionSpec("examples")
    return jax.shard_map(jax.vmap(function), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)


MAPS = {
    "vmap": jax.vmap,
    "map": lambda function: lambda *a: jax.lax.map(lambda pair: function(*pair), a),
    "scan": lambda function: lambda *a: jax.lax.scan(lambda carry, pair: (carry, function(*pair)), 0, a)[1],
    "pmap": jax.pmap,
    "shard_map": over_devices,
}


@pytest.fixture(scope="module", params=[(16, (3, 4)), (8, (5, 4)), (4, (5, 4))], ids=["dilated", "phases", "windows"])
def batch(request):
    """Batches of images, each with its own kernel, and lax's second derivatives of them."""
    size, channels = request.param
    pairs = operands((4, 2, size, size, channels[0]), (4, 5, 5, *channels))
    theirs = second(lambda *a: lax_conv(*a, 2))
    theirs = [theirs(*pair) for pair in zip(*pairs, strict=True)]
    return pairs, jax.tree.map(lambda *leaves: np.stack(leaves), *theirs)


@pytest.mark.parametrize("over", MAPS)
def test_second_derivatives_under_maps(over, batch):
    pairs, theirs = batch
    assert_close(jax.jit(MAPS[over](second(lambda *a: conv(*a, 2))))(*pairs), theirs)


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
