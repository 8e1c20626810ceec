"""A trained model: samples, encodings and reconstructions."""

import functools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.config.build import Experiment, build
from veegan_jax.config.convert import from_effective
from veegan_jax.data.examples import as_examples
from veegan_jax.errors import UserError
from veegan_jax.inference.inversion import Inversion, invert
from veegan_jax.inference.real_examples import CHUNK, RealExamples, fold
from veegan_jax.objectives.base import Noise, Params, frozen
from veegan_jax.ops.chunks import map_in_chunks
from veegan_jax.paths import local_path
from veegan_jax.storage.checkpoint import read_checkpoint
from veegan_jax.storage.folder import data_changes, stored_config
from veegan_jax.storage.versions import changed_settings
from veegan_jax.train.compile import abstract_state
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

    Attributes:
        real: `real(n, seed)` returns held-out examples, see `RealExamples.held_out`.
        training: `training(n, seed)` returns training examples, see `RealExamples.training`.
        real_positions: `real_positions(n, seed)` returns where those of `real(n, seed)` are, see
            `RealExamples.positions`.
    """

    def __init__(self, experiment: Experiment, examples: RealExamples | None = None):
        """Compiles nothing yet; `examples` are those of the experiment's source, made here unless they are given."""
        objective, source = experiment.objective, experiment.source
        self._objective, self._source = objective, source
        self._noise = jax.jit(lambda key, index: jax.vmap(objective.noise)(fold(key, index)))
        self._generate = jax.jit(objective.generate)
        self._encode = jax.jit(objective.encode) if objective.encode else None
        self._invert = jax.jit(self._nearest)
        self._freeze = jax.jit(functools.partial(frozen, objective))
        examples = examples or RealExamples(source)
        self.real, self.training, self.real_positions = examples.held_out, examples.training, examples.positions

    def trained(self, state: TrainState | Weights, replica: int) -> Params:
        """Returns one replica's parameters for inference: averaged instead of raw ones, batch normalisation frozen.

        The statistics of batch normalisation are those of `CHUNK` training examples and as many latents, always the
        same ones. Where there are fewer examples, each is taken equally often.
        """
        params = jax.tree.map(lambda leaf: leaf[replica], {**state.params, **state.ema})
        return self._freeze(params, *self._calibration)

    @functools.cached_property
    def _calibration(self) -> tuple[jax.Array, Noise]:
        key = jax.random.key(CALIBRATION_SEED)
        x = np.resize(self.training(CHUNK, CALIBRATION_SEED), (CHUNK, *self._source.shape))
        return jnp.asarray(x), self._noise(key, jnp.arange(CHUNK))

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

    def invert(self, params: Params, x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Inverts the generator (IvOM): the z `[n, K]` whose G(z, ε) is nearest to each example, and the error `[n]`.

        The error is the mean squared difference that is left. The search starts from draws of the prior, of the seed; ε
        is that of `decode` with the same seed.
        """

        def chunk(index: np.ndarray, x: np.ndarray) -> Inversion:
            key = jax.random.key(seed)
            starts = [self._noise(jax.random.fold_in(key, start), index)["z"] for start in range(STARTS)]
            return self._invert(params, jnp.asarray(x), jnp.stack(starts, axis=1), self._noise(key, index)["eps"])

        x = self._checked(x)
        found = map_in_chunks(chunk, np.arange(len(x)), x, size=INVERTED)
        return found.z, found.error

    def _checked(self, x: np.ndarray) -> np.ndarray:
        """Checks arrays that another program may have made; what networks and sources return is float32 already."""
        known = getattr(x, "dtype", None) == np.float32
        return x if known else as_examples(x, self._source.shape, self._source.bounded)

    def _nearest(self, params: Params, x: jax.Array, starts: jax.Array, eps: jax.Array) -> Inversion:
        noise = jnp.repeat(eps, STARTS, axis=0)
        return invert(lambda z: self._objective.generate(params, {"z": z, "eps": noise}), x, starts)


class Run:
    """A trained model read from a workdir; see `load`.

    Attributes:
        config: the run's configuration.
        step: the step of the checkpoint.
        experiment: the parts that the config names.
        replicas: one set of parameters for each seed, averaged ones in place of raw ones.
        sampler: the networks' compiled functions, for use with another replica than the first.
    """

    def __init__(self, experiment: Experiment, step: int, weights: Weights):
        self.config = experiment.config
        self.step = step
        self.experiment = experiment
        self.sampler = Sampler(experiment)
        self.replicas = [self.sampler.trained(weights, replica) for replica in range(experiment.config.num_seeds)]

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Draws `n` examples, float32 `[n, …]`; the first m of them are those of `sample(m, seed)`."""
        return self.sampler.generate(self.replicas[0], _positive(n), seed)[1]

    def sample_in_pieces(self, n: int, seed: int = 0) -> Iterator[np.ndarray]:
        """Draws the examples of `sample(n, seed)`, and yields them a few hundred at a time, so that n may be large."""
        for first in range(0, _positive(n), CHUNK):
            yield self.sampler.generate(self.replicas[0], min(CHUNK, n - first), seed, first)[1]

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Returns the mean F(x) of p(z|x), float32 `[n, K]`.

        Args:
            x: examples `[n, …]` of any float dtype; images lie in [−1, 1], as what `sample` and `held_out` return.

        Raises:
            UserError: if `x` has another shape, dtype or range (as pixels uint8 have), or values that are not finite,
                or if the objective has no reconstructor.
        """
        return self.sampler.encode(self.replicas[0], self._examples(x))

    def reconstruct(self, x: np.ndarray, seed: int = 0) -> np.ndarray:
        """Returns G(F(x), ε), float32 `[n, …]`, with generator noise ε (if any) of the seed.

        Args:
            x: examples `[n, …]`; see `encode`.
            seed: the seed of ε.

        Raises:
            UserError: as `encode` does.
        """
        return self.sampler.decode(self.replicas[0], self.encode(x), seed)

    def held_out(self, n: int, seed: int = 0) -> np.ndarray:
        """Draws `n` real examples, float32 `[n, …]`, that training never saw; each of a finite set at most once.

        The first m of them are those of `held_out(m, seed)`.

        Raises:
            UserError: if fewer than `n` examples are held out.
        """
        most = self.experiment.source.num_held_out
        if _positive(n) > most:
            raise UserError(f"n is {n}; it must be at most {most}, since {most} examples are held out, each drawn once")
        return self.sampler.real(n, seed)

    def _examples(self, x: np.ndarray) -> np.ndarray:
        source = self.experiment.source
        return as_examples(x, source.shape, source.bounded)


def load(workdir: str | Path, step: int | Literal["latest", "best"] = "latest") -> Run:
    """Reads a trained model.

    Args:
        workdir: the folder of a run, such as `runs/ring`.
        step: 'latest', 'best' by the config's metric, or the step of a checkpoint that was kept.

    Raises:
        UserError: if there is no run, no such checkpoint, or no whole one; or if JAX is set to other dtypes or another
            generator of random numbers than runs are made with.
    """
    folder = local_path(workdir, "workdir")
    return load_with(build(from_effective(stored_config(folder))), folder, step)


def load_with(experiment: Experiment, workdir: Path, step: int | str = "latest") -> Run:
    """Reads a trained model as `load` does, with an experiment that is built already.

    A warning, and the note of the run's tables, say so if the data have changed since the run was trained.
    """
    experiment = noting_changes(experiment, workdir)
    state = abstract_state(experiment)
    # The optimizers' moments, two thirds of a checkpoint, are not read.
    restored = read_checkpoint(experiment, workdir, {"params": state.params, "ema": state.ema}, step)
    if changed := changed_settings(restored.meta["versions"]):
        _log.warning("numbers may differ from those of the run in %s: %s", workdir, changed)
    return Run(experiment, restored.step, Weights(restored.state["params"], restored.state.get("ema", {})))


def noting_changes(experiment: Experiment, workdir: Path) -> Experiment:
    """Returns the experiment with a note, and logs a warning, if its data are not those that a run was trained on."""
    source = experiment.source
    if not (changed := data_changes(workdir, source.contents)):
        return experiment
    _log.warning("%s: the data may have changed since the run was trained: %s", workdir, changed)
    note = "; ".join(filter(None, (source.note, f"other data than at training: {changed}")))
    return experiment._replace(source=source._replace(note=note))


def _positive(n: int) -> int:
    if n < 1:
        raise UserError(f"n is {n}; at least 1 example can be drawn")
    return n
