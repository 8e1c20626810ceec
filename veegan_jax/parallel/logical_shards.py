"""Elastic determinism: the same bits over any number of devices.

A step that is written for an axis of L logical shards runs on N devices, L/N shards one after another on each. What a
shard computes by itself is computed by the same program on arrays of the same shapes, whatever N is; and a sum over the
axis (of gradients, of batch normalisation's statistics) gathers the terms of all shards, and adds them in one order.

The step is traced once, and its equations are run in *stages*: a stage is what each shard computes between two such
sums. So objectives and networks need not know of it.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun, jaxprs_in_params

from veegan_jax.train.step import Step


class Own(NamedTuple):
    """What shards have each of their own.

    Attributes:
        rows: `[R, …]`, of which the first L/N are those of this device's shards.
    """

    rows: jax.Array


@dataclasses.dataclass(frozen=True)
class Shards:
    """How logical shards lie on devices.

    Attributes:
        axis: the name of the axis, of the shards in the step and of the devices around it.
        count: L.
        devices: N, which divides L.
        zero: int32 `[]`, of which XLA does not know that it is 0: it would unroll a loop of a known few turns.
    """

    axis: str
    count: int
    devices: int
    zero: jax.Array

    @property
    def local(self) -> int:
        """How many of them a device has."""
        return self.count // self.devices

    @property
    def num_rows(self) -> int:
        """Of every `Own`: at least 2, since XLA would make another program of one that goes over a single row."""
        return max(self.local, 2)

    def index(self, turn: jax.Array) -> jax.Array:
        """Of the shard of that turn, int32 `[]`."""
        return jax.lax.axis_index(self.axis) * self.local + turn

    def split(self, batches: jax.Array) -> Own:
        """A device's part of batches `[steps, B/N, …]`, given to its shards: rows `[R, steps, B/L, …]`."""
        steps, size, *rest = batches.shape
        rows = jnp.moveaxis(batches.reshape(steps, self.local, size // self.local, *rest), 1, 0)
        return Own(jnp.pad(rows, [(0, self.num_rows - self.local), *[(0, 0)] * (rows.ndim - 1)]))

    def gather(self, value: Own) -> jax.Array:
        """What all shards have, `[L, …]`."""
        return jax.lax.all_gather(value.rows[: self.local], self.axis, tiled=True)


def over_shards(step: Step, shards: int, devices: int, axis: str, *, split: bool = False) -> Step:
    """A step on an axis of logical shards, as a step on an axis of devices that gives the same bits for any number.

    Args:
        step: which draws its shard of the batch by its index on `axis`, and sums over it. What it returns must be the
            same on all shards.
        shards: L.
        devices: N, which divides L.
        axis: the name of the axis.
        split: whether the arrays are a stream's batches `[steps, b, …]`, this device's part of them, and the step of
            the first; otherwise all shards have the same arrays.
    """

    def elastic(state: Any, arrays: Any) -> Any:
        ours, one = Shards(axis, shards, devices, _zero(state.step)), arrays
        if split:
            own, first = ours.split(arrays[0]), arrays[1]
            one, arrays = (jax.eval_shape(lambda rows: rows[0], own.rows), first), (own, first)
        traced, shape = jax.make_jaxpr(step, axis_env=[(axis, shards)], return_shape=True)(state, one)
        inputs = jax.tree.leaves((state, arrays), is_leaf=lambda leaf: isinstance(leaf, Own))
        outputs = _evaluate(_flattened(traced, ours), inputs, ours)
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return elastic


@jax.custom_batching.custom_vmap
def _zero(step: jax.Array) -> jax.Array:
    """0, since no step is negative."""
    return jnp.where(step < 0, 1, 0)


@_zero.def_vmap
def _zero_of_replicas(axis_size: int, batched: Sequence[bool], step: jax.Array) -> tuple[jax.Array, bool]:
    """The same for all replicas, so that their loops stay loops."""
    return _zero(step[0]), False


# From a traced step to one list of equations.


def _flattened(traced: ClosedJaxpr, shards: Shards) -> ClosedJaxpr:
    """The same program with calls, and loops over sums, replaced by what they do, and no equation in it twice.

    The players' losses share their forward passes: XLA merges those within a stage, but cannot see past a sum that
    what follows is the same again; and what it merges by itself, it merges otherwise for one device than for many.
    """
    seen: dict[Any, tuple[list[Any], list[Any]]] = {}

    def run(program: ClosedJaxpr, *inputs: Any) -> list[Any]:
        jaxpr = program.jaxpr
        values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*program.consts, *inputs], strict=True))

        def read(atoms: Iterable[Any]) -> list[Any]:
            return [atom.val if isinstance(atom, Literal) else values[atom] for atom in atoms]

        for eqn in jaxpr.eqns:
            given = read(eqn.invars)
            key = (eqn.primitive, tuple(map(_identity, given)), _hashable(eqn.params))
            if key not in seen:
                called, meets = _called(eqn), _meets(eqn, shards.axis)
                if eqn.primitive.name == "stop_gradient":  # has done what it is for
                    results = given
                elif called:
                    results = run(called, *given)
                elif meets and eqn.primitive.name == "scan":
                    results = _turn_by_turn(eqn, given, run)
                elif meets and not _sums(eqn, shards.axis) and eqn.primitive.name != "axis_index":
                    raise NotImplementedError(f"shards that meet in {eqn.primitive}: only sums are of no order")
                else:
                    results = _results(jaxpr, eqn, given)
                seen[key] = results, given  # operands are kept, so that no other value gets their identity
            values.update(zip(eqn.outvars, seen[key][0], strict=True))
        return read(jaxpr.outvars)

    flat = jax.make_jaxpr(lambda *inputs: run(traced, *inputs), axis_env=[(shards.axis, shards.count)])
    return flat(*traced.in_avals)


