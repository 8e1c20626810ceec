"""Checkpoints of a run: the state, a digest of every array, the config, and the versions that made them."""

import dataclasses
import itertools
import json
import logging
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from veegan_jax.config.build import Experiment
from veegan_jax.config.convert import read_json
from veegan_jax.data.base import DataSpec
from veegan_jax.errors import UserError, one_line
from veegan_jax.metrics import RANKING, Column
from veegan_jax.objectives.base import Statistics
from veegan_jax.storage.files import cannot_write, digest, write_atomically
from veegan_jax.storage.versions import versions
from veegan_jax.train.compile import abstract_state
from veegan_jax.train.state import TrainState

_log = logging.getLogger("veegan_jax")
# The file beside a checkpoint's state that says how good the checkpoint is. A step is saved before it is measured, so
# that no failing score can lose it; so its scores cannot be part of what Orbax writes.
SCORES = "scores.json"


class Best(NamedTuple):
    """The best checkpoint of a run: its step, the column by which it is the best, and its score there."""

    step: int
    column: Column
    score: float


class Restored(NamedTuple):
    """A whole checkpoint, with numpy leaves.

    Attributes:
        step: the number of steps taken.
        state: the state, or those fields of it that were asked for.
        meta: the metadata.
        statistics: the statistics of batch normalisation for inference, see `Checkpoints.save`; None where there are
            none in the checkpoint, because an earlier version made it.
    """

    step: int
    state: Any
    meta: dict[str, Any]
    statistics: Statistics | None


@dataclasses.dataclass
class _Kept(preservation_policy.PreservationPolicy):
    """The policy by which Orbax keeps the checkpoints that a function of their steps chooses."""

    chosen: Callable[[list[int]], set[int]]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: object) -> list[bool]:
        kept = self.chosen([checkpoint.step for checkpoint in checkpoints])
        return [checkpoint.step in kept for checkpoint in checkpoints]


