"""Checkpoints of a run: the state, with a digest of every array, the config and the versions that made it."""

import dataclasses
import hashlib
import itertools
import json
import logging
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from veegan_jax.errors import UserError
from veegan_jax.metrics.base import Column
from veegan_jax.metrics.modes import KL
from veegan_jax.storage.files import unwritten
from veegan_jax.storage.versions import versions
from veegan_jax.train.state import TrainState

_log = logging.getLogger("veegan_jax")


class Restored(NamedTuple):
    """A whole checkpoint: its step, its state (numpy leaves), and its metadata."""

    step: int
    state: TrainState
    meta: dict[str, Any]


@dataclasses.dataclass
class _Best(preservation_policy.PreservationPolicy):
    """Keeps those of the checkpoints that a function of their steps chooses."""

    chosen: Callable[[list[int]], list[int]]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: object) -> list[bool]:
        kept = self.chosen([checkpoint.step for checkpoint in checkpoints])
        return [checkpoint.step in kept for checkpoint in checkpoints]


class Checkpoints:
    """The checkpoints under `workdir/checkpoints`: the latest few, and the best few by a metric.

    Orbax writes in the background and in one rename, so that a kill leaves no half checkpoint that is taken for a whole
    one; but it has no checksums, so each array's digest is stored beside the state, and compared when it is read.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        keep_latest: int = 1,
        keep_best: int = 0,
        best_metric: Column = KL,
        read_only: bool = False,
    ):
        self.directory = workdir / "checkpoints"
        self._damaged = workdir / "damaged"
        self._read_only = read_only
        self._best_metric = best_metric
        # Not Orbax's own metrics: those have no digest, and one damaged file of theirs would hide all checkpoints.
        self._goodness: dict[int, float] = {}
        keep = [preservation_policy.LatestN(keep_latest), _Best(lambda steps: self._ranked(steps)[:keep_best])]
        if not read_only:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise unwritten(self.directory, error) from error
        self._manager = ocp.CheckpointManager(
            self.directory.absolute(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=preservation_policy.AnyPreservationPolicy(keep),
                create=False,  # as several processes want, of which this one alone reads and writes
                multiprocessing_options=ocp.options.MultiprocessingOptions(
                    primary_host=jax.process_index(),
                    active_processes={jax.process_index()},
                    barrier_sync_key_prefix="veegan_jax",
                ),
                read_only=read_only,
                cleanup_tmp_directories=not read_only,
                # Made in the background, a folder that cannot be made holds the process up for five minutes. And the
                # timeout is one of the wall clock: if that jumps forward, a save must not fail.
                async_options=ocp.AsyncOptions(create_directories_asynchronously=False, timeout_secs=10**9),
            ),
            item_names=("state", "meta"),
        )
        for step in self.steps():
            with suppress(Exception):  # a damaged one is not the best; `restore` says so
                self._note(step, self._meta(step)["scores"])

    def save(
        self, step: int, state: TrainState, config: Mapping[str, Any], metrics: Mapping[str, float] | None = None
    ) -> None:
        """Starts to write a checkpoint; the state may be donated as soon as this returns.

        Raises:
            UserError: if it, or the one before it, could not be written.
        """
        host = to_host(state)
        content = {
            "step": step,
            "config": dict(config),
            "versions": versions(config),
            "scores": None if metrics is None else dict(metrics),
            "arrays": kinds(host),
            "digests": digests(host),
        }
        self._note(step, metrics)
        try:
            # force: nothing but the caller decides when to save, and a step that is there already is an error.
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(host),
                    meta=ocp.args.JsonSave({**content, "digest": _content_digest(content)}),
                ),
                force=True,
            )
        except Exception as error:
            raise self._unwritten(f"checkpoint {step} (or the one before it)", error) from error

    def wait(self) -> None:
        """Returns when everything is on disk.

        Raises:
            UserError: if something could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._unwritten("the last checkpoint", error) from error

    def _unwritten(self, what: str, error: Exception) -> UserError:
        kept = ", ".join(str(step) for step in self.steps() if self._folder(step).exists()) or "none"
        return UserError(f"{unwritten(f'{self.directory}: {what}', error)}; whole ones there: {kept}")

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step whose checkpoint is best by the metric, of those that were measured; None if none was."""
        return next(iter(self._ranked(self.steps())), None)

    def _note(self, step: int, scores: Mapping[str, float] | None) -> None:
        self._goodness.pop(step, None)
        if scores and not math.isnan(score := scores.get(self._best_metric.name, math.nan)):
            self._goodness[step] = self._best_metric.goodness(score)

    def _ranked(self, steps: Iterable[int]) -> list[int]:
        """Those of the steps that were measured, the best first, and of equals the latest."""
        measured = [step for step in steps if step in self._goodness]
        return sorted(measured, key=lambda step: (self._goodness[step], step), reverse=True)

    def restore(self, template: TrainState, step: int | None = None) -> Restored | None:
        """The newest whole checkpoint, or that of `step`; None if there are none at all.

        Damaged ones that are newer are named in a warning, and put aside (unless read-only) once a whole one is found.

        Args:
            template: an abstract state of the shapes and dtypes expected.
            step: to read this one and no other.

        Raises:
            UserError: if `step` is damaged or missing, or all are damaged; or if one that is whole has other arrays
                than the template. Nothing is moved then.
        """
        candidates = [step] if step is not None else self.steps()[::-1]
        if step is not None and step not in self.steps():
            raise UserError(f"{self.directory} has no checkpoint of step {step}; it has {self.steps()}")
        damaged: dict[int, str] = {}
        for candidate in candidates:
            try:
                restored = self._read(candidate, template)
            except (UserError, MemoryError):
                raise
            except Exception as error:
                damaged[candidate] = f"{self._folder(candidate)} is damaged: {_first_line(error)}"
            else:
                for bad, problem in damaged.items():
                    self._pass_over(bad, problem, restored.step)
                return restored
        if damaged:
            advice = (
                "no whole checkpoint is left: start again in another --workdir" if step is None else "name another step"
            )
            raise UserError("; ".join([*damaged.values(), advice]))
        return None

    def _folder(self, step: int) -> Path:
        return self.directory / str(step)

    def _meta(self, step: int) -> dict[str, Any]:
        meta = self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]
        content = {name: value for name, value in meta.items() if name != "digest"}
        if meta.get("digest") != _content_digest(content):
            raise ValueError("its metadata differ from their digest")
        if content["step"] != step:
            raise ValueError(f"it is that of step {content['step']} under another name")
        return content

    def _read(self, step: int, template: TrainState) -> Restored:
        meta = self._meta(step)
        abstract = jax.tree.map(_as_numpy_template, _with_key_data(template))
        # Before Orbax reads it, who casts to a template's dtype, and says little of other differences.
        if differing := _differences(meta["arrays"], kinds(abstract)):
            raise UserError(
                f"{self._folder(step)} holds another model than this config's: {differing}. Nothing was changed; use "
                "the config it was trained with, or another --workdir"
            )
        items = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract)))
        state = jax.tree.map(np.asarray, items["state"])
        found, expected = digests(state), meta["digests"]
        if wrong := sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)):
            raise ValueError(f"{len(wrong)} of {len(found)} arrays differ from their digests, first {wrong[0]}")
        return Restored(step, state, meta)

    def _pass_over(self, step: int, problem: str, used: int) -> None:
        """Says so, and moves a damaged checkpoint out of the way, so that training can write that step again."""
        if self._read_only:
            _log.warning("%s; step %d is used instead", problem, used)
            return
        target = next(p for i in itertools.count() if not (p := self._damaged / f"{step}.{i}").exists())
        try:
            self._damaged.mkdir(exist_ok=True)
            shutil.move(self._folder(step), target)
        except OSError as error:
            raise unwritten(target, error) from error
        _log.warning("%s; step %d is used instead, and the damaged one is kept as %s", problem, used, target)
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


def digests(host: Any) -> dict[str, str]:
    """SHA-256 of each array's dtype, shape and bytes, by its path."""
    return {path: _digest(leaf) for path, leaf in _leaves(host)}


def fingerprint(host: Any) -> str:
    """SHA-256 of a tree of arrays: of the digests of all, with their paths."""
    return _content_digest(digests(host))


def kinds(host: TrainState) -> dict[str, str]:
    """Each array's dtype and shape, such as `float32[8, 128]`, by its path."""
    return {path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in _leaves(host)}


def _with_key_data(state: TrainState) -> TrainState:
    if isinstance(state.key, jax.ShapeDtypeStruct):
        return dataclasses.replace(state, key=jax.eval_shape(jax.random.key_data, state.key))
    return dataclasses.replace(state, key=jax.random.key_data(state.key))


def _as_numpy_template(leaf: Any) -> np.ndarray:
    return np.empty(leaf.shape, leaf.dtype)


def _leaves(tree: Any) -> Iterator[tuple[str, np.ndarray]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf


def _differences(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """The first arrays whose kinds differ, and how many more do; empty if none do."""
    names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    first = [f"{n} is {found.get(n, 'absent')}, the config makes {expected.get(n, 'none')}" for n in names[:3]]
    return "; ".join(first) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")


def _digest(array: np.ndarray) -> str:
    head = f"{array.dtype}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def _content_digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:150]
