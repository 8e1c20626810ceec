"""Logical shards: a step that gives the same bits on any number of devices.

A sum of floats depends on its order, and XLA compiles a program otherwise for a batch of 64 than for one of 16. Plain
data parallelism therefore gives other bits on each number of devices. Here a batch always consists of L logical shards,
and each of N devices runs L/N of them, one after another. What a shard computes by itself is computed by the same
program on arrays of the same shapes, whatever N is. A sum over shards (of gradients, or of the statistics of batch
normalisation) gathers the terms of all L shards and adds them in the order of the shards.

A step is written as for any axis of devices: it draws its shard of the batch by `axis_index`, and sums by `psum` or
`pmean`. `over_shards` traces the step once, for an axis of L shards, and runs the traced equations in *stages*. A stage
is everything that can be computed between two sums. Objectives and networks need not know of it.

An example: L = 4 shards, each with a vector x `[3]`, compute the variance of x as batch normalisation does.

    def step(state, arrays):
        x = axis_index(AXIS) * arrays
        mean = pmean(x, AXIS)
        return state, {"var": pmean((x - mean) ** 2, AXIS)}

The step has these equations. The result of a *common* equation is the same on all shards; the result of a *per-shard*
equation differs between shards, as its operands do. The result of a sum is common, and begins a new stage.

    stage   common                     per shard                    kept for later stages
    0                                  i = axis_index; x = i · a    x: PerShard
    1       s = psum x; m = s / 4      d = x − m; q = d ** 2        q: PerShard
    2       t = psum q; v = t / 4                                   v

What runs where:

    1 device     stage 0 loops over shards 0 to 3, and writes x `[4, 3]`
                 stage 1 adds x[0] + x[1] + x[2] + x[3], divides, loops over shards 0 to 3, and writes q `[4, 3]`
                 stage 2 adds q[0] + q[1] + q[2] + q[3], and divides
    2 devices    stage 0 loops over shards 0 and 1 on device 0, 2 and 3 on device 1; each device writes an x `[2, 3]`
                 stage 1 gathers `[4, 3]` on both devices, adds and divides as above, and loops over two shards each
                 stage 2 gathers, adds and divides likewise

Each device adds the same four terms in the same order, and runs the same loop body. For XLA to compile them alike, it
must not see that the loops differ. `opaque_zero`, `_at_least_two`, `_compiled_apart` and `_Once` hide that from XLA.

Limits: shards communicate by sums only. Where several seeds are batched (`seed_mapping='vmap'`), bits can differ in the
last place between numbers of devices; where they are mapped ('auto'), bits are the same.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun, jaxprs_in_params

from veegan_jax.ops.opaque import opaque_zero
from veegan_jax.parallel.devices import Step


class PerShard(NamedTuple):
    """A value that differs between shards.

    Attributes:
        values: `[R, …]`, R = `Shards.slots`. The first L/N are the values of this device's shards; the rest is padding.
    """

    values: jax.Array


@dataclasses.dataclass(frozen=True)
class Shards:
    """How logical shards lie on devices: device d has the shards d·L/N to (d + 1)·L/N − 1.

    Attributes:
        axis: the name of the axis: of the shards in the step, and of the devices around it.
        count: L, the number of shards.
        devices: N, the number of devices, which divides L.
        zero: int32 `[]`, from `opaque_zero`.
    """

    axis: str
    count: int
    devices: int
    zero: jax.Array

    @property
    def local(self) -> int:
        """The number of shards of one device, L/N."""
        return self.count // self.devices

    @property
    def slots(self) -> int:
        """The length R of every `PerShard`."""
        return _at_least_two(self.local)

    def index(self, turn: jax.Array) -> jax.Array:
        """Returns the index among all shards, int32 `[]`, of this device's shard number `turn`."""
        return jax.lax.axis_index(self.axis) * self.local + turn

    def split(self, batches: jax.Array) -> PerShard:
        """Returns this device's part of batches, `[steps, B/N, …]`, split over its shards: `[R, steps, B/L, …]`."""
        steps, size, *rest = batches.shape
        parts = jnp.moveaxis(batches.reshape(steps, self.local, size // self.local, *rest), 1, 0)
        return PerShard(jnp.pad(parts, [(0, self.slots - self.local), *[(0, 0)] * (parts.ndim - 1)]))

    def gather(self, value: PerShard) -> jax.Array:
        """Returns the values of all shards, `[L, …]`, in the order of the shards."""
        return jax.lax.all_gather(value.values[: self.local], self.axis, tiled=True)


def over_shards(step: Step, shards: int, devices: int, axis: str, *, split: bool = False) -> Step:
    """Returns a step for an axis of devices that does what a step for an axis of logical shards does.

    The returned step gives the same bits for each number of devices. It raises NotImplementedError if the step
    communicates over the axis by anything but a sum, whose order alone is under our control.

    Args:
        step: a step that draws its shard of the batch by its index on `axis`, and sums over `axis`. What the step
            returns must be the same on all shards.
        shards: L, the number of logical shards.
        devices: N, the number of devices, which divides L.
        axis: the name of the axis.
        split: whether the arrays are `(batches, first)`: this device's part of a stream's batches, `[steps, B/N, …]`,
            and the number of the first step. Otherwise all shards get the same arrays.
    """

    def sharded(state: Any, arrays: Any) -> Any:
        placed, of_one = Shards(axis, shards, devices, opaque_zero(state.step)), arrays
        if split:
            batches, first = placed.split(arrays[0]), arrays[1]
            of_one, arrays = (jax.eval_shape(lambda values: values[0], batches.values), first), (batches, first)
        traced, shape = jax.make_jaxpr(step, axis_env=[(axis, shards)], return_shape=True)(state, of_one)
        inputs = jax.tree.leaves((state, arrays), is_leaf=lambda leaf: isinstance(leaf, PerShard))
        outputs = _evaluate(_flattened(traced, placed), inputs, placed)
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return sharded


# What hides the number of devices from XLA. Without any of these four, test_xla_compiles_the_stages_alike_… of
# tests/test_logical_shards.py fails with jax 0.10.2: XLA makes other operations of the step on one number of devices
# than on another. Whether bits differ then depends on the net: without `opaque_zero`, 37 of 1,516 gradients of a small
# DCGAN do.


def _at_least_two(local: int) -> int:
    """Returns the length of a `PerShard`: XLA removes the indexing of an axis of length 1, and fuses what is left."""
    return max(local, 2)


def _compiled_apart(
    zero: jax.Array, compute: Callable[[], list[jax.Array]], otherwise: Callable[[], list[jax.Array]]
) -> list[jax.Array]:
    """Returns what `compute` returns, as one branch of a condition; `otherwise` gives arrays of the same shapes.

    XLA compiles a branch as a program of its own. It would fuse a stage with the gathers around it otherwise, which
    differ with the number of devices.
    """
    return jax.lax.cond(zero == 0, compute, otherwise)


class _Once:
    """Runs an equation on the same operands once, and returns its first results from then on.

    The players' losses share their forward passes. XLA merges equal operations within a stage, but it cannot see past a
    sum over shards that what follows is equal again; and what XLA merges depends on the number of devices.
    test_losses_that_share_a_layer_run_it_once fails without it too.
    """

    def __init__(self) -> None:
        self._done: dict[Any, tuple[list[Any], Sequence[Any]]] = {}

    def __call__(self, eqn: JaxprEqn, operands: Sequence[Any], run: Callable[[], list[Any]]) -> list[Any]:
        key = (eqn.primitive, tuple(map(_identity, operands)), _hashable(eqn.params))
        if key not in self._done:
            # The operands are kept, so that no later value can get the id of one of them.
            self._done[key] = run(), operands
        return self._done[key][0]


def _identity(value: Any) -> Any:
    """Returns a key that two operands share only if they are the same; the keys of numbers are their bytes."""
    if isinstance(value, jax.core.Tracer) or jnp.ndim(value):
        return id(value)
    return str(jnp.result_type(value)), np.asarray(value).tobytes()


def _hashable(params: dict[str, Any]) -> Any:
    """Returns a key of an equation's parameters: the id of those that have no hash."""
    items = tuple(sorted(params.items()))
    try:
        hash(items)
    except TypeError:
        return id(params)
    return items


# From a traced step to one list of equations.


def _flattened(traced: ClosedJaxpr, shards: Shards) -> ClosedJaxpr:
    """Returns the same program without calls and without loops over sums, and with no equation twice.

    Raises:
        NotImplementedError: if shards communicate by anything but a sum.
    """
    once = _Once()

    def run(program: ClosedJaxpr, *inputs: Any) -> list[Any]:
        jaxpr = program.jaxpr
        values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*program.consts, *inputs], strict=True))

        def read(atoms: Iterable[Any]) -> list[Any]:
            return [atom.val if isinstance(atom, Literal) else values[atom] for atom in atoms]

        def run_eqn(eqn: JaxprEqn, operands: Sequence[Any]) -> list[Any]:
            if eqn.primitive.name == "stop_gradient":  # Gradients are taken already.
                return list(operands)
            if called := _called(eqn):
                return run(called, *operands)
            if uses_axis(eqn, shards.axis):
                if eqn.primitive.name == "scan":
                    return _unrolled_scan(eqn, operands, run)
                if not (_is_sum(eqn, shards.axis) or eqn.primitive.name == "axis_index"):
                    raise NotImplementedError(
                        f"shards communicate by sums over all of them only, not by {eqn.primitive}"
                    )
            return _bind(jaxpr, eqn, operands)

        for eqn in jaxpr.eqns:
            operands = read(eqn.invars)
            results = once(eqn, operands, functools.partial(run_eqn, eqn, operands))
            values.update(zip(eqn.outvars, results, strict=True))
        return read(jaxpr.outvars)

    flat = jax.make_jaxpr(lambda *inputs: run(traced, *inputs), axis_env=[(shards.axis, shards.count)])
    return flat(*traced.in_avals)


