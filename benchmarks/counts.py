"""The floating-point operations and the memory of a VEEGAN step, counted from the shapes of its nets.

Only products count: a linear layer with I inputs and O outputs has 2·B·I·O operations for B examples, and a convolution
has as many for each place of its window, places at the edges included. Activations, draws and updates are elementwise,
and small beside the products.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from benchmarks.peers.naive_jax import laxs_convolutions
from veegan_jax.config.build import Experiment
from veegan_jax.train.compile import abstract_state
from veegan_jax.train.step import turns

# The generator's loss of these families has the logits of real examples in it.
PAIRED = {"relativistic"}


class Product(NamedTuple):
    """One product of a forward pass.

    Attributes:
        flops: the number of its floating-point operations.
        outputs: the number of its outputs.
        learned: whether one of its factors is a kernel; an interpolation has none.
        first: whether its other factor is made of the net's inputs without any kernel.
    """

    flops: int
    outputs: int
    learned: bool
    first: bool


class NetCost(NamedTuple):
    """The floating-point operations of the passes through a net on one batch, and what the forward pass keeps.

    Attributes:
        forward: from inputs to outputs.
        kernels: the gradients of the kernels.
        through: the gradients of what is between the layers.
        to_inputs: the gradients of the inputs, beside those of `through`.
        last: the last layer of the forward pass.
        outputs: the number of the layers' outputs.
    """

    forward: int
    kernels: int
    through: int
    to_inputs: int
    last: int
    outputs: int


def net_cost(net: Any, params: Any, *inputs: jax.ShapeDtypeStruct) -> NetCost:
    """Returns the cost of a net on a batch of these shapes."""
    with laxs_convolutions():
        jaxpr = jax.make_jaxpr(net.apply)(params, *inputs).jaxpr
    num_params = len(jax.tree.leaves(params))
    kinds = [(True, False)] * num_params + [(False, True)] * (len(jaxpr.invars) - num_params)
    found = list(_products(jaxpr, kinds)[0])
    return NetCost(
        forward=sum(p.flops for p in found),
        kernels=sum(p.flops for p in found if p.learned),
        through=sum(p.flops for p in found if not p.first),
        to_inputs=sum(p.flops for p in found if p.first),
        last=found[-1].flops,
        outputs=sum(p.outputs for p in found),
    )


# Whether a value depends on parameters, and whether it depends on inputs.
Kind = tuple[bool, bool]


def _products(jaxpr: Any, kinds: Sequence[Kind]) -> tuple[list[Product], list[Kind]]:
    """Returns the products of a program whose arguments are of these kinds, and the kinds of its results."""
    known: dict[Any, Kind] = dict(zip(jaxpr.invars, kinds, strict=True))
    products: list[Product] = []

    def kind_of(atom: Any) -> Kind:
        return (False, False) if isinstance(atom, Literal) else known.get(atom, (False, False))

    for equation in jaxpr.eqns:
        given = [kind_of(atom) for atom in equation.invars]
        joined = any(kind[0] for kind in given), any(kind[1] for kind in given)
        results: list[Kind] = [joined] * len(equation.outvars)
        for inner in _programs(equation):
            consts = len(inner.invars) - len(given)
            found, results = _products(inner, [*[(False, False)] * consts, *given][-len(inner.invars) :])
            products += found
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            data = next(kind for kind in given if kind[1])
            products.append(Product(*_size(equation), (True, False) in given, not data[0]))
        known.update(zip(equation.outvars, results, strict=True))
    return products, [kind_of(atom) for atom in jaxpr.outvars]


def _programs(equation: Any) -> Iterator[Any]:
    """Yields the program that an equation calls, such as that of a function with a gradient of its own."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if (inner := equation.params.get(name)) is not None:
            yield getattr(inner, "jaxpr", inner)
            return


def _size(equation: Any) -> tuple[int, int]:
    """Returns the floating-point operations and the number of outputs of a product."""
    a, b = (atom.aval.shape for atom in equation.invars)
    out = equation.outvars[0].aval.shape
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2 * math.prod(out) * math.prod(a[i] for i in contracted), math.prod(out)
    numbers = equation.params["dimension_numbers"]
    dilated = max(equation.params["lhs_dilation"]) > 1
    image, spec = (a, numbers.lhs_spec) if dilated else (out, numbers.out_spec)
    places = math.prod(image[i] for i in (spec[0], *spec[2:]))
    return 2 * places * math.prod(b), math.prod(out)


