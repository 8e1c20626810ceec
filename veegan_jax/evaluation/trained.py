"""A trained model as its users have it: samples, latents, reconstructions, inversion, and what it misses."""

import functools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from veegan_jax.config.build import Experiment
from veegan_jax.config.convert import effective, from_effective
from veegan_jax.data.examples import as_examples
from veegan_jax.data.given import Given, Picture, read_examples
from veegan_jax.errors import UserError
from veegan_jax.evaluation.missing import JUDGED, Judged, judge
from veegan_jax.evaluation.model_card import model_card
from veegan_jax.evaluation.spaces import Space, space
from veegan_jax.inference.export import programs, write_model
from veegan_jax.inference.model import Sampler, Weights, open_experiment
from veegan_jax.inference.real_examples import CHUNK
from veegan_jax.inference.rejection import Rejection, check_budget
from veegan_jax.objectives.base import Statistics
from veegan_jax.paths import local_path
from veegan_jax.storage.checkpoint import read_checkpoint
from veegan_jax.storage.files import write_atomically
from veegan_jax.storage.folder import stored_config
from veegan_jax.storage.versions import changed_settings, versions
from veegan_jax.train.compile import abstract_state

_log = logging.getLogger("veegan_jax")
# Latents whose directions differ by a sine below this are joined by a straight line, since a sphere has no shortest
# path between opposite points, and nearly equal ones need none. So are those of which one is the origin.
STRAIGHT = 1e-4


class Inverted(NamedTuple):
    """The latents whose images under the generator are nearest to some examples.

    Attributes:
        z: latents, float32 `[n, K]`.
        error: the mean squared difference of G(z, ε) from the example, per coordinate, float32 `[n]`.
    """

    z: np.ndarray
    error: np.ndarray