def _unrolled_scan(eqn: JaxprEqn, operands: Sequence[Any], run: Callable[..., list[Any]]) -> list[Any]:
    """Returns the results of a scan, run without a loop, so that the sums in it are sums of the flat program."""
    p, inner = eqn.params, eqn.params["jaxpr"].jaxpr
    # A stacked operand or result has one axis more than its part in a turn. How else JAX tells it from the carry
    # differs between versions of JAX.
    num_xs, num_ys = (
        sum(len(outer.aval.shape) > len(v.aval.shape) for outer, v in zip(*sides, strict=True))
        for sides in ((eqn.invars, inner.invars), (eqn.outvars, inner.outvars))
    )
    num_carry = len(eqn.outvars) - num_ys
    first, end = len(operands) - num_xs - num_carry, len(operands) - num_xs
    consts, carry, xs = operands[:first], operands[first:end], operands[end:]
    order = slice(None, None, -1 if p["reverse"] else 1)
    stacked = []
    for turn in range(p["length"])[order]:
        results = run(p["jaxpr"], *consts, *carry, *(x[turn] for x in xs))
        carry = results[: len(carry)]
        stacked.append(results[len(carry) :])
    return [*carry, *(jnp.stack(ys) for ys in zip(*stacked[order], strict=True))]


