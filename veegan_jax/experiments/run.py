"""The training loop: build → restore → fused steps → log → measure → save."""

import functools
import itertools
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from veegan_jax.config.build import Experiment, build
from veegan_jax.data.base import Source
from veegan_jax.errors import NonFiniteError, UserError
from veegan_jax.evaluation import scores as evaluate
from veegan_jax.experiments.hooks import Record, recorded
from veegan_jax.parallel import processes
from veegan_jax.parallel.devices import replicate
from veegan_jax.storage.checkpoint import from_host, to_host
from veegan_jax.train.compile import fused_step, initial_state, select_devices
from veegan_jax.train.state import TrainState

Result = TypeVar("Result")


class Outcome(NamedTuple):
    """How training ended: the last step, the table if it finished, and the signal that stopped it if one did."""

    step: int
    table: str | None
    stopped_by: str | None


class Chunk(NamedTuple):
    """Steps `start` + 1 to `end`, and their scalars `{name: [S, end − start]}`, which may still be computing."""

    start: int
    end: int
    scalars: Mapping[str, jax.Array]


class StopSignals:
    """Turns the first SIGTERM or Ctrl-C into a request to stop after the call in progress; a second one kills.

    Of several processes all stop after the same call, when one of them gets SIGTERM: JAX sees to that.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[int, Any] = {}
        self._together = jax.process_count() > 1
        self._calls = 0

    def __enter__(self) -> "StopSignals":
        for number in (signal.SIGINT,) if self._together else (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._together:
            os.kill(os.getpid(), signal.SIGTERM)  # which JAX hears, as it does not hear Ctrl-C
        else:
            self.received = signal.Signals(number).name
        self.__exit__()

    def asked(self) -> bool:
        """Whether to stop now; to be asked once before each call."""
        if self._together and processes.stop_asked(self._calls):
            self.received = signal.SIGTERM.name
        self._calls += 1
        return self.received is not None

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def train(config: ConfigDict, workdir: Path) -> Outcome:
    """Trains, or goes on training, the run of this config in this folder.

    Raises:
        UserError: if the config or the folder is wrong or in use (before anything is compiled), nothing whole can be
            restored, something cannot be written, or losses stop being finite.
    """
    experiment = build(config)
    evaluation = evaluate.Evaluation(experiment)
    devices = select_devices(config)
    with StopSignals() as stop, ExitStack() as opened:
        record = processes.run_on_primary(
            "the start", lambda: opened.enter_context(recorded(evaluation, workdir, len(devices)))
        )
        restored = record.restored if record else None
        state, step = (restored.state, restored.step) if restored else (to_host(initial_state(experiment)), 0)
        state, step = processes.broadcast(state), int(processes.broadcast(np.int32(step)))
        return Loop(experiment, devices, record, stop).run(replicate(from_host(state), devices), step)


class Loop:
    """What the loop needs at every turn."""

    def __init__(self, experiment: Experiment, devices: list[jax.Device], record: Record | None, stop: StopSignals):
        """`record` is None in processes that write nothing."""
        self._config, self._record, self._stop = experiment.config, record, stop
        self._feed = feed(experiment.source, self._config.batch_size, devices)
        self._compiled = functools.cache(functools.partial(fused_step, experiment, devices))

    def run(self, state: TrainState, step: int) -> Outcome:
        """Trains from `step` to the end, or to a signal; in either case the last step is saved."""
        config, chunk, replicas = self._config, None, None
        chunks = self._feed(step)
        while step < config.num_steps and not self._stop.asked():
            end = next_stop(step, config)
            state, scalars = self._compiled(end - step)(state, chunks(end - step))
            if chunk:
                self._log(chunk)  # reads the chunk before, while this one runs
            chunk, step = Chunk(step, end, scalars), end
            if _due(step, config.eval_every, config.num_steps) or _due(step, config.save_every, config.num_steps):
                replicas = self._milestone(chunk, state)
                chunk = None
        if chunk:
            self._log(chunk)
        check_finite_params(step, state)
        return self._on_first(f"the end, step {step}", lambda record: self._end(record, step, state, replicas)) or (
            Outcome(step, None, self._stop.received)
        )

    def _end(self, record: Record, step: int, state: TrainState, replicas: list[evaluate.Scores] | None) -> Outcome:
        record.save(step, state)
        finished = step == self._config.num_steps
        table = record.conclude(step, state, replicas) if finished else None
        record.wait()
        return Outcome(step, table, None if finished else self._stop.received)

    def _milestone(self, chunk: Chunk, state: TrainState) -> list[evaluate.Scores] | None:
        """Measures and saves where they are due, after checks that there is something sound to save."""
        config, losses = self._config, self._losses(chunk)
        check_finite_params(chunk.end, state)
        due = {
            "measured": _due(chunk.end, config.eval_every, config.num_steps),
            "saved": _due(chunk.end, config.save_every, config.num_steps),
        }
        return self._on_first(f"step {chunk.end}", lambda record: record.milestone(chunk.end, state, losses, **due))

    def _on_first(self, what: str, work: Callable[[Record], Result]) -> Result | None:
        """Has the process that writes do something with its record, and the others wait."""
        record = self._record
        return processes.run_on_primary(what, lambda: work(record) if record else None)

    def _log(self, chunk: Chunk) -> None:
        losses = self._losses(chunk)
        if self._record:
            self._record.log(chunk.end, losses)

    def _losses(self, chunk: Chunk) -> dict[str, float]:
        """The means over the chunk and the replicas of all scalars, once they are known to be finite."""
        scalars = {name: np.asarray(values) for name, values in chunk.scalars.items()}
        check_finite_losses(chunk.start, scalars)
        if self._record:
            self._record.advance(chunk.end)
        return {name: float(values.mean()) for name, values in scalars.items()}


def feed(source: Source, batch_size: int, devices: list[jax.Device]) -> Callable[[int], Callable[[int], Any]]:
    """What calls of the step are given: a function of the first step to a function of each call's number of steps."""
    if source.stream is None:
        arrays = replicate(jax.tree.map(jnp.asarray, source.train), devices)
        return lambda first: lambda num_steps: arrays
    stream = source.stream

    def from_step(first: int) -> Callable[[int], Any]:
        batches, steps = stream.batches(first, batch_size // jax.process_count()), itertools.count(first)
        reading = processes.reading if jax.process_count() > 1 else nullcontext

        def batch() -> np.ndarray:
            with reading():
                return next(batches)

        def chunk(num_steps: int) -> Any:
            start = [next(steps) for _ in range(num_steps)][0]
            try:
                return np.stack([batch() for _ in range(num_steps)]), np.int32(start)
            except ValueError as error:
                raise UserError(f"the data stopped at step {start}: {error}") from error

        return chunk

    return from_step


def next_stop(step: int, config: ConfigDict) -> int:
    """Where the next call ends: at a multiple of whatever has to happen between calls, whichever comes first.

    The multiples are those of absolute steps, so that a resumed run makes the same calls as an uninterrupted one.
    """
    cadences = (config.steps_per_call, config.log_every, config.eval_every, config.save_every)
    return min(config.num_steps, *(step - step % every + every for every in cadences))


def _due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last


def check_finite_losses(start: int, scalars: Mapping[str, np.ndarray]) -> None:
    """Finds the first step after `start` at which a scalar `[S, steps]` is not finite.

    Raises:
        NonFiniteError: naming the step, the loss and its value.
    """
    firsts = []
    for name, values in scalars.items():
        bad = ~np.isfinite(values)
        if bad.any():
            offset = int(bad.any(axis=0).argmax())
            firsts.append((start + offset + 1, name, float(values[:, offset][bad[:, offset]][0])))
    if firsts:
        step, name, value = min(firsts)
        raise NonFiniteError(_diverged(f"{name} is {value} at step {step}"))


@jax.jit
def _finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def check_finite_params(step: int, state: TrainState) -> None:
    """Raises NonFiniteError, naming the nets, if parameters are not finite after `step`."""
    bad = [name for name, params in state.params.items() if not _finite(params)]
    if bad:
        raise NonFiniteError(_diverged(f"parameters of {', '.join(sorted(bad))} are not finite after step {step}"))


def _diverged(what: str) -> str:
    return f"{what}; stopped, and nothing was saved since the last good checkpoint. A lower learning rate may help"
