"""The training loop: build → restore → fused steps → log → measure → save."""

import functools
import itertools
import signal
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from veegan_jax import evaluate, report
from veegan_jax.build import Experiment, build, fused_step, initial_state, select_devices
from veegan_jax.checkpoint import Checkpoints, from_host, versions
from veegan_jax.config import effective
from veegan_jax.data.base import Source
from veegan_jax.errors import NonFiniteError, UserError
from veegan_jax.generate import Sampler
from veegan_jax.parallel import replicate
from veegan_jax.state import TrainState
from veegan_jax.workdir import claim, held, replacing
from veegan_jax.writers import Writer, read_rows


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
    """Turns the first SIGTERM or Ctrl-C into a request to stop after the call in progress; a second one kills."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        self.__exit__()

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
    devices = select_devices(config)
    with held(workdir):
        claim(workdir, effective(config))
        return _train(experiment, devices, workdir)


def _train(experiment: Experiment, devices: list[jax.Device], workdir: Path) -> Outcome:
    config = experiment.config
    checkpoints = Checkpoints(
        workdir, keep_latest=config.keep_latest, keep_best=config.keep_best, best_metric=experiment.best_metric
    )
    with StopSignals() as stop, closing(checkpoints):
        restored = checkpoints.restore(jax.eval_shape(lambda: initial_state(experiment)))
        step = restored.step if restored else 0
        state = replicate(from_host(restored.state) if restored else initial_state(experiment), devices)
        with closing(Writer(workdir, step, config.num_steps)) as writer:
            writer.say(_greeting(experiment, len(devices), workdir, restored.step if restored else None))
            if restored and (changed := _changed_versions(restored.meta["versions"])):
                writer.say(f"bits may differ from an uninterrupted run, since versions changed: {changed}")
            loop = Loop(experiment, devices, workdir, checkpoints, writer, stop)
            return loop.run(state, step)


class Loop:
    """What the loop needs at every turn."""

    def __init__(
        self,
        experiment: Experiment,
        devices: list[jax.Device],
        workdir: Path,
        checkpoints: Checkpoints,
        writer: Writer,
        stop: StopSignals,
    ):
        self._experiment, self._config = experiment, experiment.config
        self._workdir, self._checkpoints, self._writer, self._stop = workdir, checkpoints, writer, stop
        self._feed = feed(experiment.source, self._config.batch_size, devices)
        self._compiled = functools.cache(functools.partial(fused_step, experiment, devices))
        self._sampler = Sampler(experiment)
        self._saved: int | None = None

    def run(self, state: TrainState, step: int) -> Outcome:
        """Trains from `step` to the end, or to a signal; in either case the last step is saved."""
        config, chunk, replicas = self._config, None, None
        chunks = self._feed(step)
        self._saved = step  # what was restored need not be saved again, nor the untrained state
        while step < config.num_steps and not self._stop.received:
            end = next_stop(step, config)
            state, scalars = self._compiled(end - step)(state, chunks(end - step))
            if chunk:
                self._log(chunk)  # reads the chunk before, while this one runs
            chunk, step = Chunk(step, end, scalars), end
            if _due(step, config.eval_every, config.num_steps) or _due(step, config.save_every, config.num_steps):
                replicas = self._milestone(chunk, state)
                chunk = None
        if step < config.num_steps:
            if chunk:
                self._log(chunk)
            if step != self._saved:
                self._save(step, state, None)
            return Outcome(step, None, self._stop.received)
        return Outcome(step, self._conclude(step, state, replicas), None)

    def _milestone(self, chunk: Chunk, state: TrainState) -> list[evaluate.Scores] | None:
        """Measures and saves where they are due, after checks that there is something sound to save."""
        losses = self._losses(chunk)
        check_finite_params(chunk.end, state)
        config, replicas, scores = self._config, None, {}
        if _due(chunk.end, config.eval_every, config.num_steps):
            replicas = self._measure(chunk.end, state)
            scores = evaluate.as_row(replicas)
        if scores or chunk.end % config.log_every == 0:
            self._writer.write(chunk.end, losses, scores)
        if _due(chunk.end, config.save_every, config.num_steps):
            self._save(chunk.end, state, scores or None)
        return replicas

    def _log(self, chunk: Chunk) -> None:
        losses = self._losses(chunk)
        if chunk.end % self._config.log_every == 0:
            self._writer.write(chunk.end, losses, {})

    def _losses(self, chunk: Chunk) -> dict[str, float]:
        """The means over the chunk and the replicas of all scalars, once they are known to be finite."""
        scalars = {name: np.asarray(values) for name, values in chunk.scalars.items()}
        check_finite_losses(chunk.start, scalars)
        self._writer.advance(chunk.end)
        return {name: float(values.mean()) for name, values in scalars.items()}

    def _save(self, step: int, state: TrainState, scores: Mapping[str, float] | None) -> None:
        check_finite_params(step, state)
        self._writer.sync()  # no checkpoint outlives the rows before it
        self._checkpoints.save(step, state, effective(self._config), scores)
        self._saved = step

    def _measure(self, step: int, state: TrainState) -> list[evaluate.Scores]:
        measured = [
            evaluate.measure(self._experiment, self._sampler, self._sampler.trained(state, replica))
            for replica in range(self._config.num_seeds)
        ]
        self._draw(step, measured[0][1])
        return [scores for scores, _ in measured]

    def _draw(self, step: int, samples: np.ndarray) -> None:
        """The picture of the first replica's samples; points of the plane are kept, for the film at the end."""
        shape = self._experiment.source.shape
        if not report.drawable(shape):
            return
        if shape == (2,):
            with replacing(self._workdir / "samples" / f"{step:08d}.npy") as file:
                np.save(file, samples)
        real = self._sampler.real(report.REAL_SHOWN, evaluate.REAL_SEED)
        title = f"{self._config.objective} on {self._config.data}, step {step:,}"
        figure = report.draw_samples(samples, real, title)
        report.save(figure, self._workdir / "pictures" / f"samples_{step:08d}.png")
        self._writer.picture("samples", report.pixels(figure), step)

    def _conclude(self, step: int, state: TrainState, replicas: list[evaluate.Scores] | None) -> str:
        """The table and the last pictures."""
        params = [self._sampler.trained(state, replica) for replica in range(self._config.num_seeds)]
        scores = [
            measured | evaluate.invert(self._experiment, self._sampler, own)
            for measured, own in zip(replicas or self._measure(step, state), params, strict=True)
        ]
        shape, pictures = self._experiment.source.shape, self._workdir / "pictures"
        real = self._sampler.real(report.REAL_SHOWN, evaluate.REAL_SEED)
        if shape == (2,):
            film = report.draw_film(report.load_frames(self._workdir / "samples"), real)
            report.save(film, pictures / "samples_over_time.png")
        if self._experiment.objective.encode and report.drawable(shape):
            z = self._sampler.encode(params[0], real)
            pairs = report.draw_pairs(real, self._sampler.decode(params[0], z, evaluate.MODEL_SEED))
            report.save(pairs, pictures / "reconstructions.png")
        ceiling = evaluate.measure_real(self._experiment, self._sampler)
        report.save(report.draw_curves(read_rows(self._workdir), ceiling), pictures / "curves.png")
        row = f"{self._config.objective}, step {step:,}"
        table = evaluate.table(self._experiment, {row: scores}, ceiling)
        evaluate.save_results(self._workdir / "results", step, scores, ceiling, table)
        return table


