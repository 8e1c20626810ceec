"""Rejection by the density ratio: a trained generator's samples are candidates, some of which are kept.

A classifier of x, trained on the frozen generator's samples q against the data p, estimates r(x) = p(x)/q(x). Optimal
budgeted rejection (Verine et al., AISTATS 2024) keeps a candidate with the probability a(x) = min(1, c·r(x)), where c
is such that one of K candidates is kept on average. No other rule with this budget brings what is kept nearer to p, by
any f-divergence.

A budget that is too small to make up for all differences goes where r is smallest, and may leave some modes with fewer
samples than they had. The space is therefore divided into the cells of k-means of data, whose shares p_k and q_k are
counted, and the rule is applied within each cell: c_k is such that the mean of a is p_k/(K·q_k), so that the cell keeps
the share of the data. A cell in which this is more than 1 has too few candidates, and is joined with the nearest cell.
"""

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.config.build import Experiment
from veegan_jax.errors import UserError
from veegan_jax.inference.density_ratio import DensityRatio, Sampled, recipe
from veegan_jax.inference.real_examples import CHUNK, RealExamples, fold
from veegan_jax.models.network import Params
from veegan_jax.ops import draws
from veegan_jax.ops.chunks import map_in_chunks
from veegan_jax.storage.checkpoint import fingerprint
from veegan_jax.storage.files import digest
from veegan_jax.storage.trees import read_tree, write_tree

_log = logging.getLogger("veegan_jax")
# The largest budget K, the mean number of candidates for a sample.
MOST_CANDIDATES = 1000.0
# The number of draws of either distribution by which shares and thresholds are counted: of points, and of images.
COUNTED, COUNTED_IMAGES = 2**17, 2**15
# A cell has this number of the data's draws on average, so that its share is known to 2 %.
COUNTED_PER_CELL = 2048
# The number of the data's draws that k-means sees.
CLUSTERED = 10_000
# The largest size, in bytes, of the examples of a stream that the classifier is trained on.
MOST_BYTES = 2**30
# The seeds of what is counted, and of the index by which a candidate's own key gives the draw that decides on it.
REAL_SEED, CANDIDATE_SEED, DECISION = 6, 7, 2**30


def check_budget(rejection: float) -> float:
    """Returns the budget K, checked.

    Raises:
        UserError: if it is no number from 1 to `MOST_CANDIDATES`.
    """
    if not 1 <= rejection <= MOST_CANDIDATES:
        raise UserError(
            f"rejection is {rejection:g}; it must be a number from 1 to {MOST_CANDIDATES:,.0f}, of how many candidates "
            "one is kept on average, such as 1.25"
        )
    return rejection


def log_scale(log_ratio: np.ndarray, mean: float) -> float:
    """Finds log c for which the mean of min(1, c·r) is `mean`, by bisection.

    Args:
        log_ratio: log r of the candidates, float `[N]`.
        mean: the mean that is wanted, 0 to 1.
    """
    low, high = -float(log_ratio.max()) + np.log(max(mean, 1e-300)), -float(log_ratio.min())
    for _ in range(60):
        middle = (low + high) / 2
        if np.mean(np.exp(np.minimum(0.0, log_ratio + middle))) < mean:
            low = middle
        else:
            high = middle
    return high


def joined(centres: np.ndarray, real_share: np.ndarray, share: np.ndarray, budget: float) -> np.ndarray:
    """Joins each cell of too few candidates, with p_k > K·q_k or none at all, with the cell of the nearest centre.

    Args:
        centres: the centres of the cells, `[C, D]`.
        real_share: the share p_k of the data in each cell, `[C]`.
        share: the share q_k of the candidates in each cell, `[C]`.
        budget: K.

    Returns:
        The number of the group of each cell, int `[C]`, 0 to G − 1, with p/q ≤ K in each group.
    """
    square = np.sum(np.square(centres[:, None] - centres[None]), axis=-1)
    group = np.arange(len(centres))
    while len(np.unique(group)) > 1:
        candidates = np.bincount(group, share, len(group))
        excess = np.bincount(group, real_share, len(group)) - budget * candidates
        excess[(candidates == 0) & np.isin(np.arange(len(group)), group)] = np.inf
        worst = group == np.argmax(excess)
        if np.max(excess) <= 0:
            break
        near = np.argmin(np.min(np.where(worst[:, None] & ~worst[None], square, np.inf), axis=0))
        group[worst] = group[near]
    return np.unique(group, return_inverse=True)[1]