class StepCount(NamedTuple):
    """What one step of one replica needs, by hand.

    Attributes:
        flops: the operations of all products.
        state_bytes: parameters, Adam's moments, and the moving average.
        gradient_bytes: the gradients of the largest turn.
        activation_bytes: the outputs of the layers of the largest turn, in float32.
        data_bytes: the arrays that training draws from.
    """

    flops: int
    state_bytes: int
    gradient_bytes: int
    activation_bytes: int
    data_bytes: int


def count_step(experiment: Experiment) -> StepCount:
    """Counts a step of VEEGAN, without any forward pass twice: the players share theirs.

    Raises:
        ValueError: If penalties are lazy, since steps then differ.
    """
    config, objective = experiment.config, experiment.objective
    if config.penalty.every != 1:
        raise ValueError(f"penalty.every is {config.penalty.every}; steps are counted only where it is 1")
    state = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), abstract_state(experiment))
    costs = {
        name: net_cost(objective.nets[name], state.params[name], *(_batch(config.batch_size, s) for s in shapes))
        for name, shapes in objective.inputs.items()
    }
    order = turns(config.update_order, config.disc_updates, config.gen_updates)
    owned = [sum(nbytes(state.params[net]) for p in players for net in objective.players[p]) for players in order]
    return StepCount(
        flops=sum(turn_flops(config, costs, players) for players in order),
        state_bytes=sum(nbytes(tree) for tree in (state.params, state.opt_state, state.ema)),
        gradient_bytes=max(owned),
        activation_bytes=4 * max(turn_outputs(config, costs, players) for players in order),
        data_bytes=nbytes(experiment.source.train),
    )


def _batch(size: int, shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((size, *shape), jnp.float32)


def turn_flops(config: Any, costs: Mapping[str, NetCost], players: Sequence[str]) -> int:
    """Counts the products of one turn."""
    disc, gen = "disc" in players, "gen" in players
    paired = disc or config.veegan.adversarial_loss in PAIRED
    g, f = costs["gen"], costs["rec"]
    flops = g.forward + f.forward * (paired + gen)  # z_g needs F(x), and d needs F(x_g)
    for d in (cost for name, cost in costs.items() if name.startswith("disc")):
        flops += d.forward * (1 + paired)  # on generated and on real examples
        if disc:
            flops += 2 * (d.kernels + d.through)
            for weight in (config.penalty.r1, config.penalty.r2):
                # ∇D, and the two factors of each of its products; D's logits have no gradient of their own.
                flops += (weight > 0) * (d.through + d.to_inputs + d.kernels + d.forward - d.last)
        if gen:
            flops += d.through + d.to_inputs  # through D to x_g
    if gen:
        flops += f.kernels + f.through + f.to_inputs  # F's kernels, and through F to x_g
        flops += g.kernels + g.through
    return flops


def turn_outputs(config: Any, costs: Mapping[str, NetCost], players: Sequence[str]) -> int:
    """Counts the outputs of all layers in the forward passes of one turn."""
    paired = "disc" in players or config.veegan.adversarial_loss in PAIRED
    critics = sum(cost.outputs for name, cost in costs.items() if name.startswith("disc"))
    return costs["gen"].outputs + costs["rec"].outputs * (paired + ("gen" in players)) + critics * (1 + paired)


def nbytes(tree: Any) -> int:
    """Returns the bytes of all arrays of a tree, without those whose dtype numpy lacks: keys."""
    arrays = [a for a in jax.tree.leaves(tree) if isinstance(a.dtype, np.dtype)]
    return sum(a.size * a.dtype.itemsize for a in arrays)


def compiled_step(experiment: Experiment, devices: Sequence[jax.Device], num_steps: int = 1) -> Any:
    """Compiles the product's fused step ahead of time, and returns the program, whose costs XLA can say.

    XLA counts the body of a loop once, so that the operations of a program are those of one step.
    """
    from veegan_jax.train.compile import fused_step

    state = abstract_state(experiment)
    arrays = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), experiment.source.train)
    call = fused_step(experiment, list(devices), num_steps)
    return jax.jit(call, donate_argnums=0).lower(state, arrays).compile()