def feed(source: Source, batch_size: int, devices: list[jax.Device]) -> Callable[[int], Callable[[int], Any]]:
    """What calls of the step are given: a function of the first step to a function of each call's number of steps."""
    if source.stream is None:
        arrays = replicate(jax.tree.map(jnp.asarray, source.train), devices)
        return lambda first: lambda num_steps: arrays
    stream = source.stream

    def from_step(first: int) -> Callable[[int], Any]:
        batches, steps = stream.batches(first, batch_size), itertools.count(first)

        def chunk(num_steps: int) -> Any:
            start = [next(steps) for _ in range(num_steps)][0]
            try:
                return np.stack(list(itertools.islice(batches, num_steps))), np.int32(start)
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


def _greeting(experiment: Experiment, num_devices: int, workdir: Path, resumed: int | None) -> str:
    config = experiment.config
    begin = f"resuming at step {resumed:,}" if resumed is not None else "starting"
    replicas = f", {config.num_seeds} seeds at once" if config.num_seeds > 1 else ""
    where = f"{num_devices} {jax.default_backend()} device{'s' if num_devices > 1 else ''}"
    return (
        f"{config.objective} on {config.data}: {begin}, to step {config.num_steps:,}{replicas}, on {where}; {workdir}"
    )


def _changed_versions(stored: Mapping[str, str]) -> str:
    now = versions()
    return ", ".join(f"{n} {stored.get(n)} → {now[n]}" for n in now if stored.get(n) != now[n])
