"""A trained model: samples, encodings and reconstructions."""

import functools
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.config.build import Experiment, build
from veegan_jax.data.base import Source
from veegan_jax.data.examples import as_examples
from veegan_jax.errors import UserError
from veegan_jax.inference.inversion import Inversion, invert
from veegan_jax.inference.real_examples import CHUNK, RealExamples, fold
from veegan_jax.objectives.base import Noise, Params, Statistics, frozen, statistics
from veegan_jax.ops.chunks import map_in_chunks
from veegan_jax.storage.checkpoint import stored_spec
from veegan_jax.storage.folder import data_changes, stored_data_path
from veegan_jax.train.state import TrainState

_log = logging.getLogger("veegan_jax")
# The number of examples inverted at a time, and the number of starts for each (the authors' code has 3).
INVERTED, STARTS = 64, 3
# The seed of the draws by whose statistics batch normalisation is frozen.
CALIBRATION_SEED = 4


class Weights(NamedTuple):
    """The part of a state that inference reads, each leaf `[S, …]`; see `TrainState`."""

    params: Mapping[str, Any]
    ema: Mapping[str, Any]


class Sampler:
    """The compiled functions of an experiment's networks, called a chunk at a time; numpy in and out.

    Data are opened only for what returns, or needs, examples of them.
    """

    def __init__(self, experiment: Experiment, examples: RealExamples | None = None):
        """Compiles nothing yet; `examples` are those of the experiment's source, made when needed unless given."""
        objective = experiment.objective
        self._experiment, self._objective, self._given = experiment, objective, examples
        self._noise = jax.jit(lambda key, index: jax.vmap(objective.noise)(fold(key, index)))
        self._generate = jax.jit(objective.generate)
        self._encode = jax.jit(objective.encode) if objective.encode else None
        self._invert = jax.jit(self._nearest)
        self._measure = jax.jit(functools.partial(statistics, objective))

    @functools.cached_property
    def _examples(self) -> RealExamples:
        return self._given or RealExamples(self._experiment.source)

    def real(self, n: int, seed: int) -> np.ndarray:
        """Returns held-out examples, see `RealExamples.held_out`."""
        return self._examples.held_out(n, seed)

    def real_positions(self, n: int, seed: int) -> np.ndarray:
        """Returns where the examples of `real(n, seed)` are, see `RealExamples.positions`."""
        return self._examples.positions(n, seed)

    def training(self, n: int, seed: int) -> np.ndarray:
        """Returns training examples, see `RealExamples.training`."""
        return self._examples.training(n, seed)

    def trained(self, state: TrainState | Weights, replica: int, statistics: Statistics | None = None) -> Params:
        """Returns one replica's parameters for inference: averaged instead of raw ones, batch normalisation frozen.

        Args:
            state: the replicas, each leaf `[S, …]`.
            replica: the number of the replica.
            statistics: what `statistics(state)` returns, if it is known; otherwise computed here.
        """
        found = self._statistics(state, replica) if statistics is None else _replica(statistics, replica)
        return frozen(_averaged(state, replica), found)

    def statistics(self, state: TrainState | Weights) -> Statistics:
        """Computes the statistics of batch normalisation of all replicas, each leaf `[S, …]`; empty if nets have none.

        They are those of `CHUNK` training examples and as many latents, always the same ones. Where there are fewer
        examples, each is taken equally often.
        """
        found = [self._statistics(state, replica) for replica in range(self._experiment.config.num_seeds)]
        stacked: Statistics = jax.tree.map(lambda *leaves: np.stack(leaves), *found)
        return stacked

    def _statistics(self, state: TrainState | Weights, replica: int) -> Statistics:
        params, noise = _averaged(state, replica), self._calibration_noise()
        x = jax.ShapeDtypeStruct((CHUNK, *self._experiment.spec.shape), np.float32)
        if not jax.eval_shape(self._measure, params, x, noise):  # Nets without batch normalisation need no data.
            return {}
        found: Statistics = self._measure(params, self._calibration_examples, noise)
        return found

    @functools.cached_property
    def _calibration_examples(self) -> jax.Array:
        shape = self._experiment.spec.shape
        return jnp.asarray(np.resize(self.training(CHUNK, CALIBRATION_SEED), (CHUNK, *shape)))

    def _calibration_noise(self) -> Noise:
        noise: Noise = self._noise(jax.random.key(CALIBRATION_SEED), jnp.arange(CHUNK))
        return noise

    def latents(self, n: int, seed: int, first: int = 0) -> np.ndarray:
        """Draws the latents `[n, K]` of number `first` and on from the prior, as `generate` does."""
        key = jax.random.key(seed)
        drawn = map_in_chunks(lambda i: self._noise(key, i)["z"], np.arange(first, first + n), size=CHUNK)
        return np.asarray(drawn)

    def noise(self, n: int, seed: int) -> Noise:
        """Draws everything random in the losses of `n` examples, `{name: [n, …]}`, of which `generate` takes a part."""
        key = jax.random.key(seed)
        drawn: Noise = map_in_chunks(lambda i: self._noise(key, i), np.arange(n), size=CHUNK)
        return drawn

    def generate(self, params: Params, n: int, seed: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Draws the latents `[n, K]` of number `first` and on from the prior, and returns them and G of them `[n, …]`.

        Latent i depends on the seed and i alone.
        """

        def chunk(index: np.ndarray) -> tuple[jax.Array, jax.Array]:
            noise = self._noise(jax.random.key(seed), index)
            return noise["z"], self._generate(params, noise)

        z, x = map_in_chunks(chunk, np.arange(first, first + n), size=CHUNK)
        return z, x

    def decode(self, params: Params, z: np.ndarray, seed: int) -> np.ndarray:
        """Returns G(z, ε) `[n, …]` of given latents `[n, K]`, with the ε of the seed."""

        def chunk(index: np.ndarray, z: np.ndarray) -> jax.Array:
            return self._generate(params, {**self._noise(jax.random.key(seed), index), "z": jnp.asarray(z)})

        return np.asarray(map_in_chunks(chunk, np.arange(len(z)), z, size=CHUNK))

    def encode(self, params: Params, x: np.ndarray) -> np.ndarray:
        """Returns F(x) `[n, K]` of examples `[n, …]`, scaled as the data are."""
        if self._encode is None:
            raise UserError("this objective has no reconstructor, so nothing can be encoded; veegan has one")
        return np.asarray(map_in_chunks(functools.partial(self._encode, params), self._checked(x), size=CHUNK))

    def invert(
        self, params: Params, x: np.ndarray, seed: int, *, encoded: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Inverts the generator (IvOM): finds the z whose G(z, ε) is nearest to each example.

        The search starts from draws of the prior, of the seed; ε is that of `decode` with the same seed.

        Args:
            params: the parameters.
            x: examples `[n, …]`, scaled as the data are.
            seed: the seed of starts and ε.
            encoded: whether F(x) is a start too.

        Returns:
            The z `[n, K]`, and the mean squared difference that is left `[n]`.
        """

        def chunk(index: np.ndarray, x: np.ndarray) -> Inversion:
            key = jax.random.key(seed)
            starts = [self._noise(jax.random.fold_in(key, start), index)["z"] for start in range(STARTS)]
            starts += [self._encode(params, x)] if encoded and self._encode else []
            return self._invert(params, jnp.asarray(x), jnp.stack(starts, axis=1), self._noise(key, index)["eps"])

        x = self._checked(x)
        found = map_in_chunks(chunk, np.arange(len(x)), x, size=INVERTED)
        return found.z, found.error

    def _checked(self, x: np.ndarray) -> np.ndarray:
        """Checks arrays that another program may have made; what networks and sources return is float32 already."""
        known = getattr(x, "dtype", None) == np.float32
        spec = self._experiment.spec
        return x if known else as_examples(x, spec.shape, spec.bounded)

    def _nearest(self, params: Params, x: jax.Array, starts: jax.Array, eps: jax.Array) -> Inversion:
        noise = jnp.repeat(eps, starts.shape[1], axis=0)
        return invert(lambda z: self._objective.generate(params, {"z": z, "eps": noise}), x, starts)


def open_experiment(config: Any, workdir: Path) -> Experiment:
    """Builds the experiment of a trained run, whose data are opened when they are needed.

    A warning, and the note of the run's tables, then say so if the data have changed since the run was trained.
    """
    experiment = build(_with_data_path(config, workdir), stored_spec(workdir))

    def open_source() -> Source:
        source = experiment.open_source()
        if not (changed := data_changes(workdir, source.contents)):
            return source
        _log.warning("%s: the data may have changed since the run was trained: %s", workdir, changed)
        note = "; ".join(filter(None, (source.note, f"other data than at training: {changed}")))
        return source._replace(note=note)

    return experiment._replace(open_source=functools.cache(open_source))


def _with_data_path(config: Any, workdir: Path) -> Any:
    """Returns a config whose data are where they were when the run began, if its path leads nowhere from here."""
    path = config[config.data].get("path", "")
    if not path or os.path.exists(path) or not (known := stored_data_path(workdir)):
        return config
    changed = config.copy_and_resolve_references()
    changed[config.data].path = known
    return changed


def _averaged(state: TrainState | Weights, replica: int) -> Params:
    params: Params = _replica({**state.params, **state.ema}, replica)
    return params


def _replica(tree: Any, replica: int) -> Any:
    """Returns one replica of leaves `[S, …]`, on one device, so that its bits depend on no number of devices."""
    local = jax.tree.map(lambda leaf: leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf, tree)
    return jax.tree.map(lambda leaf: leaf[replica], local)
