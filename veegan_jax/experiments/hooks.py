"""The hooks of a run: check, save, evaluate, plot and log between calls of the step, and conclude at the end.

All of them run in the process that writes, and raise UserError, naming the file, where one cannot be written.
"""

import functools
import logging
import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.config.build import Experiment
from veegan_jax.config.convert import effective
from veegan_jax.data.base import Source
from veegan_jax.errors import UserError, one_line
from veegan_jax.evaluation import plots
from veegan_jax.evaluation.curves import curve
from veegan_jax.evaluation.latents import labelled_latents
from veegan_jax.evaluation.scores import MODEL_SEED, REAL_SEED, Evaluation, Scores
from veegan_jax.evaluation.tables import Tables, as_row, save_results, tables
from veegan_jax.experiments.card import fields_table, write_card
from veegan_jax.inference.model import Sampler
from veegan_jax.objectives.base import Params, Statistics
from veegan_jax.storage.checkpoint import Checkpoints, Restored
from veegan_jax.storage.files import replacing
from veegan_jax.storage.folder import check_or_write_config, data_changes, locked
from veegan_jax.storage.history import History
from veegan_jax.storage.logs import RunLog, read_rows
from veegan_jax.storage.versions import differences, unusual_settings, versions
from veegan_jax.storage.writers import chosen_writers
from veegan_jax.train.compile import abstract_state
from veegan_jax.train.loop import Row, diverged
from veegan_jax.train.state import TrainState

_log = logging.getLogger("veegan_jax")


class OpenRun(NamedTuple):
    """The folder of a run, locked and open, in the process that writes.

    Attributes:
        evaluation: measures the run's models.
        workdir: the folder.
        name: what tables and pictures call the model: the name of a comparison's row, or else of the method.
        checkpoints: the checkpoints in the folder.
        models: makes the run's models from its states.
        log: the rows, writers and progress line of the run.
        restored: the checkpoint from which the run resumes; None for a run that begins.
        history: notes when and how this process trains.
    """

    evaluation: Evaluation
    models: "Models"
    workdir: Path
    name: str
    checkpoints: Checkpoints
    log: RunLog
    restored: Restored | None
    history: History


@contextmanager
def open_run(evaluation: Evaluation, workdir: Path, name: str, num_devices: int) -> Iterator[OpenRun]:
    """Locks the folder, reads the newest whole checkpoint, and prints what begins.

    Raises:
        UserError: if a writer is wrong, the folder cannot be written, is in use or another run's, or no checkpoint
            there is whole.
    """
    experiment = evaluation.experiment
    config, fields = experiment.config, effective(experiment.config)
    chosen_writers(config.writers)
    with locked(workdir):
        check_or_write_config(workdir, fields, experiment.source.contents)
        kept = {"keep_latest": config.keep_latest, "keep_best": config.keep_best}
        with closing(Checkpoints(workdir, best_metric=experiment.best_metric, **kept)) as checkpoints:
            # Tracing the state's shapes takes a second on large nets.
            restored = checkpoints.restore(abstract_state(experiment)) if checkpoints.steps() else None
            step = restored.step if restored else 0
            # A line of the terminal has room for two scores.
            log = RunLog(workdir, step, config.num_steps, experiment.headline[:2], config.writers, fields)
            with closing(log):
                for line in (
                    *banner(config, num_devices, workdir, restored),
                    about_nets(experiment),
                    *about_data(experiment.source, workdir),
                ):
                    log.say(line)
                log.text("config", fields_table(config))
                history = History(workdir, step, versions(fields))
                models = Models(evaluation.sampler)
                yield OpenRun(evaluation, models, workdir, name, checkpoints, log, restored, history)


def banner(config: Any, num_devices: int, workdir: Path, restored: Restored | None) -> Iterator[str]:
    """Yields the lines that a run begins with."""
    platform = jax.default_backend()
    begin = f"resuming at step {restored.step:,}" if restored else "starting"
    replicas = f", {config.num_seeds} seeds at once" if config.num_seeds > 1 else ""
    where = f"{num_devices} {platform} device{'s' if num_devices > 1 else ''}"
    where += f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    yield f"{config.objective} on {config.data}: {begin}, to step {config.num_steps:,}{replicas}, on {where}; {workdir}"
    if platform == "gpu" and not config.deterministic:
        yield "GPUs may give other bits when a run is repeated; --config.deterministic=true keeps them from it"
    if settings := unusual_settings():
        yield f"settings that change numbers: {', '.join(f'{name} {value}' for name, value in settings.items())}"
    now = versions(effective(config))
    then = restored.meta["versions"] if restored else now
    if changed := differences(then, now):
        yield f"bits may differ from an uninterrupted run: {changed}"


def about_nets(experiment: Experiment) -> str:
    """Returns the line that says what shapes the networks have, and how many parameters of one seed."""
    params = abstract_state(experiment).params
    sizes = {net: sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(tree)) for net, tree in params.items()}
    counted = ", ".join(f"{net} {size:,}" for net, size in sizes.items())
    return f"examples {list(experiment.spec.shape)} from {experiment.config.latent_dim} latents; parameters: {counted}"


def about_data(source: Source, workdir: Path) -> Iterator[str]:
    """Yields the lines that say what was found on disk, and whether it is what the run was trained on."""
    if source.found:
        yield f"data: {source.found}"
    if changed := data_changes(workdir, source.contents):
        yield f"the data may have changed since the run began: {changed}"


@jax.jit
def _all_finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def check_finite(step: int, state: TrainState, row: Row) -> None:
    """Raises NonFiniteError, naming the nets, if parameters are not finite."""
    bad = [name for name, params in state.params.items() if not _all_finite(params)]
    if bad:
        raise diverged(f"parameters of {', '.join(sorted(bad))} are not finite after step {step}")