def _turn_by_turn(eqn: JaxprEqn, given: Sequence[Any], run: Callable[..., list[Any]]) -> list[Any]:
    """The results of a scan, without a loop."""
    p, inner = eqn.params, eqn.params["jaxpr"].jaxpr
    # What is stacked has an axis more than a turn has; how else JAX tells it from the carry differs between versions.
    num_xs, num_ys = (
        sum(len(outer.aval.shape) > len(v.aval.shape) for outer, v in zip(*sides, strict=True))
        for sides in ((eqn.invars, inner.invars), (eqn.outvars, inner.outvars))
    )
    num_carry = len(eqn.outvars) - num_ys
    first, end = len(given) - num_xs - num_carry, len(given) - num_xs
    consts, carry, xs = given[:first], given[first:end], given[end:]
    made = []
    for turn in range(p["length"])[:: -1 if p["reverse"] else 1]:
        results = run(p["jaxpr"], *consts, *carry, *(x[turn] for x in xs))
        carry = results[: len(carry)]
        made.append(results[len(carry) :])
    return [*carry, *(jnp.stack(ys) for ys in zip(*made[:: -1 if p["reverse"] else 1], strict=True))]


def _called(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """The program that an equation calls once, with its own operands; None where it does something else."""
    programs = [value for value in eqn.params.values() if isinstance(value, ClosedJaxpr | Jaxpr)]
    if len(programs) != 1 or eqn.primitive.name in ("scan", "while"):
        return None
    called = programs[0] if isinstance(programs[0], ClosedJaxpr) else ClosedJaxpr(programs[0], ())
    return called if len(called.jaxpr.invars) == len(eqn.invars) else None


def _identity(value: Any) -> Any:
    """What two operands have in common if they are surely the same: numbers are compared by their bytes."""
    if isinstance(value, jax.core.Tracer) or jnp.ndim(value):
        return id(value)
    return str(jnp.result_type(value)), np.asarray(value).tobytes()


def _hashable(params: dict[str, Any]) -> Any:
    items = tuple(sorted(params.items()))
    try:
        hash(items)
    except TypeError:
        return id(params)
    return items


# From a list of equations to stages.


class _Plan:
    """Which equations are run when.

    Attributes:
        jaxpr: the program.
        stages: for each, its equations that all shards have in common, and then each shard's own. A stage takes
            whatever can be computed from the results of those before it. A sum over shards is the first thing that
            they have in common afterwards.
        spread: equations by their results, which are made where they are read: those that make much of little, which
            is faster to do again than to read from memory, and those that make keys, which are no plain arrays.
        leaving: the variables that are read in another stage than that which makes them.
    """

    def __init__(self, jaxpr: Jaxpr, own: Iterable[Var], axis: str):
        self.jaxpr = jaxpr
        self.stages: list[tuple[list[JaxprEqn], list[JaxprEqn]]] = []
        self.spread: dict[Var, JaxprEqn] = {}
        self.leaving: set[Var] = set()
        self._stage: dict[Var, int] = {}
        owned = set(own)
        for eqn in jaxpr.eqns:
            inputs, sums = _variables(eqn.invars), _sums(eqn, axis)
            stage = max((self._stage.get(v, 0) for v in inputs), default=0) + sums
            is_own = not sums and (not owned.isdisjoint(inputs) or eqn.primitive.name == "axis_index")
            self._stage |= dict.fromkeys(eqn.outvars, stage)
            owned |= set(eqn.outvars) if is_own else set()
            if _makes_keys(eqn) or (not is_own and eqn.primitive.name in ("broadcast_in_dim", "iota")):
                self.spread |= dict.fromkeys(eqn.outvars, eqn)
                continue
            self.stages.extend(([], []) for _ in range(stage + 1 - len(self.stages)))
            self.stages[stage][is_own].append(eqn)
            self._read(inputs, stage)
        self._read(_variables(jaxpr.outvars), len(self.stages))

    def _read(self, variables: Iterable[Var], stage: int) -> None:
        for v in variables:
            if v in self.spread:
                self._read(_variables(self.spread[v].invars), stage)
            elif self._stage.get(v) != stage:
                self.leaving.add(v)


def _makes_keys(eqn: JaxprEqn) -> bool:
    avals: list[Any] = [v.aval for v in eqn.outvars]
    return any(jnp.issubdtype(aval.dtype, jax.dtypes.prng_key) for aval in avals)


def _evaluate(program: ClosedJaxpr, inputs: Sequence[Any], shards: Shards) -> list[Any]:
    """Runs a program stage by stage.

    Args:
        program: flat.
        inputs: of its variables, arrays that all shards share, or each their `Own`.
        shards: to run it for.
    """
    jaxpr = program.jaxpr
    values: dict[Var, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*program.consts, *inputs], strict=True))
    plan = _Plan(jaxpr, [v for v, value in values.items() if isinstance(value, Own)], shards.axis)
    for common, own in plan.stages:
        values |= _run_stage(common, own, plan, values, shards)
    read = _Reader(plan, values, shards)
    return [read(atom) for atom in jaxpr.outvars]