# From a list of equations to stages.


class _Stage(NamedTuple):
    """The equations between two sums: those whose results all shards have in common, then those run for each shard."""

    common: list[JaxprEqn]
    per_shard: list[JaxprEqn]


class _Plan:
    """Which equation is run in which stage.

    Attributes:
        jaxpr: the flat program.
        stages: in the order in which they run. An equation is in the first stage in which all its operands are known; a
            sum over shards is in the stage after that of its terms.
        rematerialised: the equations that are in no stage, by their results. They are run wherever a result is read:
            equations that make a large array of little, as it is faster to make it again than to read it from memory,
            and equations that make keys, which are no plain arrays.
        kept: the variables that are read in another stage than the one that computes them.
    """

    def __init__(self, jaxpr: Jaxpr, per_shard: Iterable[Var], axis: str):
        """Plans a flat program, given those of its inputs that differ between shards."""
        self.jaxpr = jaxpr
        self.stages: list[_Stage] = []
        self.rematerialised: dict[Var, JaxprEqn] = {}
        self.kept: set[Var] = set()
        self._stage: dict[Var, int] = {}
        differing = set(per_shard)
        for eqn in jaxpr.eqns:
            inputs, is_sum = _variables(eqn.invars), _is_sum(eqn, axis)
            stage = max((self._stage.get(v, 0) for v in inputs), default=0) + is_sum
            differs = not is_sum and (not differing.isdisjoint(inputs) or eqn.primitive.name == "axis_index")
            self._stage |= dict.fromkeys(eqn.outvars, stage)
            differing |= set(eqn.outvars) if differs else set()
            if _makes_keys(eqn) or (not differs and eqn.primitive.name in ("broadcast_in_dim", "iota")):
                self.rematerialised |= dict.fromkeys(eqn.outvars, eqn)
                continue
            self.stages.extend(_Stage([], []) for _ in range(stage + 1 - len(self.stages)))
            self.stages[stage][differs].append(eqn)
            self._read(inputs, stage)
        self._read(_variables(jaxpr.outvars), len(self.stages))

    def _read(self, variables: Iterable[Var], stage: int) -> None:
        """Notes which variables must be kept for this stage to read these."""
        for v in variables:
            if v in self.rematerialised:
                self._read(_variables(self.rematerialised[v].invars), stage)
            elif self._stage.get(v) != stage:
                self.kept.add(v)


