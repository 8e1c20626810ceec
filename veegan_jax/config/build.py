"""From a config to the parts it names: the one place where fields become keyword arguments."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from veegan_jax.config.check import validate
from veegan_jax.config.fields import REGISTRIES
from veegan_jax.data.base import Source
from veegan_jax.errors import UserError, suggestion
from veegan_jax.metrics import METRICS, Column, default_best
from veegan_jax.metrics.latent import RECONSTRUCTOR_COLUMNS
from veegan_jax.models.network import STATISTICS, Nets, packed, spectrally_normalised
from veegan_jax.objectives.base import NetsAndDims, Objective
from veegan_jax.objectives.optimizer import adam
from veegan_jax.objectives.penalty import Penalty, penalty
from veegan_jax.objectives.unrolled import unrolled


class Experiment(NamedTuple):
    """The parts of a run, built and checked; nothing is compiled yet."""

    config: ConfigDict
    source: Source
    objective: Objective
    optimizers: Mapping[str, optax.GradientTransformation]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of all metrics that apply to the data, and of the reconstructor."""
        metrics = (METRICS[name].columns for name in self.source.references)
        return (*itertools.chain(*metrics), *(RECONSTRUCTOR_COLUMNS if self.objective.encode else ()))

    @property
    def best_metric(self) -> Column:
        """The column by which checkpoints are ranked."""
        named = [column for column in self.columns if column.name == self.config.best_metric]
        return named[0] if named else default_best(self.columns)

    @property
    def num_eval(self) -> int:
        """How many samples a measurement takes."""
        return self.config.eval_samples or self.source.num_eval


def build(config: ConfigDict) -> Experiment:
    """Builds what a config names.

    Raises:
        UserError: naming the field that is wrong, its value, and what would be right.
    """
    validate(config)
    source: Source = _entry(config, "data")
    optimizers = {player: _optimizer(config, player) for player in config.optim}
    objective = _objective(config, source, optimizers["disc"])
    if config.ivom_images and not source.bounded:
        raise UserError(
            f"config.ivom_images is {config.ivom_images}; it must be 0 for {config.data}, which has no images"
        )
    experiment = Experiment(config, source, objective, optimizers)
    names = [column.name for column in experiment.columns]
    if config.best_metric and config.best_metric not in names:
        raise UserError(f"config.best_metric is {config.best_metric!r}; {suggestion(config.best_metric, names)}")
    return experiment


def _objective(config: ConfigDict, source: Source, optimizer: optax.GradientTransformation) -> Objective:
    """The objective, its discriminator normalised and packed, and unrolled, as the config says."""
    nets: Nets = _entry(config, "model", shape=source.shape, bounded=source.bounded, dtype=config.dtype)
    disc = spectrally_normalised(nets.disc) if config.spectral_norm else nets.disc
    nets = nets._replace(disc=packed(disc, config.packing))
    penalties: Penalty = _call(penalty, "penalty", **config.penalty)
    parts = NetsAndDims(nets, source.shape, config.latent_dim, config.noise_dim, penalties)
    objective: Objective = _entry(config, "objective", parts)
    if penalties.r1 or penalties.r2:
        _check_no_statistics(config, objective)
    return unrolled(objective, optimizer, config.unroll) if config.unroll else objective


def _check_no_statistics(config: ConfigDict, objective: Objective) -> None:
    disc, shapes = objective.nets["disc"], objective.inputs["disc"]
    inputs = [jax.ShapeDtypeStruct((config.packing, *shape), np.float32) for shape in shapes]
    params = jax.eval_shape(lambda: disc.init(jax.random.key(0), *shapes))
    if STATISTICS in jax.eval_shape(disc.freeze, params, *inputs):
        raise UserError(
            f"config.penalty.r1 is {config.penalty.r1} and r2 {config.penalty.r2}, but the discriminator of "
            f"config.model {config.model!r} has batch normalisation, so that no example has a gradient of its own; "
            f"switch that off (config.{config.model}.disc_norm='none'), or the penalties"
        )


def _entry(config: ConfigDict, field: str, *args: Any, **sizes: Any) -> Any:
    name = config[field]
    return _call(REGISTRIES[field][name], name, *args, **sizes, **config[name])


def _call(function: Callable[..., Any], section: str, *args: Any, **options: Any) -> Any:
    """Calls what a section's fields are the options of, and says of which section an error is."""
    try:
        return function(*args, **options)
    except ValueError as error:
        raise UserError(f"config.{section}.{error}") from error


def _optimizer(config: ConfigDict, player: str) -> optax.GradientTransformation:
    sizes = {
        "num_updates": config.num_steps * config[f"{player}_updates"],
        "differentiable": player == "disc" and config.unroll > 0,
    }
    optimizer: optax.GradientTransformation = _call(adam, f"optim.{player}", **sizes, **config.optim[player])
    return optimizer
