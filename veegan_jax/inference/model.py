"""Samples, encodings and reconstructions of a trained model."""

import functools
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.config.build import Experiment, build
from veegan_jax.config.convert import from_effective
from veegan_jax.errors import UserError
from veegan_jax.inference.inversion import Inversion, invert
from veegan_jax.objectives.base import Noise, Params, frozen
from veegan_jax.storage.checkpoint import Checkpoints, Restored, fingerprint, from_host
from veegan_jax.storage.folder import stored_config
from veegan_jax.train.compile import initial_state
from veegan_jax.train.state import TrainState

# Examples computed at a time. Always so many, and example i depends on (seed, i) alone: the first m of n samples are,
# to the bit, the m samples.
CHUNK = 512
# Examples whose latents are optimised at a time, and from how many draws of the prior (the authors' code has 3).
INFERRED, STARTS = 64, 3
# Of the draws by whose statistics batch normalisation is frozen.
CALIBRATION_SEED = 4


class Sampler:
    """The compiled functions of an experiment's networks, fed in chunks; numpy in and out."""

    def __init__(self, experiment: Experiment):
        objective, sample = experiment.objective, experiment.source.sample
        self._objective = objective
        self._held_out = jax.tree.map(jnp.asarray, experiment.source.held_out)
        self._noise = jax.jit(lambda key, index: jax.vmap(objective.noise)(_fold(key, index)))
        self._generate = jax.jit(objective.generate)
        self._encode = jax.jit(objective.encode) if objective.encode else None
        self._invert = jax.jit(self._nearest)
        self._source = experiment.source
        self.training = functools.cache(self._training)
        self._freeze = jax.jit(functools.partial(frozen, objective))
        self._real = jax.jit(lambda arrays, key, index: jax.vmap(lambda k: sample(arrays, k))(_fold(key, index)))

    def trained(self, state: TrainState, replica: int) -> Params:
        """One replica's parameters for inference: averaged ones in the place of raw ones, batch normalisation frozen.

        Its statistics are those of `CHUNK` training examples and as many latents, always the same.
        """
        params = jax.tree.map(lambda leaf: leaf[replica], {**state.params, **state.ema})
        return self._freeze(params, *self._calibration)

    @functools.cached_property
    def _calibration(self) -> tuple[jax.Array, Noise]:
        key = jax.random.key(CALIBRATION_SEED)
        return jnp.asarray(self.training(CHUNK, CALIBRATION_SEED)), self._noise(key, jnp.arange(CHUNK))

    def generate(self, params: Params, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """`n` latents `[n, K]` of the prior, and what the generator makes of them `[n, …]`."""

        def chunk(index: jax.Array) -> tuple[jax.Array, jax.Array]:
            noise = self._noise(jax.random.key(seed), index)
            return noise["z"], self._generate(params, noise)

        return _in_chunks(chunk, np.arange(n))

    def decode(self, params: Params, z: np.ndarray, seed: int) -> np.ndarray:
        """G(z, ε) `[n, …]` of given latents `[n, K]`, with ε of the seed."""

        def chunk(index: jax.Array, z: jax.Array) -> jax.Array:
            return self._generate(params, {**self._noise(jax.random.key(seed), index), "z": z})

        return _in_chunks(chunk, np.arange(len(z)), z)

    def encode(self, params: Params, x: np.ndarray) -> np.ndarray:
        """F(x) `[n, K]`."""
        if self._encode is None:
            raise UserError("this objective has no reconstructor, so nothing can be encoded; veegan has one")
        encode = self._encode
        return _in_chunks(lambda x: encode(params, x), x)

    def invert(self, params: Params, x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """IvOM: the z `[n, K]` whose G(z, ε) is nearest to each example, and the mean squared error left `[n]`.

        It starts from draws of the prior, of the seed; ε is that of `decode` with the same seed.
        """

        def chunk(index: jax.Array, x: jax.Array) -> Inversion:
            key = jax.random.key(seed)
            starts = [self._noise(jax.random.fold_in(key, start), index)["z"] for start in range(STARTS)]
            return self._invert(params, x, jnp.stack(starts, axis=1), self._noise(key, index)["eps"])

        found = _in_chunks(chunk, np.arange(len(x)), x, size=INFERRED)
        return found.z, found.error

    def _nearest(self, params: Params, x: jax.Array, starts: jax.Array, eps: jax.Array) -> Inversion:
        noise = jnp.repeat(eps, STARTS, axis=0)
        return invert(lambda z: self._objective.generate(params, {"z": z, "eps": noise}), x, starts)

    def real(self, n: int, seed: int) -> np.ndarray:
        """`n` examples `[n, …]` of the data held out of training."""
        return self._draw(self._held_out, n, seed)

    def _training(self, n: int, seed: int) -> np.ndarray:
        """`n` examples `[n, …]` of the data that training draws from; the first of a stream, whatever the seed.

        They are drawn once, since those data may fill much of the device, and are not kept there.
        """
        source = self._source
        if source.stream:
            return _in_chunks(jax.jit(jax.vmap(source.stream.decode)), next(source.stream.batches(0, n)))
        return self._draw(jax.tree.map(jnp.asarray, source.train), n, seed)

    def _draw(self, arrays: Any, n: int, seed: int) -> np.ndarray:
        return _in_chunks(lambda index: self._real(arrays, jax.random.key(seed), index), np.arange(n))


def _fold(key: jax.Array, index: jax.Array) -> jax.Array:
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)


def _in_chunks(function: Any, *arrays: np.ndarray, size: int = CHUNK) -> Any:
    """Applies a function to `size` rows of arrays at a time, the last of them padded; numpy out."""
    n = len(arrays[0])
    padded = [np.concatenate([a, np.repeat(a[:1], -n % size, axis=0)]) for a in arrays]
    chunks = [
        jax.tree.map(np.asarray, function(*(jnp.asarray(a[start : start + size]) for a in padded)))
        for start in range(0, n, size)
    ]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *chunks)