def thresholds(log_ratio: np.ndarray, cell: np.ndarray, cells: Mapping[str, np.ndarray], budget: float) -> np.ndarray:
    """Returns log c of each cell for a budget K, float32 `[C]`.

    Args:
        log_ratio: log r of candidates, `[N]`.
        cell: the cells of the candidates, int `[N]`, 0 to C − 1.
        cells: the 'centres' of the cells, `[C, D]`, and the 'real_share' of the data in each, `[C]`.
        budget: K; the mean acceptance of the candidates is 1/K.
    """
    share = np.bincount(cell, minlength=len(cells["real_share"])) / len(cell)
    group = joined(cells["centres"], cells["real_share"], share, budget)
    mean = np.bincount(group, cells["real_share"]) / (budget * np.bincount(group, share))
    found = [log_scale(log_ratio[group[cell] == g].astype(np.float64), mean[g]) for g in range(len(mean))]
    return np.asarray(found, np.float32)[group]


class Rejection:
    """A trained generator, of whose samples some are kept.

    Attributes:
        budget: K, of how many candidates one is kept on average.
        rule: the classifier, the centres of the cells, and log c of each cell: what `accepts` decides by.
    """

    def __init__(self, experiment: Experiment, params: Params, budget: float, folder: Path | None = None):
        """Reads the classifier from the folder, or trains it on data and keeps it there.

        Args:
            experiment: the experiment of the run. Its data are opened only if the classifier has to be trained.
            params: the generator's parameters for inference, with those of the other nets.
            budget: K, from 1 to 1000.
            folder: where the classifier is kept, under a name that depends on the generator; None to keep it nowhere.

        Raises:
            UserError: if K is out of range, the data cannot be opened, or samples are not finite.
        """
        self.budget = check_budget(budget)
        self._experiment, self._params = experiment, jax.tree.map(jnp.asarray, params)
        self._ratio = DensityRatio(experiment.spec, recipe(experiment.spec))
        fitted = self._read_or_fit(folder)
        log_c = thresholds(fitted["counted"]["log_ratio"], fitted["counted"]["cell"], fitted["cells"], budget)
        rule = {"ratio": fitted["ratio"], "centres": fitted["cells"]["centres"], "log_c": log_c}
        self.rule = jax.tree.map(jnp.asarray, rule)
        self._candidates = jax.jit(self._propose)

    def generate(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws `n` samples that are kept: their latents `[n, K]`, and the samples `[n, …]`."""
        z, x = zip(*self.pieces(n, seed), strict=True)
        return np.concatenate(z), np.concatenate(x)

    def pieces(self, n: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draws the samples of `generate(n, seed)`, and yields them as they come, at most `CHUNK` at a time.

        The candidates are the samples of the seed without rejection, in their order. Whether one is kept depends on the
        candidate and on a draw of its own, so that the first m samples are those of `generate(m, seed)`.
        """
        key, first, left = jax.random.key(seed), 0, n
        while left:
            found = self._candidates(self._params, self.rule, key, first + np.arange(CHUNK))
            z, x, accepted = jax.tree.map(np.asarray, found)
            kept = np.flatnonzero(accepted)[:left]
            first, left = first + CHUNK, left - len(kept)
            if len(kept):
                yield z[kept], x[kept]

    def _propose(
        self, params: Params, rule: Params, key: jax.Array, index: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns latents `[B, K]`, samples `[B, …]`, and which of them are accepted, bool `[B]`."""
        keys = fold(key, index)
        noise = jax.vmap(self._experiment.objective.noise)(keys)
        x = self._experiment.objective.generate(params, noise)
        return noise["z"], x, self.accepts(rule, x, keys)

    def accepts(self, rule: Params, x: jax.Array, keys: jax.Array) -> jax.Array:
        """Returns which candidates x `[B, …]` are accepted, bool `[B]`, by the rule and by keys of their own `[B]`."""
        log_ratio = self._ratio.log_ratio(rule["ratio"], x)
        acceptance = jnp.exp(jnp.minimum(0.0, log_ratio + rule["log_c"][_cells(rule["centres"], x)]))
        uniform = jax.vmap(lambda k: draws.uniforms(draws.fold_in(k, DECISION), 1)[0])(keys)
        return uniform < acceptance

    def _read_or_fit(self, folder: Path | None) -> Params:
        """Returns the classifier, the cells, and what was counted."""
        path = classifier_file(self._experiment, self._params, folder) if folder else None
        if path and (kept := read_tree(path, "the classifier is trained again")):
            return kept
        _log.info(
            "training a classifier of samples against data, once for this generator: %s steps of 2 × %d examples",
            f"{self._ratio.way.steps:,}",
            self._ratio.way.batch,
        )
        fitted = self._fit()
        if path:
            write_tree(path, fitted, "the classifier is not kept")
        return fitted

    def _fit(self) -> dict[str, Any]:
        objective = self._experiment.objective
        data = training_data(self._experiment)

        def samples(params: Params, keys: jax.Array) -> jax.Array:
            return objective.generate(params, jax.vmap(objective.noise)(keys))

        model = Sampled(self._params, samples)
        ratio = self._ratio.fit(data, model)
        num = COUNTED_IMAGES if self._experiment.spec.bounded else COUNTED
        real = _counted(data, lambda x: x, REAL_SEED, CLUSTERED)
        centres = _centres(real, max(1, num // COUNTED_PER_CELL))
        real_cell = _counted(data, functools.partial(_cells, centres), REAL_SEED, num)

        def judge(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            return self._ratio.log_ratio(ratio, x), _cells(centres, x)

        log_ratio, cell = _counted(model, judge, CANDIDATE_SEED, num)
        if not np.isfinite(log_ratio).all():
            raise UserError("the generator's samples are not finite numbers, so that none can be kept")
        share = np.bincount(real_cell, minlength=len(centres)) / num
        return {
            "ratio": ratio,
            "cells": {"centres": centres, "real_share": share.astype(np.float32)},
            "counted": {"log_ratio": log_ratio, "cell": cell.astype(np.uint8)},
        }


def classifier_file(experiment: Experiment, params: Params, folder: Path) -> Path:
    """Returns the file in a run's folder that keeps the classifier of a generator, once it is trained."""
    generator = fingerprint(jax.tree.map(np.asarray, params["gen"]))
    return folder / f"density_ratio_{digest(repr(recipe(experiment.spec)), generator)[:16]}.npz"


def training_data(experiment: Experiment) -> Sampled:
    """Returns the training data as a distribution; of a stream, the examples that fit in memory."""
    source = experiment.source
    if source.stream is None:
        return Sampled(jax.tree.map(jnp.asarray, source.train), jax.vmap(source.sample, in_axes=(None, 0)))
    most = max(1, MOST_BYTES // (4 * int(np.prod(source.shape))))
    examples = RealExamples(source).training(most, REAL_SEED)
    if len(examples) < source.num_train:
        _log.warning("the classifier is trained on %s of %s examples", f"{most:,}", f"{source.num_train:,}")

    def read(arrays: jax.Array, keys: jax.Array) -> jax.Array:
        return arrays[jax.vmap(lambda key: draws.integers(key, 1, len(arrays))[0])(keys)]

    return Sampled(jnp.asarray(examples), read)


def _counted(drawn: Sampled, function: Callable[[jax.Array], Any], seed: int, num: int) -> Any:
    """Returns a function of `num` draws, a chunk at a time; arrays `[num, …]`."""

    @jax.jit
    def chunk(arrays: Any, index: jax.Array) -> Any:
        return function(drawn.draw(arrays, fold(jax.random.key(seed), index)))

    return map_in_chunks(functools.partial(chunk, drawn.arrays), np.arange(num), size=CHUNK)


def _centres(x: np.ndarray, num: int) -> np.ndarray:
    """Returns the means of k-means of examples `[N, …]`, float32 `[C, D]`; fewer where there are fewer examples."""
    from sklearn.cluster import KMeans

    flat = x.reshape(len(x), -1)
    num = min(num, len(np.unique(flat, axis=0)))
    means: np.ndarray = KMeans(num, n_init=1, max_iter=20, random_state=0).fit(flat).cluster_centers_
    return means.astype(np.float32)


def _cells(centres: Any, x: jax.Array) -> jax.Array:
    """Returns the nearest centre of each example, int32 `[B]`."""
    flat = x.reshape(x.shape[0], -1)
    return jnp.argmin(jnp.sum(jnp.square(centres), axis=1)[None] - 2 * flat @ centres.T, axis=1)