class Run:
    """A trained model read from a workdir; see `load`.

    Examples x are float32 `[n, …]` of the data's shape, images in [−1, 1]; latents z are float32 `[n, K]`. Methods that
    take examples or latents also take one of them, without the first axis, and return one result. The model is that
    of one seed, `replica`. What is drawn is a function of the arguments alone.

    Attributes:
        config: the run's configuration.
        step: the step of the checkpoint.
        replica: the number of the seed whose model this is, from 0.
        experiment: the parts that the config names.
        replicas: one set of parameters for each seed, averaged ones in place of raw ones.
        sampler: the networks' compiled functions, for use with another replica.
    """

    def __init__(
        self,
        experiment: Experiment,
        step: int,
        weights: Weights,
        statistics: Statistics | None = None,
        folder: Path | None = None,
        replica: int = 0,
    ):
        self._folder, self._rejections = folder, dict[tuple[float, int], Rejection]()
        self.config = experiment.config
        self.step = step
        self.experiment = experiment
        self.sampler = Sampler(experiment)
        seeds = range(experiment.config.num_seeds)
        if replica not in seeds:
            raise UserError(
                f"replica is {replica}; it must be 0 to {len(seeds) - 1}, since the run has {len(seeds)} seeds"
            )
        self.replica = replica
        self.replicas = [self.sampler.trained(weights, each, statistics) for each in seeds]

    def __repr__(self) -> str:
        config, shape = self.config, list(self.experiment.spec.shape)
        what = f"{config.objective} on {config.data}{f' in {self._folder}' if self._folder else ''}"
        seed = config.seed + self.replica
        return f"<{what}: step {self.step:,}, seed {seed}, latents [{config.latent_dim}], examples {shape}>"

    @functools.cached_property
    def space(self) -> Space:
        """The coordinates in which examples are compared, and what is known of their modes; opens the data."""
        return space(self.experiment.source)

    @property
    def _params(self) -> Any:
        return self.replicas[self.replica]

    def sample(self, n: int, seed: int = 0, rejection: float | None = None) -> np.ndarray:
        """Draws `n` examples, float32 `[n, …]`; the first m of them are those of `sample(m, seed, rejection)`.

        Args:
            n: the number of examples.
            seed: the seed of their latents.
            rejection: K, of how many samples one is kept on average, see `Rejection`; None to keep all.

        Raises:
            UserError: if `n` or `rejection` is out of range, or the data, which the first rejection needs, cannot be
                opened.
        """
        return np.concatenate(list(self.batches(n, seed, rejection=rejection)))

    def batches(self, n: int, seed: int = 0, *, start: int = 0, rejection: float | None = None) -> Iterator[np.ndarray]:
        """Yields examples number `start` to `start + n − 1` of a seed as they come, at most 512 at once.

        A million examples need no more memory than 512. Concatenated they are `sample(start + n, …)[start:]`.

        Args:
            n: the number of examples.
            seed: the seed of their latents.
            start: the number of the first example. With rejection, examples before it are drawn again, and dropped.
            rejection: as for `sample`.

        Raises:
            UserError: as `sample` does.
        """
        _check_draw(n, seed, start)
        if rejection is not None:
            return _from(self.rejection(rejection).pieces(start + n, seed), start)
        firsts = range(start, start + n, CHUNK)
        return (self.sampler.generate(self._params, min(CHUNK, start + n - i), seed, i)[1] for i in firsts)

    def latents(self, n: int, seed: int = 0, *, start: int = 0) -> np.ndarray:
        """Draws latents from the prior, float32 `[n, K]`: those of examples `start` to `start + n − 1` of `sample`."""
        _check_draw(n, seed, start)
        return self.sampler.latents(n, seed, start)

    def decode(self, z: ArrayLike, seed: int = 0) -> np.ndarray:
        """Returns G(z, ε), examples of given latents.

        Args:
            z: latents `[n, K]`, or one `[K]`.
            seed: the seed of the generator's noise ε, if it has any. Latents of `latents(n, seed)` with the same seed
                give `sample(n, seed)`.

        Raises:
            UserError: if `z` has another shape, no numbers, or values that are not finite.
        """
        latents, one = self._latents(z, "z")
        _check_draw(1, seed)
        return _first_if(one, self.sampler.decode(self._params, latents, seed))

    def encode(self, x: ArrayLike) -> np.ndarray:
        """Returns the mean F(x) of p(z|x), latents `[n, K]`.

        Args:
            x: examples `[n, …]`, or one, of any float dtype; images lie in [−1, 1], as those of `sample`, `held_out`
                and `preprocess` do.

        Raises:
            UserError: if `x` has another shape, dtype or range (as pixels uint8 have), or values that are not finite,
                or if the objective has no reconstructor.
        """
        examples, one = self._examples(x)
        return _first_if(one, self.sampler.encode(self._params, examples))

    def reconstruct(self, x: ArrayLike, seed: int = 0) -> np.ndarray:
        """Returns G(F(x), ε), an example for each example.

        Args:
            x: examples `[n, …]`, or one; see `encode`.
            seed: the seed of the generator's noise ε, if it has any.

        Raises:
            UserError: as `encode` does.
        """
        return self.decode(self.encode(x), seed)

    def interpolate(self, a: ArrayLike, b: ArrayLike, steps: int = 8, seed: int = 0) -> np.ndarray:
        """Returns examples along the way from latents `a` to latents `b`, `[n, steps, …]`; `[steps, …]` for one pair.

        The way is an arc between both (Shoemake, 1985), along which latents are about as long as their ends: a straight
        line would pass near the origin, where a normal prior of many dimensions has no mass. The codes with which
        latents of `infogan` begin are not normal, so that the way between two categories leaves its prior.

        Args:
            a: the first latents `[n, K]`, or one `[K]`.
            b: the last latents, as many.
            steps: the number of examples along each way, both ends included, at least 2.
            seed: the seed of the generator's noise ε, the same along a way.

        Raises:
            UserError: if `a` or `b` is no latents, they are not as many, or `steps` is below 2.
        """
        (first, one), (last, _) = self._latents(a, "a"), self._latents(b, "b")
        if first.shape != last.shape:
            raise UserError(f"a has {len(first)} latents and b {len(last)}; they must be as many")
        _check_draw(1, seed)
        if steps < 2:
            raise UserError(f"steps is {steps}; it must be at least 2, the two ends")
        along = [self.sampler.decode(self._params, spherical(first, last, t), seed) for t in np.linspace(0, 1, steps)]
        return _first_if(one, np.stack(along, axis=1))

    def invert(self, x: ArrayLike, seed: int = 0) -> Inverted:
        """Inverts the generator (IvOM): finds the z whose G(z, ε) is nearest to each example.

        L-BFGS starts from three draws of the prior and, where there is a reconstructor, from F(x) too.

        Args:
            x: examples `[n, …]`, or one; see `encode`.
            seed: the seed of the starts and of ε; `decode` with the same seed gives G(z, ε).

        Raises:
            UserError: if `x` has another shape, dtype or range, or values that are not finite.
        """
        examples, one = self._examples(x)
        _check_draw(1, seed)
        found = self.sampler.invert(self._params, examples, seed, encoded=True)
        return Inverted(*(_first_if(one, values) for values in found))

    def missing(self, x: ArrayLike | None = None, seed: int = 0) -> Judged:
        """Says which real examples and which regions of the data the generator misses; opens the data.

        Args:
            x: real examples `[n, …]` that training never saw; None for up to 2,000 held-out ones.
            seed: the seed of the samples that examples are judged by.

        Returns:
            What is found; its `verdict` is a sentence, `coverage.neighbours.missed` a bool for each example, and
            `coverage.regions` are the regions.

        Raises:
            UserError: if `x` is wrong, samples are not finite, or the data cannot be opened or are fewer than two.
        """
        _check_draw(1, seed)
        examples = self.sampler.real(JUDGED, seed) if x is None else self._examples(x)[0]
        return judge(self.sampler, self.experiment, self._params, examples, seed, self.space)

    def rejection(self, budget: float, replica: int | None = None) -> Rejection:
        """Returns the generator of a replica with rejection by the density ratio.

        The classifier is read from the run's folder, or trained on the data and kept there.

        Args:
            budget: K, of how many samples one is kept on average, from 1 to 1000.
            replica: the number of the replica; None for the model's own.

        Raises:
            UserError: if `budget` is out of range, or the classifier has to be trained and the data cannot be opened.
        """
        replica = self.replica if replica is None else replica
        wanted = check_budget(budget), replica
        if wanted not in self._rejections:
            self._rejections[wanted] = Rejection(self.experiment, self.replicas[replica], budget, self._folder)
        return self._rejections[wanted]

    def held_out(self, n: int, seed: int = 0) -> np.ndarray:
        """Draws `n` real examples, float32 `[n, …]`, that training never saw; each of a finite set at most once.

        The first m of them are those of `held_out(m, seed)`.

        Raises:
            UserError: if fewer than `n` examples are held out, or the data are no longer where they were.
        """
        _check_draw(n, seed)
        if n > (most := self.experiment.source.num_held_out):
            raise UserError(f"n is {n}; it must be at most {most}, since {most} examples are held out, each drawn once")
        return self.sampler.real(n, seed)

    def preprocess(self, examples: Given | Picture | Sequence[Picture]) -> np.ndarray:
        """Brings examples to the shape and the scale of the data, float32 `[n, …]`; images as at training.

        Args:
            examples: an array (8 bits are 0 to 255); a `.npy` or `.npz` file; an image file, or a folder of them in
                the order of their names; an image of Pillow; or a list of image files and such images.

        Raises:
            UserError: naming what is wrong with the examples, and what would be right.
        """
        return read_examples(examples, self.experiment.spec, "examples").x

    def to_uint8(self, x: ArrayLike) -> np.ndarray:
        """Returns the pixels of images in [−1, 1], uint8 `[n, H, W, C]` from 0 to 255, rounded.

        Raises:
            UserError: if the data are no images, or `x` is not as `encode` wants it.
        """
        if not self.experiment.spec.bounded:
            raise UserError(f"{self.config.data} has no images, so that nothing has pixels")
        examples, one = self._examples(x)
        return _first_if(one, pixels(examples))

    def export(self, folder: str | Path, rejection: float | None = None) -> Path:
        """Writes the model into a folder that needs neither this project nor its data; its README says how it is used.

        Args:
            folder: the folder, which is made.
            rejection: K, of how many samples one is kept on average, for a model that rejects; None to keep all.

        Returns:
            The folder.

        Raises:
            UserError: if a file cannot be written, or `rejection` is wrong or needs data that cannot be opened.
        """
        target, spec, encode = local_path(folder, "folder"), self.experiment.spec, self.experiment.objective.encode
        rule = None if rejection is None else self.rejection(rejection)
        model = {"shape": spec.shape, "bounded": spec.bounded, "step": self.step, "replica": self.replica}
        config = effective(self.config)
        whole = {"model": {**model, "rejection": rejection}, "config": config, "versions": versions(config)}
        write_model(target, programs(self.experiment, self._params, rule), whole)
        more = {"bounded": spec.bounded, "encodes": bool(encode), "rejection": rejection, "folder": self._folder}
        card = model_card(self.config, self.step, self.replica, self._params["gen"], spec.shape, **more)
        write_atomically(target / "README.md", card)
        return target

    def _examples(self, x: ArrayLike) -> tuple[np.ndarray, bool]:
        """Returns examples `[n, …]`, checked, and whether a single one without the first axis was given."""
        spec = self.experiment.spec
        return _checked(x, spec.shape, spec.bounded, "x")

    def _latents(self, z: ArrayLike, name: str) -> tuple[np.ndarray, bool]:
        """Returns latents `[n, K]`, checked, and whether a single one `[K]` was given."""
        return _checked(z, (self.config.latent_dim,), False, name)