def _makes_keys(eqn: JaxprEqn) -> bool:
    avals: list[Any] = [v.aval for v in eqn.outvars]
    return any(jnp.issubdtype(aval.dtype, jax.dtypes.prng_key) for aval in avals)


# Stages, run.


def _evaluate(program: ClosedJaxpr, inputs: Sequence[Any], shards: Shards) -> list[Any]:
    """Runs a flat program stage by stage, on inputs that are arrays or, if they differ between shards, `PerShard`."""
    jaxpr = program.jaxpr
    values: dict[Var, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*program.consts, *inputs], strict=True))
    plan = _Plan(jaxpr, [v for v, value in values.items() if isinstance(value, PerShard)], shards.axis)
    for stage in plan.stages:
        values |= _run_stage(stage, plan, values, shards)
    env = _Env(plan, values, shards)
    return [env(atom) for atom in jaxpr.outvars]


def _run_stage(stage: _Stage, plan: _Plan, values: Mapping[Var, Any], shards: Shards) -> dict[Var, Any]:
    """Runs a stage on the values of earlier stages; returns the values of it that are read in other stages."""
    summed = [v for eqn in stage.common if _is_sum(eqn, shards.axis) for v in _variables(eqn.invars)]
    terms = {v: shards.gather(values[v]) for v in summed if isinstance(values.get(v), PerShard)}
    common, per_shard = ([v for eqn in eqns for v in eqn.outvars if v in plan.kept] for eqns in stage)

    def compute() -> list[jax.Array]:
        env = _Env(plan, values, shards, terms=terms)
        for eqn in stage.common:
            env.run(eqn)
        return [*map(env, common), *_run_per_shard(stage.per_shard, per_shard, plan, {**values, **env}, shards)]

    def otherwise() -> list[jax.Array]:
        return [*map(_zeros, common), *(_zeros(v, shards.slots) for v in per_shard)]

    results = _compiled_apart(shards.zero, compute, otherwise)
    split = len(common)
    return dict(zip([*common, *per_shard], [*results[:split], *map(PerShard, results[split:])], strict=True))


def _run_per_shard(
    eqns: Sequence[JaxprEqn], kept: Sequence[Var], plan: _Plan, values: Mapping[Var, Any], shards: Shards
) -> list[jax.Array]:
    """Runs equations for one shard after another; returns the values `[R, …]` of the variables that are kept."""

    def turn(index: jax.Array, results: list[jax.Array]) -> list[jax.Array]:
        env = _Env(plan, values, shards, index=index)
        for eqn in eqns:
            env.run(eqn)
        return [
            jax.lax.dynamic_update_index_in_dim(written, env(v), index, 0)
            for v, written in zip(kept, results, strict=True)
        ]

    empty = [_zeros(v, shards.slots) for v in kept]
    return jax.lax.fori_loop(0, shards.local + shards.zero, turn, empty) if kept else []