def _run_stage(
    common: Sequence[JaxprEqn], own: Sequence[JaxprEqn], plan: _Plan, values: Mapping[Var, Any], shards: Shards
) -> dict[Var, Any]:
    """Runs equations that all shards have in common, then each shard's own; returns what is read in other stages.

    They are a branch of a condition that XLA cannot tell, and so a program of its own to it: beside what is around it,
    which differs with the number of devices, it would be compiled otherwise.
    """
    met = [v for eqn in common if _sums(eqn, shards.axis) for v in _variables(eqn.invars)]
    terms = {v: shards.gather(values[v]) for v in met if isinstance(values.get(v), Own)}
    kept, rowed = ([v for eqn in eqns for v in eqn.outvars if v in plan.leaving] for eqns in (common, own))

    def branch() -> list[jax.Array]:
        read = _Reader(plan, values, shards, terms=terms)
        for eqn in common:
            read.results(eqn)
        return [*(read(v) for v in kept), *_run_own(own, rowed, plan, {**values, **read}, shards)]

    made = jax.lax.cond(
        shards.zero == 0, branch, lambda: [*(_zeros(v) for v in kept), *(_zeros(v, shards.num_rows) for v in rowed)]
    )
    owned = [Own(rows) for rows in made[len(kept) :]]
    return dict(zip([*kept, *rowed], [*made[: len(kept)], *owned], strict=True))