def load(workdir: str | Path, step: int | Literal["latest", "best"] = "latest", replica: int = 0) -> Run:
    """Reads a trained model. Data are opened when real examples are asked for, and not to load, sample or encode.

    Runs of versions before 0.2.0 lack what that needs, so that their data are opened now.

    Args:
        workdir: the folder of a run, such as `runs/ring`.
        step: 'latest', 'best' by the config's metric, or the step of a checkpoint that was kept.
        replica: the number of the seed whose model it is, from 0, where the run has several.

    Raises:
        UserError: if there is no run, no such checkpoint or replica, or no whole one; or if JAX is set to other dtypes
            or another generator of random numbers than runs are made with.
    """
    folder = local_path(workdir, "workdir")
    return load_with(from_effective(stored_config(folder)), folder, step, replica)


def load_with(config: Any, workdir: Path, step: int | str = "latest", replica: int = 0) -> Run:
    """Reads a trained model as `load` does, with a given config."""
    experiment = open_experiment(config, workdir)
    state = abstract_state(experiment)
    # The optimizers' moments, two thirds of a checkpoint, are not read.
    restored = read_checkpoint(experiment, workdir, {"params": state.params, "ema": state.ema}, step)
    if changed := changed_settings(restored.meta["versions"]):
        _log.warning("numbers may differ from those of the run in %s: %s", workdir, changed)
    weights = Weights(restored.state["params"], restored.state.get("ema", {}))
    return Run(experiment, restored.step, weights, restored.statistics, workdir, replica)


