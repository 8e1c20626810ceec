"""The contract of `Nets` for every architecture, batch normalisation, and packing."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from veegan_jax.errors import UserError
from veegan_jax.models import MODELS
from veegan_jax.models.network import INITIALISERS, BatchNorm, Network, from_module, packed
from veegan_jax.ops.axis import AXIS

SHAPE = (8, 8, 3)
SMALL = {
    "dcgan": {"base_width": 4, "rec_hidden": (16,), "disc_hidden": (8,), "disc_x_hidden": (24,)},
    "mlp": {"gen_hidden": (16,), "rec_hidden": (16,), "disc_hidden": (8,)},
    "resnet": {"base_width": 4, "rec_hidden": (16,), "disc_hidden": (8,)},
}
WITHOUT_NORM = {"dcgan": {"gen_norm": "none", "rec_norm": "none", "disc_norm": "none"}, "mlp": {}, "resnet": {}}
EVERY = pytest.mark.parametrize("name", sorted(MODELS))


def small(name, *, shape=SHAPE, bounded=True, dtype="float32", **options):
    return MODELS[name](shape=shape, bounded=bounded, dtype=dtype, **(SMALL[name] | options))


def normals(*shape, seed=0):
    """Standard normals, drawn by numpy, which compiles nothing."""
    return jnp.asarray(
        np.random.default_rng(seed).normal(size=shape), "float64" if jax.config.jax_enable_x64 else "float32"
    )


def cases(nets):
    """Each use of a net: the net, its inputs for a batch of 4, and the shape of its output."""
    z, eps, x = normals(4, 5), normals(4, 2), normals(4, *SHAPE)
    return [
        (nets.gen, (z, eps), (4, *SHAPE)),
        (nets.rec(7), (x,), (4, 7)),
        (nets.disc, (z, x), (4,)),
        (nets.disc, (x,), (4,)),
        (nets.disc, (z,), (4,)),
    ]


def initialised(net, inputs):
    """The parameters of seed 0, compiled in one piece, which is faster."""
    return jax.jit(lambda key: net.init(key, *(i.shape[1:] for i in inputs)))(jax.random.key(0))


@functools.cache
def initialised_cases(name):
    """`cases` with the parameters of each net, made once for all tests."""
    used = cases(small(name))
    params = jax.jit(lambda key: [net.init(key, *(i.shape[1:] for i in inputs)) for net, inputs, _ in used])
    return [(*case, p) for case, p in zip(used, params(jax.random.key(0)), strict=True)]


def raised(params):
    """Parameters moved away from their initial values, of which some are 0 and hide others."""
    return jax.tree.map(
        lambda leaf: jnp.asarray(np.asarray(leaf) + 0.1 * np.asarray(normals(*leaf.shape, seed=3))), params
    )


def outlined(net, *shapes):
    """The shapes of the parameters."""
    return jax.eval_shape(lambda key: net.init(key, *shapes), jax.random.key(0))


@EVERY
def test_shapes_and_dtypes(name):
    """Parameters and outputs are always float32; computing in bfloat16 gives other, similar outputs."""
    low_cases = cases(small(name, dtype="bfloat16"))
    for (net, inputs, expected, params), (low, _, _) in zip(initialised_cases(name), low_cases, strict=True):
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
        outputs = jax.jit(lambda *a, nets=(net, low): [n.apply(*a) for n in nets])(params, *inputs)
        for output in outputs:
            chex.assert_shape(output, expected)
            assert output.dtype == jnp.float32
        difference = np.max(np.abs(np.subtract(*outputs)))
        assert 0 < difference < 0.1 * np.max(np.abs(outputs[0]))


@EVERY
def test_no_generator_noise(name):
    gen = small(name).gen
    inputs = (normals(4, 5), normals(4, 0))
    chex.assert_shape(jax.jit(gen.apply)(initialised(gen, inputs), *inputs), (4, *SHAPE))


@EVERY
def test_every_input_and_every_parameter_matters(name):
    """No input is dropped, and no parameter is dead: the gradient of one that is would be exactly 0."""
    for net, inputs, expected, initial in initialised_cases(name):
        params = raised(initial)
        weights = normals(*expected, seed=1)
        weighted = lambda a, net=net, weights=weights: jnp.sum(net.apply(*a) * weights)  # noqa: E731
        gradients = jax.jit(jax.grad(weighted))((params, *inputs))
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
            assert np.any(np.asarray(leaf) != 0), path


@EVERY
def test_only_bounded_generators_end_in_a_tanh(name):
    z, eps = 100 * normals(4, 5), normals(4, 0)
    bounded, free = (small(name, bounded=b).gen for b in (True, False))
    params = jax.tree.map(lambda leaf: 10 * leaf, initialised(bounded, (z, eps)))
    x_bounded, x_free = jax.jit(lambda params: [gen.apply(params, z, eps) for gen in (bounded, free)])(params)
    assert jnp.max(jnp.abs(x_free)) > 1.5
    np.testing.assert_allclose(x_bounded, jnp.tanh(x_free), atol=1e-6)


def test_outputs_of_frozen_nets_do_not_depend_on_the_batch():
    for net, inputs, _, params in initialised_cases("dcgan"):
        apply = jax.jit(net.apply)
        frozen = jax.jit(net.freeze)(params, *inputs)
        whole = apply(frozen, *inputs)
        np.testing.assert_allclose(whole, apply(params, *inputs), atol=1e-5, err_msg="the batch of the statistics")
        alone = apply(frozen, *(i[:1] for i in inputs))
        np.testing.assert_allclose(alone, whole[:1], atol=1e-5)


@EVERY
def test_without_norm_there_is_nothing_to_freeze(name):
    for net, inputs, _ in cases(small(name, **WITHOUT_NORM[name])):
        same = []
        jax.eval_shape(
            lambda params, net=net, inputs=inputs, same=same: same.append(net.freeze(params, *inputs) is params),
            outlined(net, *(i.shape[1:] for i in inputs)),
        )
        assert same == [True]


@EVERY
def test_gradient_penalty_has_gradients(name):
    """R1's gradient, of second derivatives, agrees with a finite difference that is too small to cross a kink."""
    with jax.enable_x64(True):
        disc = small(name, dtype="float64", **WITHOUT_NORM[name]).disc
        x = normals(4, *SHAPE)

        def penalty(params):
            return jnp.sum(jax.grad(lambda x: jnp.sum(disc.apply(params, x)))(x) ** 2)

        params = raised(jax.tree.map(jnp.float64, initialised(disc, (x,))))
        direction = jax.tree.map(lambda leaf: normals(*leaf.shape, seed=2), params)
        moved = jax.jit(lambda step: penalty(jax.tree.map(lambda p, d: p + step * d, params, direction)))
        difference = (moved(1e-6) - moved(-1e-6)) / 2e-6
        assert abs(difference) > 0.1
        np.testing.assert_allclose(jax.jit(jax.grad(moved))(0.0), difference, rtol=1e-6)