def _zeros(v: Var, *leading: int) -> jax.Array:
    aval: Any = v.aval
    return jnp.zeros((*leading, *aval.shape), aval.dtype)


class _Env(dict[Var, Any]):
    """The values of variables for one shard, each read or computed when it is first asked for.

    Args:
        plan: the plan of the program.
        values: the values of the variables of earlier stages.
        shards: how shards lie on devices.
        terms: `[L, …]`, the values on all shards of the variables that are summed.
        index: the number of the shard among those of its device, int32 `[]`.
    """

    def __init__(
        self,
        plan: _Plan,
        values: Mapping[Var, Any],
        shards: Shards,
        *,
        terms: Mapping[Var, jax.Array] | None = None,
        index: Any = 0,
    ):
        self._plan, self._values, self._shards = plan, values, shards
        self._terms, self._index = terms or {}, index

    def __call__(self, atom: Any) -> Any:
        """Returns the value of a variable or literal."""
        return atom.val if isinstance(atom, Literal) else self[atom]

    def __missing__(self, v: Var) -> Any:
        if v in self._plan.rematerialised:
            self.run(self._plan.rematerialised[v])
            return self[v]
        value = self._values[v]
        if isinstance(value, PerShard):
            value = jax.lax.dynamic_index_in_dim(value.values, self._index, 0, keepdims=False)
        self[v] = value
        return value

    def run(self, eqn: JaxprEqn) -> None:
        """Computes the results of an equation."""
        if eqn.primitive.name == "axis_index":
            results = [self._shards.index(self._index)]
        elif _is_sum(eqn, self._shards.axis):
            results = [self._sum(atom) for atom in eqn.invars]
        else:
            results = _bind(self._plan.jaxpr, eqn, [self(atom) for atom in eqn.invars])
        self.update(zip(eqn.outvars, results, strict=True))

    def _sum(self, atom: Any) -> jax.Array:
        """Returns the sum of a variable over all shards."""
        if not isinstance(atom, Literal) and atom in self._terms:
            return jnp.sum(self._terms[atom], axis=0)
        value = self(atom)  # A variable without terms is the same on all shards.
        return value * jnp.asarray(self._shards.count, jnp.result_type(value))


# Equations.


def _bind(jaxpr: Jaxpr, eqn: JaxprEqn, operands: Sequence[Any]) -> list[Any]:
    """Returns the results of an equation of a program, run as a program of one equation.

    How else JAX binds an equation differs between versions of JAX.
    """
    inputs = {atom: value for atom, value in zip(eqn.invars, operands, strict=True) if not isinstance(atom, Literal)}
    alone = jaxpr.replace(constvars=(), invars=list(inputs), outvars=eqn.outvars, eqns=[eqn], effects=eqn.effects)
    return jaxpr_as_fun(ClosedJaxpr(alone, ()))(*inputs.values())


def _called(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """Returns the program that an equation calls once, on its own operands; None where it does something else."""
    programs = [value for value in eqn.params.values() if isinstance(value, ClosedJaxpr | Jaxpr)]
    if len(programs) != 1 or eqn.primitive.name in ("scan", "while"):
        return None
    called = programs[0] if isinstance(programs[0], ClosedJaxpr) else ClosedJaxpr(programs[0], ())
    return called if len(called.jaxpr.invars) == len(eqn.invars) else None


def _variables(atoms: Iterable[Any]) -> list[Var]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]


def uses_axis(eqn: JaxprEqn, axis: str) -> bool:
    """Returns whether an equation, or one in a program that it calls, names the axis."""
    params = eqn.params
    named = params.get("axes", ()), params.get("axis_name", ())
    if any(axis == name or (isinstance(name, tuple) and axis in name) for name in named):
        return True
    return any(uses_axis(inner, axis) for called in jaxprs_in_params(params) for inner in called.eqns)


def _is_sum(eqn: JaxprEqn, axis: str) -> bool:
    """Returns whether an equation of a flat program is a sum over the shards, of all of them and of nothing else."""
    if eqn.primitive.name != "psum":
        return False
    return tuple(eqn.params["axes"]) == (axis,) and eqn.params["axis_index_groups"] is None