def save(run: OpenRun, step: int, state: TrainState, row: Row) -> None:
    """Saves a step, unless it is saved already; an untrained state need not be saved."""
    if step == 0 or step in run.checkpoints.steps():
        return
    run.log.sync()  # A checkpoint must not outlive the rows before it.
    experiment, statistics = run.evaluation.experiment, run.models.statistics(step, state)
    config = effective(experiment.config)
    run.checkpoints.save(step, state, config, row, data=experiment.spec, statistics=statistics)


class Models:
    """The models of a step, whose statistics of batch normalisation are computed once for all hooks of the step."""

    def __init__(self, sampler: Sampler):
        self._sampler = sampler
        self._latest: tuple[int, Statistics] = (-1, {})

    def statistics(self, step: int, state: TrainState) -> Statistics:
        """Returns the statistics of all replicas at a step, see `Sampler.statistics`."""
        if self._latest[0] != step:
            self._latest = step, self._sampler.statistics(state)
        return self._latest[1]

    def trained(self, step: int, state: TrainState) -> Iterator[Params]:
        """Yields each replica's parameters for inference."""
        statistics = self.statistics(step, state)
        for replica in range(len(state.step)):
            yield self._sampler.trained(state, replica, statistics)


class Evaluate:
    """Measures all replicas, adds the means to the step's row, and stores them beside the step's checkpoint.

    Attributes:
        latest: the step measured last, and the scores of each replica.
    """

    def __init__(self, run: OpenRun):
        self._run, self._real_written = run, False
        self.latest: tuple[int, list[Scores]] = (-1, [])

    def __call__(self, step: int, state: TrainState, row: Row) -> None:
        """Measures the models of a step, and real data once."""
        means = as_row(self.scores(step, state))
        row.update(means)
        self._run.checkpoints.add_scores(step, means)
        if not self._real_written:
            self._run.log.real(self._run.evaluation.real)
            self._real_written = True

    def scores(self, step: int, state: TrainState) -> list[Scores]:
        """Returns the scores of each replica at a step, which are measured once."""
        if self.latest[0] != step:
            models, measure = self._run.models.trained(step, state), self._run.evaluation.measure
            self.latest = step, [measure(params)[0] for params in models]
        return self.latest[1]


def plot(run: OpenRun, step: int, state: TrainState, row: Row) -> None:
    """Draws samples of the first replica; points of the plane are stored too, for the picture over time at the end."""
    evaluation = run.evaluation
    config, shape = evaluation.experiment.config, evaluation.experiment.source.shape
    if shape != (2,) and not plots.drawable(shape):
        return
    params = next(run.models.trained(step, state))
    shown = min(plots.REAL_SHOWN, evaluation.experiment.num_eval)
    _, samples = evaluation.sampler.generate(params, shown, MODEL_SEED)
    if shape == (2,):
        with replacing(run.workdir / "samples" / f"{step:08d}.npy") as file:
            np.save(file, samples)
    if not plots.drawable(shape):
        return
    real = evaluation.sampler.real(plots.REAL_SHOWN, REAL_SEED)
    figure = plots.draw_samples(samples, real, f"{run.name} on {config.data}, step {step:,}")
    pixels = plots.save(figure, run.workdir / "pictures" / f"samples_{step:08d}.png")
    run.log.picture(step, "samples", pixels)


def log(run: OpenRun, step: int, state: TrainState | None, row: Row) -> None:
    """Writes the row of a step."""
    run.log.write(step, row)


def conclude(run: OpenRun, replicas: list[Scores], step: int, state: TrainState) -> Tables:
    """Writes the table and the last pictures of a finished run.

    Args:
        run: the run.
        replicas: the scores of each replica at the last step.
        step: the last step.
        state: after that step.

    Returns:
        The table.
    """
    evaluation, pictures = run.evaluation, run.workdir / "pictures"
    experiment, sampler = evaluation.experiment, evaluation.sampler
    params = list(run.models.trained(step, state))
    scores = [own | evaluation.invert(p) for own, p in zip(replicas, params, strict=True)]
    shape, real = experiment.source.shape, sampler.real(plots.REAL_SHOWN, REAL_SEED)
    if shape == (2,) and plots.drawable(shape):
        title = f"{run.name} on {experiment.config.data}"
        film = plots.draw_film(plots.load_frames(run.workdir / "samples"), real, title)
        plots.save(film, pictures / "samples_over_time.png")
    if experiment.objective.encode and plots.drawable(shape):
        z = sampler.encode(params[0], real)
        pairs = plots.draw_pairs(real, sampler.decode(params[0], z, MODEL_SEED), run.name)
        plots.save(pairs, pictures / "reconstructions.png")
    ceiling = evaluation.real
    if plots.installed():
        plots.save(plots.draw_curves({run.name: curve(read_rows(run.workdir))}, ceiling), pictures / "curves.png")
    made = tables(evaluation, {f"{run.name}, step {step:,}": scores}, ceiling)
    save_results(run.workdir / "results", evaluation, step, scores, ceiling, made.table)
    _show_latents(run, params[0])
    return made


def _show_latents(run: OpenRun, params: Params) -> None:
    """Gives the writers the model's latents; where that fails, a warning says so, since the run itself has no error."""
    try:
        run.log.latents(functools.partial(labelled_latents, run.evaluation, params))
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        _log.warning("latents cannot be shown, and are left out: %s", one_line(error))


def end_history(run: OpenRun, step: int) -> None:
    """Writes that this process ends at a step and, where that is the last step of the run, the README of its folder."""
    run.history.end(step)
    config = run.evaluation.experiment.config
    if step == config.num_steps:
        write_card(run.workdir, run.name, config)