class Run:
    """A trained model read from a workdir; see `load`.

    Attributes:
        config: the run's configuration.
        step: the step of the checkpoint.
        experiment: the parts that the config names.
        replicas: one set of parameters per seed, averaged ones in the place of raw ones.
        sampler: the networks' compiled functions, for those who want another replica than the first.
    """

    def __init__(self, experiment: Experiment, step: int, state: TrainState):
        self.config = experiment.config
        self.step = step
        self.experiment = experiment
        self.sampler = Sampler(experiment)
        self.replicas = [self.sampler.trained(state, replica) for replica in range(experiment.config.num_seeds)]

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Draws `n` examples, float32 `[n, …]`; the first m of them are those of `sample(m, seed)`."""
        return self.sampler.generate(self.replicas[0], _positive(n), seed)[1]

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The mean F(x) of p(z|x), float32 `[n, K]`, of examples `[n, …]` scaled as the data are.

        Raises:
            UserError: if `x` has another shape, or the objective has no reconstructor.
        """
        return self.sampler.encode(self.replicas[0], self._examples(x))

    def reconstruct(self, x: np.ndarray, seed: int = 0) -> np.ndarray:
        """G(F(x), ε), float32 `[n, …]`, of examples `[n, …]`, with generator noise ε (if any) of the seed.

        Raises:
            UserError: if `x` has another shape, or the objective has no reconstructor.
        """
        return self.sampler.decode(self.replicas[0], self.encode(x), seed)

    def held_out(self, n: int, seed: int = 0) -> np.ndarray:
        """`n` real examples, float32 `[n, …]`, that training never saw."""
        return self.sampler.real(_positive(n), seed)

    def _examples(self, x: np.ndarray) -> np.ndarray:
        x, shape = np.asarray(x, np.float32), self.experiment.source.shape
        if x.shape[1:] != shape or len(x) == 0:
            raise UserError(f"x has shape {x.shape}; it must be [n, {', '.join(map(str, shape))}] with n ≥ 1")
        return x


def load(workdir: str | Path, step: int | Literal["latest", "best"] = "latest") -> Run:
    """Reads a trained model.

    Args:
        workdir: of the run, such as `runs/ring`.
        step: 'latest', 'best' by the config's metric, or the step of a checkpoint that was kept.

    Raises:
        UserError: if there is no run, no such checkpoint, or no whole one.
    """
    folder = Path(workdir)
    return load_with(build(from_effective(stored_config(folder))), folder, step)


def load_with(experiment: Experiment, workdir: Path, step: int | str = "latest") -> Run:
    """`load`, with an experiment that is built already."""
    restored = _restored(experiment, workdir, step)
    return Run(experiment, restored.step, from_host(restored.state))


def fingerprints(workdir: Path, step: int | str = "latest") -> tuple[int, dict[str, str], dict[str, str]]:
    """A checkpoint's step, the digests of its parameters and of its whole state, and the versions that made it.

    Raises:
        UserError: as `load` does.
    """
    restored = _restored(build(from_effective(stored_config(workdir))), workdir, step)
    digests = {"params": fingerprint(restored.state.params), "state": fingerprint(restored.state)}
    return restored.step, digests, restored.meta["versions"]


def _restored(experiment: Experiment, workdir: Path, step: int | str) -> Restored:
    if not (workdir / "checkpoints").is_dir():
        raise UserError(f"--workdir {workdir} holds no checkpoint yet; train there first")
    checkpoints = Checkpoints(workdir, best_metric=experiment.best_metric, read_only=True)
    try:
        if step == "best" and (best := checkpoints.best_step()) is not None:
            step = best
        restored = checkpoints.restore(jax.eval_shape(lambda: initial_state(experiment)), _as_step(step))
    finally:
        checkpoints.close()
    if restored is None:
        raise UserError(f"--workdir {workdir} holds no checkpoint yet; train there first")
    return restored


def _as_step(step: int | str) -> int | None:
    if step in ("latest", "best"):  # 'best' of a run that was never measured is its latest
        return None
    try:
        return int(step)
    except ValueError as error:
        raise UserError(f"step is {step!r}; it must be latest, best or a number") from error


def _positive(n: int) -> int:
    if n < 1:
        raise UserError(f"n is {n}; at least 1 example can be drawn")
    return n