class Checkpoints:
    """The checkpoints under `workdir/checkpoints`: the latest few, and the best few by a column.

    A run of an older version lacks columns that came later. So checkpoints are ranked by the first column, of the one
    that is asked for and those below it in `RANKING`, that all measured checkpoints have.

    Orbax writes in the background and ends with one rename, so that a kill never leaves half a checkpoint that looks
    whole. Orbax has no checksums, so each array's digest is stored beside the state and compared when it is read.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        best_metric: Column = RANKING[0],
        keep_latest: int = 1,
        keep_best: int = 0,
        read_only: bool = False,
    ):
        self.directory = workdir / "checkpoints"
        self._damaged = workdir / "damaged"
        self._read_only = read_only
        self._keep_latest, self._keep_best = keep_latest, keep_best
        below = RANKING[RANKING.index(best_metric) + 1 :] if best_metric in RANKING else ()
        self._columns = (best_metric, *below)
        # Orbax's own metrics have no digest, and one damaged file of them would hide all checkpoints.
        self._measured: dict[int, Mapping[str, float]] = {}
        if not read_only:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise cannot_write(self.directory, error) from error
        self._manager = _manager(self.directory, _Kept(self._kept), read_only)
        for step in self.steps():
            with suppress(Exception):  # A damaged checkpoint is not the best one; `restore` names the damage.
                self._rank(step, self._scores(step))

    def save(
        self,
        step: int,
        state: TrainState,
        config: Mapping[str, Any],
        losses: Mapping[str, float] | None = None,
        *,
        data: DataSpec | None = None,
        statistics: Statistics | None = None,
    ) -> None:
        """Starts to write a checkpoint; the state may be donated as soon as this returns.

        Args:
            step: the number of steps that the state has taken.
            state: to save.
            config: the run's fields.
            losses: the losses in the row of that step, which a resumed run writes if a kill came before the row.
            data: what inference has to know of the data; None to let it open them.
            statistics: the statistics of batch normalisation for inference, leaves `[S, …]`, empty if the nets have
                none; None to let inference compute them.

        Raises:
            UserError: if this checkpoint, or the one before it, could not be written.
        """
        host, stored = to_host(state), jax.tree.map(np.asarray, statistics)
        content = {
            "step": step,
            "config": dict(config),
            "versions": versions(config),
            "losses": dict(losses or {}),
            "arrays": kinds(host),
            "digests": digests(host),
            "data": data._asdict() if data else None,
            "statistics": None if stored is None else digests(stored),
        }
        items = {"statistics": ocp.args.StandardSave(stored)} if stored else {}
        self._measured.pop(step, None)
        try:
            # With `force`, nothing but the caller decides when to save, and a step that exists already is an error.
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(host),
                    meta=ocp.args.JsonSave({**content, "digest": _content_digest(content)}),
                    **items,
                ),
                force=True,
            )
        except Exception as error:
            raise self._cannot_write(f"checkpoint {step} (or the one before it)", error) from error

    def add_scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Stores the scores of a checkpoint beside it, and removes the checkpoints that are no longer kept.

        Raises:
            UserError: if the scores, or the checkpoint, could not be written.
        """
        self.wait()
        if step not in self.steps():
            return
        content = {"scores": {name: value for name, value in scores.items() if math.isfinite(value)}}
        text = json.dumps({**content, "digest": _content_digest(content)}, indent=2)
        write_atomically(self._folder(step) / SCORES, text + "\n")
        self._rank(step, content["scores"])
        for other in set(self.steps()) - self._kept(self.steps()):
            self._manager.delete(other)

    def wait(self) -> None:
        """Returns when everything is on disk.

        Raises:
            UserError: if something could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._cannot_write("the last checkpoint", error) from error

    def _cannot_write(self, what: str, error: Exception) -> UserError:
        whole = ", ".join(str(step) for step in self.steps() if self._folder(step).exists()) or "none"
        return UserError(f"{cannot_write(f'{self.directory}: {what}', error)}; whole ones there: {whole}")

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def best(self) -> Best | None:
        """The best checkpoint of those that were measured; None if none was."""
        if not (ranked := self._ranked(self.steps())):
            return None
        column = self._column(ranked)
        return Best(ranked[0], column, self._measured[ranked[0]][column.name])

    def spec(self) -> DataSpec | None:
        """Returns what the newest checkpoint with whole metadata says of the data; None if it says nothing."""
        for step in self.steps()[::-1]:
            with suppress(Exception):
                spec = self._meta(step).get("data")
                return DataSpec.from_json(spec) if spec else None
        return None

    def _scores(self, step: int) -> Mapping[str, float]:
        """Returns the scores of a checkpoint; version 0.1.0 stored them in its metadata."""
        meta = self._meta(step)
        if not (path := self._folder(step) / SCORES).exists():
            return meta.get("scores") or {}
        stored = read_json(path)
        if stored.pop("digest", None) != _content_digest(stored):
            raise ValueError("its scores differ from their digest")
        scores: dict[str, float] = stored["scores"]
        return scores

    def _rank(self, step: int, scores: Mapping[str, float]) -> None:
        known = {c.name: scores[c.name] for c in self._columns if not math.isnan(scores.get(c.name, math.nan))}
        if known:
            self._measured[step] = known

    def _column(self, steps: Sequence[int]) -> Column:
        """Returns the first column that all of the measured steps have, else the first that one of them has."""
        counts = {column: sum(column.name in self._measured[step] for step in steps) for column in self._columns}
        return next((c for c in self._columns if counts[c] == len(steps)), max(self._columns, key=counts.__getitem__))

    def _ranked(self, steps: Iterable[int]) -> list[int]:
        """Returns those of the steps that were measured, the best first, and of equals the latest."""
        if not (measured := [step for step in steps if step in self._measured]):
            return []
        column = self._column(measured)
        ranked = [step for step in measured if column.name in self._measured[step]]
        return sorted(ranked, key=lambda s: (column.goodness(self._measured[s][column.name]), s), reverse=True)

    def _kept(self, steps: list[int]) -> set[int]:
        return {*sorted(steps)[-self._keep_latest :], *self._ranked(steps)[: self._keep_best]}

    def restore(self, template: Any, step: int | None = None) -> Restored | None:
        """Reads the newest whole checkpoint, or that of `step`; returns None if there are none at all.

        Newer ones that are damaged are named in a warning, and moved aside (unless read-only) when a whole one is
        found.

        Args:
            template: an abstract tree of the shapes and dtypes expected: a `TrainState`, or a dict of some of its
                fields, such as `{"params": …}`, to read those alone.
            step: the only checkpoint to read; None for the newest.

        Raises:
            UserError: if `step` is damaged or missing, or all are damaged; or if a whole one has other arrays than the
                template. Nothing is moved then.
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
                damaged[candidate] = f"{self._folder(candidate)} is damaged: {one_line(error)[:150]}"
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

    def _read(self, step: int, template: Any) -> Restored:
        meta, whole = self._meta(step), isinstance(template, TrainState)
        abstract = jax.tree.map(_as_numpy_template, _with_key_data(template))
        expected = kinds(abstract)
        stored = meta["arrays"] if whole else _under(meta["arrays"], template)
        # Orbax would cast to the template's dtypes, and says little of other differences, so they are found first.
        if differing := _differences(stored, expected):
            raise UserError(
                f"{self._folder(step)} holds another model than this config's: {differing}. Nothing was changed; use "
                "the config it was trained with, or another --workdir"
            )
        how = ocp.args.StandardRestore(abstract) if whole else ocp.args.PyTreeRestore(abstract, partial_restore=True)
        more = {"statistics": ocp.args.StandardRestore()} if meta.get("statistics") else {}
        items = self._manager.restore(step, args=ocp.args.Composite(state=how, **more))
        state, statistics = (jax.tree.map(np.asarray, items.get(name)) for name in ("state", "statistics"))
        _check_digests(digests(state), {name: meta["digests"].get(name) for name in stored})
        _check_digests(digests(statistics), meta.get("statistics") or {})
        return Restored(step, state, meta, meta.get("statistics") if statistics is None else statistics)

    def _pass_over(self, step: int, problem: str, used: int) -> None:
        """Names a damaged checkpoint, and moves it aside, so that training can write that step again."""
        if self._read_only:
            _log.warning("%s; step %d is used instead", problem, used)
            return
        target = next(p for i in itertools.count() if not (p := self._damaged / f"{step}.{i}").exists())
        try:
            self._damaged.mkdir(exist_ok=True)
            shutil.move(self._folder(step), target)
        except OSError as error:
            raise cannot_write(target, error) from error
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


