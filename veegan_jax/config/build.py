"""From names to parts: the one place where fields become keyword arguments."""

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from veegan_jax.config.check import check_jax, validate
from veegan_jax.config.fields import REGISTRIES
from veegan_jax.data.base import DataSpec, Source
from veegan_jax.errors import UserError, suggestion
from veegan_jax.metrics import METRICS, Column, default_best, headline
from veegan_jax.metrics.latent import RECONSTRUCTOR_COLUMNS
from veegan_jax.models.network import STATISTICS, Nets, packed, spectrally_normalised
from veegan_jax.objectives.base import NetsAndDims, Objective
from veegan_jax.objectives.optimizer import adam
from veegan_jax.objectives.penalty import Penalty, penalty
from veegan_jax.objectives.unrolled import unrolled
from veegan_jax.objectives.whitened import whiten, whitened
from veegan_jax.paths import local_path


class Experiment(NamedTuple):
    """The parts of a run, built and checked; nothing is compiled yet.

    Attributes:
        config: the whole configuration.
        spec: what networks and tables have to know of the data.
        open_source: returns the data, which are opened at the first call.
        objective: the method with its networks.
        optimizers: `{player: optimizer}`.
    """

    config: ConfigDict
    spec: DataSpec
    open_source: Callable[[], Source]
    objective: Objective
    optimizers: Mapping[str, optax.GradientTransformation]

    @property
    def source(self) -> Source:
        """The data.

        Raises:
            UserError: if they are opened now, and cannot be.
        """
        return self.open_source()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of all metrics that apply to the data, and those of the reconstructor if there is one."""
        metrics = (METRICS[name].columns for name in self.spec.metrics)
        return (*itertools.chain(*metrics), *(RECONSTRUCTOR_COLUMNS if self.objective.encode else ()))

    @property
    def best_metric(self) -> Column:
        """The column by which checkpoints are ranked."""
        named = [column for column in self.columns if column.name == self.config.best_metric]
        return named[0] if named else default_best(self.columns)

    @property
    def headline(self) -> tuple[Column, ...]:
        """The columns that the terminal shows, the most important first; see `metrics.headline`."""
        return headline(self.columns, self.best_metric)

    @property
    def num_eval(self) -> int:
        """The number of samples in a measurement."""
        return self.config.eval_samples or self.source.num_eval


def build(config: ConfigDict, spec: DataSpec | None = None) -> Experiment:
    """Builds the parts that a config names.

    Args:
        config: the whole configuration.
        spec: what a checkpoint says of the data, which are then not opened before they are needed; None to open them.

    Raises:
        UserError: naming the field, or the setting of JAX, that is wrong, its value, and what would be right.
    """
    check_jax()
    validate(config)
    open_source = functools.cache(functools.partial(build_source, config))
    spec = spec or open_source().spec
    optimizers = {player: _optimizer(config, player) for player in config.optim}
    objective = _objective(config, spec, optimizers["disc"])
    if config.ivom_images and not spec.bounded:
        raise UserError(
            f"config.ivom_images is {config.ivom_images}; it must be 0 for {config.data}, which has no images"
        )
    experiment = Experiment(config, spec, open_source, objective, optimizers)
    names = [column.name for column in experiment.columns]
    if config.best_metric and config.best_metric not in names:
        raise UserError(f"config.best_metric is {config.best_metric!r}; {suggestion(config.best_metric, names)}")
    return experiment


def build_source(config: ConfigDict) -> Source:
    """Builds the data that a config names, whose other parts are checked and not built.

    Raises:
        UserError: naming the field that is wrong, its value, and what would be right.
    """
    validate(config)
    source: Source = _entry(config, "data")
    return source


def check_amounts(experiment: Experiment) -> None:
    """Checks that as many real examples as the config wants to measure are there, since each is taken once.

    A run that is only loaded needs none of them, so `build` does not check this.

    Raises:
        UserError: naming the field, its value, and the largest right value.
    """
    config, source = experiment.config, experiment.source
    for field, most, examples in (
        ("eval_samples", source.num_held_out, "held-out examples"),
        ("ivom_images", min(source.num_held_out, source.num_train), "training or held-out examples"),
    ):
        if config[field] > most:
            raise UserError(
                f"config.{field} is {config[field]}; it must be at most {most}, since there are {most} {examples} "
                f"of {config.data}, and each is taken once"
            )


def parts(config: ConfigDict, spec: DataSpec) -> NetsAndDims:
    """Returns what the config's method is built from, with its discriminator normalised and packed as the config says.

    Raises:
        UserError: naming the field that is wrong, its value, and what would be right.
    """
    nets: Nets = _entry(config, "model", shape=spec.shape, bounded=spec.bounded, dtype=config.dtype)
    disc = spectrally_normalised(nets.disc) if config.spectral_norm else nets.disc
    nets = nets._replace(disc=packed(disc, config.packing))
    penalties: Penalty = _call(penalty, "penalty", **config.penalty)
    return NetsAndDims(nets, spec.shape, config.latent_dim, config.noise_dim, penalties)


def _objective(config: ConfigDict, spec: DataSpec, optimizer: optax.GradientTransformation) -> Objective:
    """Returns the objective, unrolled and whitened as the config says."""
    made = parts(config, spec)
    objective: Objective = _entry(config, "objective", made)
    if made.penalty.r1 or made.penalty.r2:
        _check_no_statistics(config, objective)
    objective = unrolled(objective, optimizer, config.unroll) if config.unroll else objective
    if not _call(whiten, "whiten", **config.whiten).floor:
        return objective
    if len(spec.shape) != 1:
        raise UserError(f"config.whiten.floor is {config.whiten.floor}; it must be 0 for {config.data}, no vectors")
    return whitened(objective, *spec.shape)


def _check_no_statistics(config: ConfigDict, objective: Objective) -> None:
    """Checks that no layer of the discriminator joins examples, since gradient penalties are of single examples."""
    disc, shapes = objective.nets["disc"], objective.inputs["disc"]
    inputs = [jax.ShapeDtypeStruct((config.packing, *shape), np.float32) for shape in shapes]
    params = jax.eval_shape(lambda: disc.init(jax.random.key(0), *shapes))
    if STATISTICS in jax.eval_shape(disc.freeze, params, *inputs):
        raise UserError(
            f"config.penalty.r1 is {config.penalty.r1} and r2 {config.penalty.r2}, but the discriminator of "
            f"config.model {config.model!r} has batch normalisation, so that no example has a gradient of its own; "
            f"switch that off (config.{config.model}.disc_norm='none'), or the penalties"
        )


def _entry(config: ConfigDict, field: str, *args: Any, **given: Any) -> Any:
    """Calls the entry of a registry that a field names, with its section of the config as keyword arguments."""
    name = config[field]
    options = dict(config[name])
    if options.get("path"):
        options["path"] = str(local_path(options["path"], f"config.{name}.path"))
    return _call(REGISTRIES[field][name], name, *args, **given, **options)


def _call(function: Callable[..., Any], section: str, *args: Any, **options: Any) -> Any:
    """Calls a function whose options are a section's fields; the function's ValueError begins with a field's name."""
    try:
        return function(*args, **options)
    except ValueError as error:
        raise UserError(f"config.{section}.{error}") from error


def _optimizer(config: ConfigDict, player: str) -> optax.GradientTransformation:
    given = {
        "num_updates": config.num_steps * config[f"{player}_updates"],
        "differentiable": player == "disc" and config.unroll > 0,
    }
    optimizer: optax.GradientTransformation = _call(adam, f"optim.{player}", **given, **config.optim[player])
    return optimizer
