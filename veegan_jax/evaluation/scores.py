"""The scores of a model's samples, beside what real data score."""

import functools
import logging
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from veegan_jax.config.build import Experiment, check_amounts
from veegan_jax.data.base import Source
from veegan_jax.errors import UserError, one_line, suggestion
from veegan_jax.evaluation.classifier import classifier
from veegan_jax.evaluation.inception import inception
from veegan_jax.inference.model import Sampler
from veegan_jax.inference.real_examples import RealExamples
from veegan_jax.metrics import METRICS, Column, Comparison, Features, Metric
from veegan_jax.metrics.latent import (
    IVOM_HELD_OUT,
    IVOM_TRAIN,
    PRIOR_GAP,
    RECONSTRUCTION,
    RECONSTRUCTOR_COLUMNS,
    inversion_error,
    prior_gap,
    reconstruction_error,
)
from veegan_jax.objectives.base import Params

Scores = dict[str, float]
Result = TypeVar("Result")

# The seeds of what is drawn to measure: model, real data, prior and training data, apart from one another and the same
# at every step.
MODEL_SEED, REAL_SEED, PRIOR_SEED, REFERENCE_SEED = 1, 2, 3, 5
_log = logging.getLogger("veegan_jax")


class Scorer:
    """Measures samples against one source of data, whoever made the samples.

    No score can stop a run: a metric that fails loses its columns, and one warning names them and the error. Errors
    that the user can mend, of the operating system and of memory pass through.

    Attributes:
        source: the data.
        num: the number of samples in a measurement.
        metrics: the metrics that the data name, made, by their names in the registry.
        columns: the columns that are measured.
    """

    def __init__(self, source: Source, num: int):
        """Makes the metrics; nothing is compiled yet.

        Args:
            source: the data.
            num: the number of samples in a measurement, at most the number of held-out examples.

        Raises:
            UserError: if a metric cannot be made.
        """
        self.source, self.num = source, num
        features = Features(classifier, inception)
        try:
            self.metrics = {name: METRICS[name].make(ref, features) for name, ref in source.references.items()}
        except ValueError as error:
            raise UserError(str(error)) from error
        self.columns: tuple[Column, ...] = tuple(c for metric in self.metrics.values() for c in metric.columns)
        self._comparisons: dict[Metric, Comparison] = {}
        self._warned: set[tuple[Column, ...]] = set()

    @functools.cached_property
    def examples(self) -> RealExamples:
        """The real examples of the source."""
        return RealExamples(self.source)

    def score(self, x: np.ndarray) -> Scores:
        """Returns the scores of samples, float32 `[N, …]` of the source's shape and range."""
        scores: Scores = {}
        for metric in self.metrics.values():
            scores |= self._attempt(metric.columns, functools.partial(self._score, metric, x), Scores())
        return scores

    def score_real(self, seed: int = REAL_SEED) -> Scores:
        """Returns the ceiling: the scores of as many held-out real examples, those of a seed."""
        return self.score(self.examples.held_out(self.num, seed))

    def notes(self) -> list[str]:
        """Returns the lines that a reader of the table needs about its data and its metrics."""
        few = self.source.num_train < self.num
        return [
            f"{self.num:,} samples a row",
            f"compared with all {self.source.num_train:,} training examples, which are fewer" if few else "",
            self.source.note,
            *(self._attempt(m.columns, functools.partial(self._note, m), "") for m in self.metrics.values()),
        ]

    def warn_of_too_few(self) -> None:
        """Says, before anything is measured, which scores need more examples than there are, and how many."""
        num = min(self.num, self.source.num_train)
        leasts = sorted({column.least for column in self.columns if column.least > num})
        needs = [f"{least} for {', '.join(c.name for c in self.columns if c.least == least)}" for least in leasts]
        if needs:
            _log.warning("too few examples (%d) for some scores, which are left out; %s", num, "; ".join(needs))

    def _comparison(self, metric: Metric) -> Comparison:
        """Returns the comparison with training examples, which is made once for all samples."""
        if metric not in self._comparisons:
            self._comparisons[metric] = metric.against(self.examples.training(self.num, REFERENCE_SEED))
        return self._comparisons[metric]

    def _score(self, metric: Metric, x: np.ndarray) -> Scores:
        return self._comparison(metric).score(x)

    def _note(self, metric: Metric) -> str:
        return self._comparison(metric).note()

    def _try(self, column: Column, score: Callable[[], float]) -> Scores:
        """Returns one score by its name, or nothing if it fails."""
        if self.num < column.least:
            return {}
        return self._attempt((column,), lambda: {column.name: score()}, Scores())

    def _attempt(self, columns: tuple[Column, ...], compute: Callable[[], Result], otherwise: Result) -> Result:
        """Returns what a function computes for some columns; if it fails, warns once and returns another value."""
        try:
            return compute()
        except (UserError, OSError, MemoryError):
            raise
        except Exception as error:
            if columns not in self._warned:
                names = ", ".join(column.name for column in columns)
                _log.warning("%s cannot be measured, and is left out: %s", names, one_line(error))
            self._warned.add(columns)
            return otherwise