def read_checkpoint(experiment: Experiment, workdir: Path, template: Any, step: int | str = "latest") -> Restored:
    """Reads a checkpoint of a run, and changes nothing.

    Args:
        experiment: the parts of the run.
        workdir: the folder of the run.
        template: see `Checkpoints.restore`.
        step: 'latest', 'best' by the config's metric (the latest of a run that was never measured), or a number. The
            log says by which score a step is the best.

    Raises:
        UserError: if there is no such checkpoint, or no whole one.
    """
    if step not in ("latest", "best") and not str(step).isdecimal():
        raise UserError(f"step is {step!r}; it must be latest, best or a number")
    missing = UserError(f"--workdir {workdir} holds no checkpoint yet; train there first")
    if not (workdir / "checkpoints").is_dir():
        raise missing
    with closing(Checkpoints(workdir, best_metric=experiment.best_metric, read_only=True)) as checkpoints:
        best = checkpoints.best() if step == "best" else None
        number = best.step if best else int(step) if str(step).isdecimal() else None
        restored = checkpoints.restore(template, number)
    if restored is None:
        raise missing
    if step == "best":
        _log.info("%s", _choice(best, restored.step, experiment.best_metric))
    return restored


def stored_spec(workdir: Path) -> DataSpec | None:
    """Returns what a run's newest checkpoint says of the data, which need not be opened then; None if it says nothing.

    It says nothing if there is none, or none that is whole, or if an earlier version made it.
    """
    if not (workdir / "checkpoints").is_dir():
        return None
    with closing(Checkpoints(workdir, read_only=True)) as checkpoints:
        return checkpoints.spec()


def _choice(best: Best | None, step: int, wanted: Column) -> str:
    """Returns why a step is the best one, as a line."""
    if best is None:
        return f"step best is the latest, {step:,}: no checkpoint was measured"
    instead = "" if best.column == wanted else f"; these checkpoints have no {wanted.heading}"
    return f"step best is {step:,}: its {best.column.heading} is {best.score:.4g}{instead}"