def test_additive_noise_reaches_the_last_outputs_alone():
    gen = small("mlp", shape=(6,), bounded=False, additive_noise=True).gen
    z, eps = normals(4, 5), normals(4, 2, seed=1)
    params = raised(initialised(gen, (z, eps)))
    added = np.asarray(gen.apply(params, z, eps) - gen.apply(params, z, 0 * eps))
    np.testing.assert_allclose(added[:, 4:], np.asarray(params["gain"]) * np.asarray(eps), atol=1e-5)
    np.testing.assert_array_equal(added[:, :4], 0)
    np.testing.assert_array_equal(initialised(gen, (z, eps))["gain"], 1)


def test_additive_noise_of_more_coordinates_than_outputs_is_refused():
    gen = small("mlp", shape=(6,), bounded=False, additive_noise=True).gen
    with pytest.raises(UserError, match="config.noise_dim is 7; it must be at most 6"):
        gen.init(jax.random.key(0), (5,), (7,))


@pytest.mark.parametrize("init", sorted(INITIALISERS))
def test_initialisers(init):
    rec = small("mlp", init=init).rec(5)
    kernels = jax.tree.leaves(rec.init(jax.random.key(0), SHAPE))
    chex.assert_tree_all_finite(kernels)
    assert any(jnp.std(kernel) > 0 for kernel in kernels)


