"""What is kept of a run, by the process that writes: rows, scores, pictures, checkpoints, and the table at the end."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from veegan_jax.config.convert import effective
from veegan_jax.evaluation import plots as report
from veegan_jax.evaluation import scores as evaluate
from veegan_jax.evaluation import tables
from veegan_jax.storage.checkpoint import Checkpoints, Restored
from veegan_jax.storage.files import replacing
from veegan_jax.storage.folder import check_or_write_config, locked
from veegan_jax.storage.logs import Writer, read_rows
from veegan_jax.storage.versions import versions
from veegan_jax.train.compile import initial_state
from veegan_jax.train.state import TrainState


class Record:
    """The record of a run. Its methods raise UserError, naming the file, where one cannot be written.

    Attributes:
        restored: the checkpoint after which it goes on; None for a run that begins.
    """

    def __init__(
        self,
        evaluation: evaluate.Evaluation,
        workdir: Path,
        checkpoints: Checkpoints,
        writer: Writer,
        restored: Restored | None,
    ):
        self._evaluation, self._experiment = evaluation, evaluation.experiment
        self._config = self._experiment.config
        self._workdir, self._checkpoints, self._writer = workdir, checkpoints, writer
        self._sampler = evaluation.sampler
        self.restored = restored
        # What was restored need not be saved again, nor the untrained state.
        self._saved = restored.step if restored else 0

    def advance(self, step: int) -> None:
        """Shows that the run is at `step`."""
        self._writer.advance(step)

    def log(self, step: int, losses: Mapping[str, float]) -> None:
        """Writes the losses, where that is due."""
        if step % self._config.log_every == 0:
            self._writer.write(step, losses, {})

    def milestone(
        self, step: int, state: TrainState, losses: Mapping[str, float], *, measured: bool, saved: bool
    ) -> list[evaluate.Scores] | None:
        """Measures and saves, whichever is due; returns the scores of the replicas."""
        replicas = self._measure(step, state) if measured else None
        scores = tables.as_row(replicas) if replicas else {}
        if scores or step % self._config.log_every == 0:
            self._writer.write(step, losses, scores)
        if saved:
            self.save(step, state, scores or None)
        return replicas

    def save(self, step: int, state: TrainState, scores: Mapping[str, float] | None = None) -> None:
        """Saves a step, unless it is saved already."""
        if step == self._saved:
            return
        self._writer.sync()  # no checkpoint outlives the rows before it
        self._checkpoints.save(step, state, effective(self._config), scores)
        self._saved = step

    def wait(self) -> None:
        """Returns when everything is on disk."""
        self._checkpoints.wait()

    def _measure(self, step: int, state: TrainState) -> list[evaluate.Scores]:
        measured = [
            self._evaluation.measure(self._sampler.trained(state, replica)) for replica in range(self._config.num_seeds)
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

    def conclude(self, step: int, state: TrainState, replicas: list[evaluate.Scores] | None) -> str:
        """The table and the last pictures; `replicas` are the scores of this step, if they have been measured."""
        params = [self._sampler.trained(state, replica) for replica in range(self._config.num_seeds)]
        scores = [
            measured | self._evaluation.invert(own)
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
        ceiling = self._evaluation.measure_real()
        report.save(report.draw_curves(read_rows(self._workdir), ceiling), pictures / "curves.png")
        row = f"{self._config.objective}, step {step:,}"
        table = tables.table(self._evaluation, {row: scores}, ceiling)
        tables.save_results(self._workdir / "results", step, scores, ceiling, table)
        return table


@contextmanager
def recorded(evaluation: evaluate.Evaluation, workdir: Path, num_devices: int) -> Iterator[Record]:
    """Takes the folder, reads the newest whole checkpoint, and says what begins.

    Raises:
        UserError: if the folder cannot be written, is in use or another run's, or no checkpoint there is whole.
    """
    experiment, config = evaluation.experiment, evaluation.experiment.config
    keep = {"keep_latest": config.keep_latest, "keep_best": config.keep_best, "best_metric": experiment.best_metric}
    with locked(workdir):
        check_or_write_config(workdir, effective(config))
        with closing(Checkpoints(workdir, **keep)) as checkpoints:
            restored = checkpoints.restore(jax.eval_shape(lambda: initial_state(experiment)))
            with closing(Writer(workdir, restored.step if restored else 0, config.num_steps)) as writer:
                for line in _greeting(config, num_devices, workdir, restored):
                    writer.say(line)
                yield Record(evaluation, workdir, checkpoints, writer, restored)


def _greeting(config: ConfigDict, num_devices: int, workdir: Path, restored: Restored | None) -> Iterator[str]:
    platform = jax.default_backend()
    begin = f"resuming at step {restored.step:,}" if restored else "starting"
    replicas = f", {config.num_seeds} seeds at once" if config.num_seeds > 1 else ""
    where = f"{num_devices} {platform} device{'s' if num_devices > 1 else ''}"
    where += f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    yield f"{config.objective} on {config.data}: {begin}, to step {config.num_steps:,}{replicas}, on {where}; {workdir}"
    if platform == "gpu" and not config.deterministic:
        yield "GPUs may give other bits when a run is repeated; --config.deterministic=true keeps them from it"
    now = versions(effective(config))
    then = restored.meta["versions"] if restored else now
    if changed := ", ".join(
        f"{n} {then.get(n)} → {now.get(n)}" for n in sorted({*now, *then}) if then.get(n) != now.get(n)
    ):
        yield f"bits may differ from an uninterrupted run: {changed}"
