"""One run: build → lock → restore → loop → table."""

import dataclasses
import functools
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import jax
import numpy as np
from ml_collections import ConfigDict

from veegan_jax.config.build import Experiment, build
from veegan_jax.evaluation.scores import Evaluation
from veegan_jax.evaluation.tables import Tables
from veegan_jax.experiments.hooks import (
    Evaluate,
    OpenRun,
    check_finite,
    conclude,
    end_history,
    log,
    open_run,
    plot,
    save,
)
from veegan_jax.inference.model import CALIBRATION_SEED
from veegan_jax.objectives import whitened
from veegan_jax.objectives.base import Scalars
from veegan_jax.parallel.devices import replicate
from veegan_jax.parallel.processes import broadcast, run_on_primary
from veegan_jax.storage.checkpoint import from_host, to_host
from veegan_jax.train.compile import fused_step, initial_state, select_devices
from veegan_jax.train.feed import Batches
from veegan_jax.train.loop import Hook, call_hooks, run_loop
from veegan_jax.train.signals import StopSignals
from veegan_jax.train.state import TrainState


class Outcome(NamedTuple):
    """How training ended: the last step, the tables if it finished, and the signal that stopped it if one did.

    Attributes:
        step: the last step.
        table: all scores as Markdown, as `results.md` has them; None if it is not finished.
        stopped_by: the signal; None if no signal stopped it.
        short_table: what fits a terminal of 80 columns; None if it is not finished.
    """

    step: int
    table: str | None
    stopped_by: str | None
    short_table: str | None = None


def train(config: ConfigDict, workdir: Path, name: str = "") -> Outcome:
    """Trains the run of this config in this folder, or resumes it.

    Args:
        config: the config.
        workdir: the folder.
        name: what tables and pictures call the model, as the row of a comparison; empty for the name of the method.

    Raises:
        UserError: if the config or the folder is wrong or in use (before anything is compiled), nothing whole can be
            restored, something cannot be written, or losses stop being finite.
    """
    experiment = build(config)
    evaluation = Evaluation(experiment)
    devices = select_devices(config)
    with StopSignals(config.steps_per_call) as stop, ExitStack() as opened:
        # Process 0 alone reads and writes. The others never call what needs the folder, so they may pretend to have it.
        start = partial(open_run, evaluation, workdir, name or config.objective, len(devices))
        run = cast(OpenRun, run_on_primary("the start", lambda: opened.enter_context(start())))
        restored = run.restored if run else None
        state, step = (restored.state, restored.step) if restored else (_first_state(evaluation), 0)
        state, step = broadcast(state), int(broadcast(np.int32(step)))
        state = replicate(from_host(state), devices)

        evaluate = Evaluate(run)
        hooks = [
            Hook(check_finite, every=(config.save_every, config.eval_every)),
            # A step is saved before it is measured, so that no failing score can lose it.
            Hook(partial(save, run), every=(config.save_every,)),
            Hook(evaluate, every=(config.eval_every,)),
            Hook(partial(plot, run), every=(config.eval_every,)),
            Hook(partial(log, run), every=(config.log_every, config.eval_every), needs_state=False),
        ]
        due = hooks[-1].due(step, config.num_steps)
        # A kill may have come between the save of a step and its scores and row, which are made now.
        if broadcast(np.bool_(restored is not None and run.log.last_step < step and due)):
            call_hooks(hooks, step, config.num_steps, state, dict(restored.meta.get("losses", {})) if restored else {})

        batches = Batches(experiment.source, config.batch_size, devices, step)
        state, step = run_loop(
            _calls(experiment, devices, batches, run),
            state,
            step,
            hooks,
            num_steps=config.num_steps,
            steps_per_call=config.steps_per_call,
            stop_asked=stop.asked,
            progress=run.log.advance if run else lambda step: None,
            overlap=len(devices) == 1,
        )

        def end() -> Tables | None:
            check_finite(step, state, {})
            save(run, step, state, {})
            finished = step == config.num_steps
            made = conclude(run, evaluate.scores(step, state), step, state) if finished else None
            run.checkpoints.wait()
            end_history(run, step)
            return made

        table, short_table = run_on_primary(f"the end, step {step}", end) or (None, None)
        return Outcome(step, table, None if step == config.num_steps else stop.received, short_table)


def _first_state(evaluation: Evaluation) -> TrainState:
    """Returns the state before the first step on the host, with the statistics by which the data are whitened."""
    experiment = evaluation.experiment
    config, state = experiment.config, to_host(initial_state(experiment))
    if not config.whiten.floor:
        return state
    examples = evaluation.sampler.training(max(10_000, 20 * experiment.spec.shape[0]), CALIBRATION_SEED)
    statistics = whitened.measure(examples, **config.whiten)
    replicated = {name: np.stack([value] * config.num_seeds) for name, value in statistics.items()}
    return dataclasses.replace(state, params={**state.params, whitened.NET: replicated})


def _calls(
    experiment: Experiment, devices: list[jax.Device], batches: Batches, run: OpenRun | None
) -> Callable[[TrainState, int], tuple[TrainState, Scalars]]:
    """Returns the function that calls the compiled step; the process that writes says when a call compiles."""
    compiled = functools.cache(partial(fused_step, experiment, devices))

    def advance(state: TrainState, n: int) -> tuple[TrainState, Scalars]:
        with run.log.calling(n) if run else nullcontext():
            return compiled(n)(state, batches.take(n))

    return advance