@pytest.mark.parametrize(("shape", "layers"), [((28, 28, 3), 3), ((32, 32, 3), 3), ((64, 64, 3), 4), ((8, 8, 1), 1)])
def test_dcgan_has_a_layer_for_each_halving(shape, layers):
    nets = small("dcgan", shape=shape, disc_ratio=0.5)
    params = {"gen": outlined(nets.gen, (5,), (0,)), "disc": outlined(nets.disc, shape)}
    upwards = [params["gen"][f"ConvTranspose_{i}"]["kernel"].shape for i in range(layers)]
    widths = [4 * 2**i for i in range(layers)]
    inputs = widths[::-1]
    assert upwards == [(5, 5, i, o) for i, o in zip(inputs, [*inputs[1:], shape[-1]], strict=True)]
    downwards = [params["disc"]["trunk"][f"Conv_{i}"]["kernel"].shape[-1] for i in range(layers)]
    assert downwards == [width // 2 for width in widths]
    assert jax.eval_shape(nets.gen.apply, params["gen"], normals(4, 5), normals(4, 0)).shape == (4, *shape)


def test_dcgan_normalises_all_but_the_first_layer_of_d_and_f_and_the_last_of_g():
    nets = small("dcgan", shape=(16, 16, 3))
    for params, norms in (
        (outlined(nets.gen, (5,), (0,)), 2),
        (outlined(nets.disc, (16, 16, 3))["trunk"], 1),
        (outlined(nets.rec(5), (16, 16, 3))["trunk"], 1),
    ):
        assert sum(key.startswith("BatchNorm") for key in params) == norms


def test_dcgan_has_hidden_layers_of_their_own_for_pairs_and_for_images_alone():
    disc = small("dcgan", disc_x_hidden=()).disc
    assert set(outlined(disc, SHAPE)["Mlp_0"]) == {"Dense_0"}
    assert set(outlined(disc, (5,), SHAPE)["Mlp_0"]) == {"Dense_0", "Dense_1"}
    disc = small("dcgan", disc_hidden=(7,), disc_x_hidden=(6, 5)).disc
    assert [outlined(disc, SHAPE)["Mlp_0"][f"Dense_{i}"]["bias"].shape for i in range(3)] == [(6,), (5,), (1,)]
    assert outlined(disc, (5,), SHAPE)["Mlp_0"]["Dense_0"]["bias"].shape == (7,)
    disc = small("dcgan").disc
    assert set(outlined(disc, (5,))) == {"Mlp_0"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "dcgan",
            {"shape": (2,)},
            r"smallest is 4; the data must be images \[H, W, C\] of more pixels a side, and these are \[2\]",
        ),
        (
            "resnet",
            {"shape": (4, 4, 3)},
            r"smallest is 4; the data must be images \[H, W, C\] of more pixels a side, and these are \[4, 4, 3\]",
        ),
        ("dcgan", {"disc_ratio": 0.0}, "disc_ratio is 0.0; it must be more than 0"),
        ("mlp", {"additive_noise": True}, "additive_noise is True; it is for data that are vectors without bounds"),
        ("dcgan", {"base_width": 0}, "base_width is 0; it must be 1 or more"),
        ("resnet", {"blocks": 0}, "blocks is 0; it must be 1 or more"),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises(ValueError, match=message):
        small(name, **options)


def test_resnet_starts_as_its_skip_connections():
    """The blocks add nothing at the start, whatever their first layers are, and something once their last has moved."""
    gen = small("resnet", blocks=2).gen
    inputs = (normals(4, 5), normals(4, 0))
    params, apply = initialised(gen, inputs), jax.jit(gen.apply)
    stages, output = params["stages"], apply(params, *inputs)
    for layer, changes in (("Dense_0", False), ("Conv_0", False), ("Dense_1", True)):
        moved = {k: v | {layer: raised(v[layer])} if k.startswith("Block") else v for k, v in stages.items()}
        difference = jnp.max(jnp.abs(apply(params | {"stages": moved}, *inputs) - output))
        assert (difference > 0.01) == changes, layer


class Normalised(nn.Module):
    """A linear layer and batch normalisation."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        return BatchNorm(self.dtype)(nn.Dense(3, dtype=self.dtype)(x))


@pytest.fixture
def net():
    return from_module(Normalised())


@pytest.fixture
def params(net):
    return raised(initialised(net, (X,)))


# Every device's part of the batch has another mean.
X = normals(8, 4, 5) + jnp.arange(8.0).reshape(8, 1, 1)


def test_batch_norm_takes_the_statistics_of_the_batch(net, params):
    h = np.asarray(nn.Dense(3).apply({"params": params["Dense_0"]}, X))
    scale, bias = (np.asarray(params["BatchNorm_0"]["norm"][leaf]) for leaf in ("scale", "bias"))
    expected = scale * (h - h.mean((0, 1))) / np.sqrt(h.var((0, 1)) + 1e-5) + bias
    np.testing.assert_allclose(net.apply(params, X), expected, atol=1e-5)


def test_batch_norm_frozen_normalises_by_what_it_was_frozen_on(net, params):
    frozen = net.freeze(params, X)
    np.testing.assert_allclose(net.apply(frozen, X[2:3]), net.apply(params, X)[2:3], atol=1e-5)
    assert jnp.max(jnp.abs(net.apply(params, X[2:3]) - net.apply(frozen, X[2:3]))) > 0.5


def loss(net, params, x):
    """A mean over examples, as a training loss is."""
    return jnp.mean(jnp.sum(jnp.sin(net.apply(params, x)), axis=(1, 2)))


def on_devices(function):
    """A function of replicated parameters and a part of the batch, on 4 devices."""
    return jax.pmap(function, axis_name=AXIS, in_axes=(None, 0), devices=jax.devices()[:4])


def test_batch_norm_is_that_of_the_whole_batch_on_any_number_of_devices(net, params):
    parts = X.reshape(4, 2, 4, 5)
    outputs = on_devices(net.apply)(params, parts)
    np.testing.assert_allclose(outputs.reshape(8, 4, 3), net.apply(params, X), atol=1e-5)
    frozen = on_devices(net.freeze)(params, parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[3], b, atol=1e-5), frozen, net.freeze(params, X))


def test_batch_norm_has_the_gradients_of_the_whole_batch_on_any_number_of_devices(net, params):
    def gradients(params, x):
        to_params, to_x = jax.grad(lambda p, x: loss(net, p, x), argnums=(0, 1))(params, x)
        return jax.lax.pmean(to_params, AXIS), to_x

    to_params, to_x = on_devices(gradients)(params, X.reshape(4, 2, 4, 5))
    expected, expected_to_x = jax.grad(lambda p, x: loss(net, p, x), argnums=(0, 1))(params, X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, atol=1e-5), to_params, expected)
    np.testing.assert_allclose(to_x.reshape(X.shape) / 4, expected_to_x, atol=1e-5)


def test_batch_norm_in_bfloat16_has_statistics_in_float32():
    low = from_module(Normalised("bfloat16"))
    params = low.init(jax.random.key(0), (4, 5))
    frozen = low.freeze(params, X)
    assert {leaf.dtype for leaf in jax.tree.leaves(frozen)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(low.apply(params, X), from_module(Normalised()).apply(params, X), atol=0.05)


def test_packing_concatenates_neighbours_along_the_last_axis():
    echo = Network(init=lambda key, *shapes: shapes, apply=lambda params, *inputs: inputs, freeze=None)
    two = packed(echo, 2)
    assert two.init(jax.random.key(0), (3,), (8, 8, 1)) == ((6,), (8, 8, 2))
    z = jnp.arange(12.0).reshape(4, 3)
    x = jnp.arange(4 * 64.0).reshape(4, 8, 8, 1)
    packed_z, packed_x = two.apply(None, z, x)
    np.testing.assert_array_equal(packed_z, np.arange(12.0).reshape(2, 6))
    chex.assert_shape(packed_x, (2, 8, 8, 2))
    np.testing.assert_array_equal(packed_x[1, ..., 0], x[2, ..., 0])
    np.testing.assert_array_equal(packed_x[1, ..., 1], x[3, ..., 0])
