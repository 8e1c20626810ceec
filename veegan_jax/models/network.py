"""The contract of a network: pure functions of its parameters; and what wraps one: packing, spectral normalisation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from veegan_jax.ops.axis import bound_axis

Params = Any
Shape = tuple[int, ...]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "leaky_relu": lambda h: jax.nn.leaky_relu(h, 0.2),
    "tanh": jnp.tanh,
    "elu": jax.nn.elu,
    "silu": jax.nn.silu,
}

INITIALISERS: dict[str, nn.initializers.Initializer] = {
    "glorot_uniform": nn.initializers.glorot_uniform(),
    "glorot_normal": nn.initializers.glorot_normal(),
    "he_normal": nn.initializers.he_normal(),
    "lecun_normal": nn.initializers.lecun_normal(),
    "orthogonal": nn.initializers.orthogonal(),
    "normal_0.02": nn.initializers.normal(0.02),
}

# The key at which frozen parameters carry their statistics: linen's name of that collection of variables.
STATISTICS = "batch_stats"


class Network(NamedTuple):
    """A network as pure functions. Its parameters and outputs are float32, whatever it computes in.

    Attributes:
        init: `init(key, *shapes) -> params`, where the shapes are those of one example of each input.
        apply: `apply(params, *inputs) -> output`, where inputs and output are `[B, …]`. Batch normalisation takes the
            statistics of the batch, over all devices, unless `params` are frozen.
        freeze: `freeze(params, *inputs) -> params` returns parameters with the statistics of these inputs, by which
            batch normalisation then always normalises, so that an example's output no longer depends on its batch.
            Where nothing is normalised, it returns the given parameters.
    """

    init: Callable[..., Params]
    apply: Callable[..., jax.Array]
    freeze: Callable[..., Params]


class Nets(NamedTuple):
    """The networks of an architecture, which a method composes.

    Attributes:
        gen: G maps z `[B, K]` and ε `[B, E]`, where E may be 0, to x `[B, *shape]`.
        rec: `rec(outputs)` returns F, which maps x `[B, *shape]` to `[B, outputs]`.
        disc: D maps z `[B, K]`, x `[B, *shape]`, or both in that order, to logits `[B]`. It accepts the inputs whose
            shapes it was initialised with.
    """

    gen: Network
    rec: Callable[[int], Network]
    disc: Network


def from_module(module: nn.Module) -> Network:
    """Returns the network of a linen module, whose variables are parameters and the statistics of `BatchNorm`."""

    def init(key: jax.Array, *shapes: Shape) -> Params:
        return module.init(key, *(jnp.zeros((1, *shape)) for shape in shapes))["params"]

    def apply(params: Params, *inputs: jax.Array) -> jax.Array:
        if STATISTICS in params:
            return jnp.asarray(module.apply(params, *inputs), jnp.float32)
        return jnp.asarray(module.apply({"params": params}, *inputs, mutable=[STATISTICS])[0], jnp.float32)

    def freeze(params: Params, *inputs: jax.Array) -> Params:
        _, found = module.apply({"params": params}, *inputs, mutable=[STATISTICS])
        return with_statistics(params, found[STATISTICS]) if STATISTICS in found else params

    return Network(init, apply, freeze)


def with_statistics(params: Params, statistics: Any) -> Params:
    """Returns parameters that are frozen at given statistics, as `Network.freeze` returns them."""
    return {"params": params, STATISTICS: statistics}


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy, 2015) over all axes but the last, and over all devices.

    It keeps no running averages, because they would belong to the parameters of training, not to the moving average of
    them that is evaluated. `Network.freeze` takes the statistics for evaluation once ("standing statistics", BigGAN,
    Brock et al. 2019).
    """

    dtype: str

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """Maps `[B, …, C]` to the same shape: it computes in float32 and returns `dtype`."""
        frozen = not self.is_mutable_collection(STATISTICS)
        return _Normalise(name="norm")(h.astype(jnp.float32), frozen).astype(self.dtype)


class _Normalise(nn.Module):
    """The arithmetic of `flax.linen.BatchNorm`, with each channel's factor computed before it is given the shape of h.

    XLA rewrites flax's order of the two in one way where a gradient is taken, and in another where none is. It then
    takes the same generator in the losses of two players for different ones, and computes both.
    """

    @nn.compact
    def __call__(self, h: jax.Array, frozen: bool) -> jax.Array:
        shape = h.shape[-1:]
        kept_mean = self.variable(STATISTICS, "mean", lambda: jnp.zeros(shape))
        kept_var = self.variable(STATISTICS, "var", lambda: jnp.ones(shape))
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        if not (frozen or self.is_initializing()):
            axes = tuple(range(h.ndim - 1))
            mean, square = jnp.mean(h, axes), jnp.mean(jnp.square(h), axes)
            if axis := bound_axis():
                mean, square = jax.lax.pmean((mean, square), axis)
            kept_mean.value, kept_var.value = mean, jnp.maximum(square - jnp.square(mean), 0.0)
        mean, factor = kept_mean.value, scale * jax.lax.rsqrt(kept_var.value + 1e-5)
        mean, factor, bias = (value.reshape(*(1,) * (h.ndim - 1), -1) for value in (mean, factor, bias))
        return (h - mean) * factor + bias


def packed(network: Network, m: int) -> Network:
    """Returns a network that sees `m` examples at once (PacGAN, Lin et al. 2018, section 3).

    Inputs `[B, …, C]` become `[B/m, …, m·C]`: `m` neighbours in the batch are concatenated along features or channels.
    """
    if m == 1:
        return network

    def pack(x: jax.Array) -> jax.Array:
        groups = jnp.moveaxis(x.reshape(x.shape[0] // m, m, *x.shape[1:]), 1, -2)
        return groups.reshape(*groups.shape[:-2], m * x.shape[-1])

    def init(key: jax.Array, *shapes: Shape) -> Params:
        return network.init(key, *((*shape[:-1], m * shape[-1]) for shape in shapes))

    def apply(params: Params, *inputs: jax.Array) -> jax.Array:
        return network.apply(params, *map(pack, inputs))

    def freeze(params: Params, *inputs: jax.Array) -> Params:
        return network.freeze(params, *map(pack, inputs))

    return Network(init, apply, freeze)


def spectrally_normalised(network: Network, iterations: int = 10) -> Network:
    """Returns a network that divides each of its kernels by the largest singular value (Miyato et al., ICLR 2018).

    The singular value is that of the kernel as a matrix `[inputs, outputs]`, found by power iteration. Each iteration
    starts from the vector of ones, not from the vector of the last training step as in the paper, so that a network
    remains a function of its parameters alone.

    Args:
        network: The network to normalise.
        iterations: The number of power iterations.
    """

    def normalise(path: Any, leaf: jax.Array) -> jax.Array:
        if path[-1].key != "kernel":
            return leaf
        matrix = leaf.reshape(-1, leaf.shape[-1])
        u = jnp.ones((matrix.shape[-1],))
        for _ in range(iterations):
            v = _unit(jax.lax.stop_gradient(matrix) @ u)
            u = _unit(v @ jax.lax.stop_gradient(matrix))
        sigma = v @ matrix @ u
        return leaf / jnp.where(sigma > 0, sigma, 1.0)  # a kernel of zeros stays one

    def apply(params: Params, *inputs: jax.Array) -> jax.Array:
        return network.apply(jax.tree_util.tree_map_with_path(normalise, params), *inputs)

    return Network(network.init, apply, lambda params, *inputs: params)


def _unit(v: jax.Array) -> jax.Array:
    return v / (jnp.linalg.norm(v) + 1e-12)