def spherical(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Interpolates between latents `[n, K]` along the arc between them (Shoemake, 1985), at a share t of the way."""
    lengths = np.linalg.norm(a, axis=-1, keepdims=True) * np.linalg.norm(b, axis=-1, keepdims=True)
    cosine = np.sum(a * b, axis=-1, keepdims=True) / np.maximum(lengths, np.finfo(np.float32).tiny)
    # All sines have one precision, so that the ends are exactly a and b.
    angle = np.arccos(np.clip(cosine, -1, 1)).astype(np.float64)
    straight = (np.sin(angle) < STRAIGHT) | (lengths == 0)
    sine = np.where(straight, 1, np.sin(angle))
    first = np.where(straight, 1 - t, np.sin((1 - t) * angle) / sine)
    last = np.where(straight, t, np.sin(t * angle) / sine)
    return np.asarray(first * a + last * b, np.float32)


def pixels(x: np.ndarray) -> np.ndarray:
    """Returns the pixels of images in [−1, 1], rounded to uint8 from 0 to 255, in the shape of `x`."""
    return np.rint(np.clip((x + 1) * 127.5, 0, 255)).astype(np.uint8)


def _checked(x: ArrayLike, shape: tuple[int, ...], bounded: bool, name: str) -> tuple[np.ndarray, bool]:
    """Returns `[n, *shape]` as `as_examples` does, and whether a single one of `shape` was given."""
    one = isinstance(x, list | tuple | np.ndarray) and np.shape(x) == shape
    return as_examples(np.asarray(x)[None] if one else x, shape, bounded, name), one


def _first_if(one: bool, results: Any) -> np.ndarray:
    return np.asarray(results[0] if one else results)


def _from(pieces: Iterator[tuple[np.ndarray, np.ndarray]], start: int) -> Iterator[np.ndarray]:
    """Yields the examples of pieces of latents and examples from number `start` on."""
    passed = 0
    for _, x in pieces:
        kept = x[max(start - passed, 0) :]
        passed += len(x)
        if len(kept):
            yield kept


def _check_draw(n: int, seed: int, start: int = 0) -> None:
    if n < 1:
        raise UserError(f"n is {n}; at least 1 example can be drawn")
    # JAX would take a larger seed for its last 32 bits, and so two seeds for one.
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise UserError(f"seed is {seed}; it must be a whole number from 0 to {2**32 - 1}")
    if start < 0:
        raise UserError(f"start is {start}; it must be 0 or more")