def fingerprints(
    experiment: Experiment, workdir: Path, step: int | str = "latest"
) -> tuple[int, dict[str, str], dict[str, str]]:
    """Returns a checkpoint's step, the digests of its parameters and of its whole state, and the versions that made it.

    Raises:
        UserError: as `read_checkpoint` does.
    """
    restored = read_checkpoint(experiment, workdir, abstract_state(experiment), step)
    state = {"params": fingerprint(restored.state.params), "state": fingerprint(restored.state)}
    return restored.step, state, restored.meta["versions"]


def to_host(state: TrainState) -> TrainState:
    """Copies a state to numpy, typed PRNG keys as their data: what is stored, compared and digested."""
    copied: TrainState = jax.tree.map(lambda leaf: np.array(leaf, copy=True), _with_key_data(state))
    return copied


def from_host(state: TrainState) -> TrainState:
    """Inverts `to_host`."""
    return dataclasses.replace(state, key=jax.random.wrap_key_data(state.key))


def digests(host: Any) -> dict[str, str]:
    """Returns the SHA-256 of each array's dtype, shape and bytes, by the array's path."""
    return {path: digest(leaf) for path, leaf in _leaves(host)}


def fingerprint(host: Any) -> str:
    """Returns one SHA-256 for a tree of arrays: that of the digests of all, with their paths."""
    return _content_digest(digests(host))


def kinds(host: Any) -> dict[str, str]:
    """Returns each array's dtype and shape, such as `float32[8, 128]`, by the array's path."""
    return {path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in _leaves(host)}


def _manager(directory: Path, policy: preservation_policy.PreservationPolicy, read_only: bool) -> ocp.CheckpointManager:
    if not read_only:
        return _manager_of(directory, policy, read_only)
    # Orbax warns that a folder that is opened to be read is opened to be read.
    log = logging.getLogger("absl")
    log.addFilter(_hides_read_only)
    try:
        return _manager_of(directory, policy, read_only)
    finally:
        log.removeFilter(_hides_read_only)


def _hides_read_only(record: logging.LogRecord) -> bool:
    return "read only=" not in (said := record.getMessage()) and "read_only=True" not in said


def _manager_of(
    directory: Path, policy: preservation_policy.PreservationPolicy, read_only: bool
) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
        directory.absolute(),
        options=ocp.CheckpointManagerOptions(
            preservation_policy=policy,
            create=False,  # With several processes, only process 0 reads and writes, and has made the folder.
            multiprocessing_options=ocp.options.MultiprocessingOptions(
                primary_host=jax.process_index(),
                active_processes={jax.process_index()},
                barrier_sync_key_prefix="veegan_jax",
            ),
            read_only=read_only,
            cleanup_tmp_directories=not read_only,
            # A folder that cannot be made in the background holds the process up for five minutes. The timeout is one
            # of the wall clock, and a save must not fail when that clock jumps forward.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False, timeout_secs=10**9),
        ),
        item_names=("state", "meta", "statistics"),
    )


def _with_key_data(state: Any) -> Any:
    if not isinstance(state, TrainState):
        return state
    if isinstance(state.key, jax.ShapeDtypeStruct):
        return dataclasses.replace(state, key=jax.eval_shape(jax.random.key_data, state.key))
    return dataclasses.replace(state, key=jax.random.key_data(state.key))


def _as_numpy_template(leaf: Any) -> np.ndarray:
    return np.empty(leaf.shape, leaf.dtype)


def _leaves(tree: Any) -> Iterator[tuple[str, np.ndarray]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf


def _check_digests(found: Mapping[str, str], recorded: Mapping[str, str | None]) -> None:
    if wrong := sorted(name for name in found.keys() | recorded.keys() if found.get(name) != recorded.get(name)):
        raise ValueError(f"{len(wrong)} of {len(found)} arrays differ from their digests, first {wrong[0]}")


def _under(arrays: Mapping[str, str], fields: Iterable[str]) -> dict[str, str]:
    """Returns the arrays that belong to some fields of the state."""
    return {name: kind for name, kind in arrays.items() if name.split("/")[0] in fields}


def _differences(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """Returns the first arrays whose kinds differ, and how many more do; an empty text if none do."""
    names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    first = [f"{n} is {found.get(n, 'absent')}, the config makes {expected.get(n, 'none')}" for n in names[:3]]
    return "; ".join(first) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")


def _content_digest(content: Mapping[str, Any]) -> str:
    return digest(json.dumps(content, sort_keys=True))
