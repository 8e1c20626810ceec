"""A trained model as a folder that needs neither this project nor Flax: programs in StableHLO, and parameters.

`exported.py` reads the folder, which gets a copy of it.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import numpy as np

from veegan_jax.config.build import Experiment
from veegan_jax.inference import exported
from veegan_jax.inference.rejection import Rejection
from veegan_jax.objectives.base import Params
from veegan_jax.storage.files import cannot_write, replacing, write_atomically

# The platforms that programs are lowered for, all in one file each.
PLATFORMS = ("cpu", "cuda", "tpu")
# The loader, as the folder has it.
LOADER = "load.py"


class Program(NamedTuple):
    """A function to export.

    Attributes:
        function: `function(params, *arrays)`, where arrays and results are `[B, …]`.
        params: a tree of float32 arrays, of which the function may read a part.
        arrays: the shape, without B, and the dtype of each array.
    """

    function: Callable[..., Any]
    params: Mapping[str, Any]
    arrays: tuple[tuple[tuple[int, ...], Any], ...]


def programs(experiment: Experiment, params: Params, rejection: Rejection | None = None) -> dict[str, Program]:
    """Returns the functions of a model by name.

    Args:
        experiment: the parts of the run.
        params: the parameters of one replica for inference.
        rejection: the rule by which samples are kept; None to keep all.

    Returns:
        `prior`, from seeds and positions to z and ε; `generator`, from z and ε to x; `reconstructor`, from x to z, of a
        method that has one; and `rejection`, from x, seeds and positions to whether x is kept.
    """
    objective, draws = experiment.objective, (((), np.uint32), ((), np.int32))

    def key(seed: jax.Array, index: jax.Array) -> jax.Array:
        return jax.random.fold_in(jax.random.key(seed), index)

    def prior(_: Params, seed: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        noise = jax.vmap(lambda s, i: objective.noise(key(s, i)))(seed, index)
        return noise["z"], noise["eps"]

    def generator(params: Params, z: jax.Array, eps: jax.Array) -> jax.Array:
        return objective.generate(params, {"z": z, "eps": eps})

    x = (experiment.spec.shape, np.float32)
    latents = tuple((shape, np.float32) for shape in objective.inputs["gen"])
    found = {"prior": Program(prior, {}, draws), "generator": Program(generator, params, latents)}
    if objective.encode:
        found["reconstructor"] = Program(objective.encode, params, (x,))
    if rejection:

        def kept(rule: Params, x: jax.Array, seed: jax.Array, index: jax.Array) -> jax.Array:
            return rejection.accepts(rule, x, jax.vmap(key)(seed, index))

        found["rejection"] = Program(kept, rejection.rule, (x, *draws))
    return found


def write_model(folder: Path, found: Mapping[str, Program], config: Mapping[str, Any]) -> None:
    """Writes a model's programs, parameters, description and loader into a folder, which is made.

    Args:
        folder: the folder.
        found: what `programs` returns.
        config: the description, for `config.json`.

    Raises:
        UserError: if a file cannot be written.
    """
    from safetensors.numpy import save

    _empty(folder)
    arrays = dict[str, np.ndarray]()
    for name, program in found.items():
        flat = _flat(_read_by(program))
        with replacing(folder / f"{name}.stablehlo") as file:
            file.write(_lowered(program, flat))
        arrays |= {f"{name}.{path}": np.ascontiguousarray(leaf, np.float32) for path, leaf in flat.items()}
    with replacing(folder / "model.safetensors") as file:
        file.write(save(arrays))
    write_atomically(folder / LOADER, Path(exported.__file__).read_text("utf-8"))
    write_atomically(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def _empty(folder: Path) -> None:
    """Makes the folder, and removes the programs of an earlier model, which the loader would take for this model's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.stablehlo"):
            old.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from error


def _lowered(program: Program, flat: Mapping[str, Any]) -> bytes:
    """Returns a program of parameters by path and of arrays of any B, for all platforms, in JAX's own format."""
    tree = jax.tree.structure(_read_by(program))

    def function(params: Mapping[str, jax.Array], *arrays: jax.Array) -> Any:
        return program.function(jax.tree.unflatten(tree, [params[path] for path in flat]), *arrays)

    (batch,) = jax.export.symbolic_shape("b")
    params = {path: jax.ShapeDtypeStruct(np.shape(leaf), np.float32) for path, leaf in flat.items()}
    arrays = [jax.ShapeDtypeStruct((batch, *shape), dtype) for shape, dtype in program.arrays]
    return bytes(jax.export.export(jax.jit(function), platforms=PLATFORMS)(params, *arrays).serialize())


def _flat(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the leaves of a tree by their paths, in the order of the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _read_by(program: Program) -> dict[str, Any]:
    """Returns the entries of a program's parameters that the program reads: a generator reads no discriminator."""
    read: set[str] = set()

    class Recording(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            read.add(name)
            return super().__getitem__(name)

    arrays = [jax.ShapeDtypeStruct((2, *shape), dtype) for shape, dtype in program.arrays]
    jax.eval_shape(lambda *arrays: program.function(Recording(program.params), *arrays), *arrays)
    return {name: value for name, value in program.params.items() if name in read}
