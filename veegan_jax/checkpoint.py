"""Checkpoints of a run: the state, with a digest of every array, the config and the versions that made it."""

import dataclasses
import hashlib
import importlib.metadata
import logging
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from veegan_jax.errors import UserError
from veegan_jax.metrics import HIGHER_IS_BETTER
from veegan_jax.state import TrainState

_log = logging.getLogger("veegan_jax")
PACKAGES = ("veegan_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class Restored(NamedTuple):
    """A whole checkpoint: its step, its state (numpy leaves), and its metadata."""

    step: int
    state: TrainState
    meta: dict[str, Any]


class Checkpoints:
    """The checkpoints under `workdir/checkpoints`: the latest few, and the best few by a metric.

    Orbax writes in the background and in one rename, so that a kill leaves no half checkpoint that is taken for a whole
    one; but it has no checksums, so each array's digest is stored beside the state and compared when it is read.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        keep_latest: int = 1,
        keep_best: int = 0,
        best_metric: str = "kl",
        read_only: bool = False,
    ):
        self.directory = workdir / "checkpoints"
        self._damaged = workdir / "damaged"
        self._read_only = read_only
        self._best_metric = best_metric
        sign = 1 if best_metric in HIGHER_IS_BETTER else -1

        def goodness(metrics: Mapping[str, float]) -> float:
            return sign * metrics[best_metric]

        # With max_to_keep and best_fn alone, Orbax would delete the latest step whenever it is not among the best.
        keep = [
            preservation_policy.LatestN(keep_latest),
            preservation_policy.BestN(get_metric_fn=goodness, n=keep_best, keep_checkpoints_without_metrics=False),
        ]
        self._manager = ocp.CheckpointManager(
            self.directory.absolute(),
            options=ocp.CheckpointManagerOptions(
                best_fn=goodness,
                preservation_policy=preservation_policy.AnyPreservationPolicy(keep),
                create=not read_only,
                read_only=read_only,
                cleanup_tmp_directories=not read_only,
                # Made in the background, a folder that cannot be made holds the process up for five minutes.
                async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
            ),
            item_names=("state", "meta"),
        )

    def save(
        self, step: int, state: TrainState, config: Mapping[str, Any], metrics: Mapping[str, float] | None = None
    ) -> None:
        """Starts to write a checkpoint; the state may be donated as soon as this returns.

        Raises:
            UserError: if it, or the one before it, could not be written.
        """
        host = to_host(state)
        meta = {"step": step, "config": dict(config), "versions": versions(), "digests": digests(host)}
        try:
            # force: nothing but the caller decides when to save.
            self._manager.save(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardSave(host), meta=ocp.args.JsonSave(meta)),
                metrics=None if metrics is None else dict(metrics),
                force=True,
            )
        except Exception as error:
            raise self._unwritten(step, error) from error

    def wait(self) -> None:
        """Returns when everything is on disk.

        Raises:
            UserError: if something could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._unwritten(None, error) from error

    def _unwritten(self, step: int | None, error: Exception) -> UserError:
        what = "the last checkpoint" if step is None else f"checkpoint {step} (or the one before it)"
        reason = "No space left on device" if "No space left" in str(error) else _first_line(error)
        kept = ", ".join(map(str, self.steps())) or "none"
        return UserError(
            f"{self.directory}: {what} could not be written: {reason}; whole ones there: {kept}. Mend the disk (space? "
            "rights?) and run the same command again"
        )

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step whose checkpoint is best by the metric, of those that were measured; None if none was."""
        return self._manager.best_step()

    def restore(self, template: TrainState, step: int | None = None) -> Restored | None:
        """The newest whole checkpoint, or that of `step`; None if there are none at all.

        A damaged one is named in a warning, put aside (unless read-only), and the next older one is tried.

        Args:
            template: an abstract state of the shapes and dtypes expected.
            step: to read this one and no other.

        Raises:
            UserError: if `step` is damaged or missing, or all are damaged.
        """
        candidates = [step] if step is not None else self.steps()[::-1]
        if step is not None and step not in self.steps():
            raise UserError(f"{self.directory} has no checkpoint of step {step}; it has {self.steps()}")
        problems = []
        for candidate in candidates:
            try:
                return self._read(candidate, template)
            except Exception as error:
                problems.append(f"{self.directory / str(candidate)} is damaged: {_first_line(error)}")
                _log.warning("%s", problems[-1])
                if step is None:
                    self._put_aside(candidate)
        if problems:
            advice = "" if step is not None else "; no whole checkpoint is left: start again in another --workdir"
            raise UserError("; ".join(problems) + advice)
        return None

    def _read(self, step: int, template: TrainState) -> Restored:
        abstract = jax.tree.map(_as_numpy_template, _with_key_data(template))
        items = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore())
        )
        state, meta = jax.tree.map(np.asarray, items["state"]), items["meta"]
        found, expected = digests(state), meta["digests"]
        if wrong := sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)):
            raise ValueError(f"{len(wrong)} of {len(found)} arrays differ from their digests, first {wrong[0]}")
        # Orbax gives arrays as they were saved, whatever the template says.
        if other := [name for name, a, b in _pairs(state, abstract) if (a.shape, a.dtype) != (b.shape, b.dtype)]:
            raise ValueError(f"{len(other)} arrays have other shapes or dtypes than this config's, first {other[0]}")
        return Restored(step, state, meta)

    def _put_aside(self, step: int) -> None:
        """Moves a damaged checkpoint out of the way, so that training can write that step again."""
        if self._read_only:
            return
        self._damaged.mkdir(exist_ok=True)
        target = next(p for i in range(10**6) if not (p := self._damaged / f"{step}.{i}").exists())
        shutil.move(self.directory / str(step), target)
        _log.warning("put it aside as %s", target)
        self._manager.reload()

    def close(self) -> None:
        """Waits for what is being written, and frees the manager's threads.

        Raises:
            UserError: if something could not be written.
        """
        try:
            self.wait()
        finally:
            self._manager.close()


def to_host(state: TrainState) -> TrainState:
    """A copy in numpy, typed PRNG keys as their data: what is stored, compared and digested."""
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), _with_key_data(state))


def from_host(state: TrainState) -> TrainState:
    """The inverse of `to_host`."""
    return dataclasses.replace(state, key=jax.random.wrap_key_data(state.key))


def digests(host: TrainState) -> dict[str, str]:
    """SHA-256 of each array's dtype, shape and bytes, by its path."""
    return {path: _digest(leaf) for path, leaf in _leaves(host)}


def versions() -> dict[str, str]:
    """The versions that a state's bits depend on."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {**found, "python": platform.python_version(), "platform": jax.default_backend()}


def _with_key_data(state: TrainState) -> TrainState:
    if isinstance(state.key, jax.ShapeDtypeStruct):
        return dataclasses.replace(state, key=jax.eval_shape(jax.random.key_data, state.key))
    return dataclasses.replace(state, key=jax.random.key_data(state.key))


def _as_numpy_template(leaf: Any) -> np.ndarray:
    return np.empty(leaf.shape, leaf.dtype)


def _leaves(tree: Any) -> Iterator[tuple[str, np.ndarray]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf


def _pairs(a: TrainState, b: TrainState) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for (path, x), (_, y) in zip(_leaves(a), _leaves(b), strict=True):
        yield path, x, y


def _digest(array: np.ndarray) -> str:
    head = f"{array.dtype}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
