"""What a network is to the rest of the code: two pure functions."""

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


# Where frozen parameters carry their statistics, by linen's name of the collection.
STATISTICS = "batch_stats"


class Network(NamedTuple):
    """A network as pure functions. Parameters are float32; outputs are float32, whatever it computes in.

    Attributes:
        init: `init(key, *shapes) -> params`, the shapes being those of one example of each input.
        apply: `apply(params, *inputs) -> output`, inputs and output with a leading batch axis `[B, …]`. Batch
            normalisation takes the statistics of the batch, over all devices, unless `params` are frozen.
        freeze: `freeze(params, *inputs) -> params` that normalise by the statistics of these inputs ever after, so that
            an example's output no longer depends on its batch; the same parameters where nothing is normalised.
    """

    init: Callable[..., Params]
    apply: Callable[..., jax.Array]
    freeze: Callable[..., Params]


class Nets(NamedTuple):
    """What an architecture gives an objective to compose.

    Attributes:
        gen: G, from z `[B, K]` and ε `[B, E]` (E may be 0) to x `[B, *shape]`.
        rec: a function of a number of outputs to F, from x `[B, *shape]` to `[B, outputs]`.
        disc: D, from whichever of z `[B, K]` and x `[B, *shape]` it is initialised with, in that order, to `[B]`.
    """

    gen: Network
    rec: Callable[[int], Network]
    disc: Network


def from_module(module: nn.Module) -> Network:
    """Wraps a linen module whose variables are parameters, and statistics of `batch_norm`."""

    def init(key: jax.Array, *shapes: Shape) -> Params:
        return module.init(key, *(jnp.zeros((1, *shape)) for shape in shapes))["params"]

    def apply(params: Params, *inputs: jax.Array) -> jax.Array:
        if STATISTICS in params:
            return jnp.asarray(module.apply(params, *inputs), jnp.float32)
        return jnp.asarray(module.apply({"params": params}, *inputs, mutable=[STATISTICS])[0], jnp.float32)

    def freeze(params: Params, *inputs: jax.Array) -> Params:
        _, found = module.apply({"params": params}, *inputs, mutable=[STATISTICS])
        return {"params": params, STATISTICS: found[STATISTICS]} if STATISTICS in found else params

    return Network(init, apply, freeze)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy, 2015) over all axes but the last, and over all devices.

    It keeps no running averages: they would be those of other parameters than the averaged ones that are evaluated. The
    statistics to evaluate with are taken once, by `Network.freeze` ("standing statistics", Brock et al. 2019, BigGAN).
    """

    dtype: str

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """Maps `[B, …, C]` to the same shape, in float32 and then to `dtype`."""
        frozen = not self.is_mutable_collection(STATISTICS)
        norm = nn.BatchNorm(momentum=0.0, epsilon=1e-5, axis_name=bound_axis(), name="norm")
        return norm(h.astype(jnp.float32), use_running_average=frozen).astype(self.dtype)


def packed(network: Network, m: int) -> Network:
    """The same network judging `m` examples at once (PacGAN, Lin et al. 2018, section 3).

    Inputs `[B, …, C]` become `[B/m, …, m·C]`: neighbours in the batch are concatenated along features or channels.
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
    """The same network with every kernel divided by its largest singular value (Miyato et al., ICLR 2018).

    The singular value is that of the kernel as a matrix `[inputs, outputs]`, found by power iteration. It starts anew
    from the same vector every time, rather than from the last step's, so that a network stays a function of its
    parameters alone.
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
        return leaf / jnp.where(sigma > 0, sigma, 1.0)  # a kernel that starts at 0 stays 0

    def apply(params: Params, *inputs: jax.Array) -> jax.Array:
        return network.apply(jax.tree_util.tree_map_with_path(normalise, params), *inputs)

    return Network(network.init, apply, lambda params, *inputs: params)


def _unit(v: jax.Array) -> jax.Array:
    return v / (jnp.linalg.norm(v) + 1e-12)