class Evaluation(Scorer):
    """Measures the models of one experiment.

    Attributes:
        experiment: the experiment.
        columns: the columns of the metrics, and those of the reconstructor if there is one.
    """

    def __init__(self, experiment: Experiment):
        """Makes the metrics; nothing is compiled yet.

        Raises:
            UserError: if a metric cannot be made, the one that ranks checkpoints is not measured, or the data have
                fewer examples than the config wants to measure.
        """
        check_amounts(experiment)
        super().__init__(experiment.source, experiment.num_eval)
        self.experiment = experiment
        self.columns += RECONSTRUCTOR_COLUMNS if experiment.objective.encode else ()
        named, measured = experiment.config.best_metric, [column.name for column in self.columns]
        if named and named not in measured:  # FID of a config that names it, where there is no Inception network
            raise UserError(f"config.best_metric is {named!r}; {suggestion(named, measured)}")
        self.warn_of_too_few()

    @functools.cached_property
    def sampler(self) -> Sampler:
        """The compiled functions of the experiment's networks."""
        return Sampler(self.experiment, self.examples)

    def measure(
        self, params: Params, generate: Callable[[int, int], tuple[np.ndarray, np.ndarray]] | None = None
    ) -> tuple[Scores, np.ndarray]:
        """Returns the scores of one replica, and the samples `[N, …]` that were scored.

        Args:
            params: the replica's parameters.
            generate: `generate(n, seed) -> (z, x)` draws latents and samples, as `Rejection.generate` does; None for
                those of the generator alone.
        """
        n = self.experiment.num_eval
        z, x = generate(n, MODEL_SEED) if generate else self.sampler.generate(params, n, MODEL_SEED)
        scores = self.score(x)
        if self.experiment.objective.encode:
            encode = functools.partial(self.sampler.encode, params)
            scores |= self._try(RECONSTRUCTION, lambda: reconstruction_error(z, encode(x)))
            scores |= self._try(PRIOR_GAP, lambda: prior_gap(encode(self.sampler.real(n, REAL_SEED))))
        return scores, x

    @functools.cached_property
    def real(self) -> Scores:
        """The ceiling that tables show, which is measured once: `measure_real` with its usual seed."""
        return self.measure_real()

    def measure_real(self, seed: int = REAL_SEED) -> Scores:
        """Returns the ceiling: the scores of as many held-out real examples, and of latents of the prior itself."""
        n = self.experiment.num_eval
        scores = self.score_real(seed)
        if self.experiment.objective.encode:
            z = np.random.default_rng(PRIOR_SEED + seed - REAL_SEED).standard_normal(
                (n, self.experiment.config.latent_dim)
            )
            scores |= self._try(PRIOR_GAP, lambda: prior_gap(z))
        return scores

    def invert(self, params: Params) -> Scores:
        """Returns IvOM of one replica on training and on held-out examples; nothing if the config asks for none."""
        if not (n := self.experiment.config.ivom_images):
            return {}

        def error(draw: Callable[[int, int], np.ndarray]) -> float:
            return inversion_error(self.sampler.invert(params, draw(n, REAL_SEED), MODEL_SEED)[1])

        scores = self._try(IVOM_TRAIN, lambda: error(self.sampler.training))
        return scores | self._try(IVOM_HELD_OUT, lambda: error(self.sampler.real))