def _run_own(
    eqns: Sequence[JaxprEqn], leaving: Sequence[Var], plan: _Plan, values: Mapping[Var, Any], shards: Shards
) -> list[jax.Array]:
    """Runs equations for one shard after another; returns the rows of the variables `leaving`."""

    def turn(index: jax.Array, results: list[jax.Array]) -> list[jax.Array]:
        read = _Reader(plan, values, shards, index=index)
        for eqn in eqns:
            read.results(eqn)
        return [
            jax.lax.dynamic_update_index_in_dim(rows, read(v), index, 0)
            for v, rows in zip(leaving, results, strict=True)
        ]

    empty = [_zeros(v, shards.num_rows) for v in leaving]
    return jax.lax.fori_loop(0, shards.local + shards.zero, turn, empty) if leaving else []


class _Reader(dict[Var, Any]):
    """The values of variables for one shard, each read or made when it is first asked for.

    Args:
        plan: of the program.
        values: of the variables of the stages before.
        shards: that it is run for.
        terms: `[L, …]`, of the variables that are summed over the shards.
        index: of the shard among those of its device.
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
        return atom.val if isinstance(atom, Literal) else self[atom]

    def __missing__(self, v: Var) -> Any:
        if v in self._plan.spread:
            self.results(self._plan.spread[v])
        else:
            value = self._values[v]
            own = isinstance(value, Own)
            self[v] = jax.lax.dynamic_index_in_dim(value.rows, self._index, 0, keepdims=False) if own else value
        return self[v]

    def results(self, eqn: JaxprEqn) -> None:
        """Makes those of an equation."""
        if eqn.primitive.name == "axis_index":
            made = [self._shards.index(self._index)]
        elif _sums(eqn, self._shards.axis):
            made = [self._sum(atom) for atom in eqn.invars]
        else:
            made = _results(self._plan.jaxpr, eqn, [self(atom) for atom in eqn.invars])
        self.update(zip(eqn.outvars, made, strict=True))

    def _sum(self, atom: Any) -> jax.Array:
        """Over all shards."""
        if not isinstance(atom, Literal) and atom in self._terms:
            return jnp.sum(self._terms[atom], axis=0)
        value = self(atom)  # the same in each
        return value * jnp.asarray(self._shards.count, jnp.result_type(value))


def _zeros(v: Var, *leading: int) -> jax.Array:
    aval: Any = v.aval
    return jnp.zeros((*leading, *aval.shape), aval.dtype)


# Equations.


def _results(jaxpr: Jaxpr, eqn: JaxprEqn, operands: Sequence[Any]) -> list[Any]:
    """Those of an equation of a program, run as one of its own: how JAX binds one differs between its versions."""
    given = {atom: value for atom, value in zip(eqn.invars, operands, strict=True) if not isinstance(atom, Literal)}
    alone = jaxpr.replace(constvars=(), invars=list(given), outvars=eqn.outvars, eqns=[eqn], effects=eqn.effects)
    return jaxpr_as_fun(ClosedJaxpr(alone, ()))(*given.values())


def _variables(atoms: Iterable[Any]) -> list[Var]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]


def _meets(eqn: JaxprEqn, axis: str) -> bool:
    """Whether shards meet in an equation, or in what it calls."""
    params = eqn.params
    named = params.get("axes", ()), params.get("axis_name", ())
    if any(axis == name or (isinstance(name, tuple) and axis in name) for name in named):
        return True
    return any(_meets(inner, axis) for called in jaxprs_in_params(params) for inner in called.eqns)


def _sums(eqn: JaxprEqn, axis: str) -> bool:
    """Whether an equation of a flat program is a sum over the shards."""
    return eqn.primitive.name == "psum" and _meets(eqn, axis)
