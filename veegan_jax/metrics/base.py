"""What a metric and its columns are to the rest of the code."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

ARROWS = {"higher": "↑", "lower": "↓", "as real": "≈ real"}


class Column(NamedTuple):
    """A score: all that tables, curves, logs, checkpoints and the glossary need to know of it.

    Attributes:
        name: the key in logs, JSON and TensorBoard, such as `kl`.
        heading: the name in tables and curves, such as "reverse KL".
        unit: such as "%" or "nats"; empty for a plain number.
        direction: which value is better. "as real" stands for a score that is best where real data's is.
        definition: what is computed, in one line.
        source: the paper that defines it, with section or equation.
        least: the smallest number of samples, and of real examples, of which it can be computed.
        limit: `limit(n)` is the largest score of n samples, which is then only a lower bound; None if there is none.
    """

    name: str
    heading: str
    unit: str
    direction: Literal["higher", "lower", "as real"]
    definition: str
    source: str
    least: int = 1
    limit: Callable[[int], float] | None = None

    @property
    def title(self) -> str:
        """The heading with unit and direction, such as "reverse KL (nats) ↓" or "support ≈ real"."""
        unit = f"({self.unit})" if self.unit else ""
        return " ".join(filter(None, (self.heading, unit, ARROWS[self.direction])))

    def goodness(self, score: float) -> float:
        """Returns a number that is larger for a better score, by which checkpoints are ranked.

        A score that is best "as real" counts as better when higher, since a generator that drops modes scores below
        real data.
        """
        return -score if self.direction == "lower" else score


def measured(num: int, *scores: tuple[tuple[Column, ...], Callable[[], dict[str, float]]]) -> dict[str, float]:
    """Computes the scores for which there are enough examples.

    Args:
        num: the number of samples or of real examples, whichever is smaller.
        scores: columns, and the function that gives their scores.
    """
    found = [compute() for columns, compute in scores if all(num >= column.least for column in columns)]
    return {name: score for scores in found for name, score in scores.items()}


class Comparison(NamedTuple):
    """A metric that knows the real examples to compare with, and what follows from them alone.

    Attributes:
        score: `score(samples) -> {column name: score}` of samples, float32 `[N, …]`.
        note: returns the line that a reader of the table needs (how a sample counts as good, a classifier's accuracy),
            or an empty text.
    """

    score: Callable[[np.ndarray], dict[str, float]]
    note: Callable[[], str]


class Metric(NamedTuple):
    """One or more scores of samples, made for one source of data.

    A metric is made for every run, also for one that only samples, and must cost nothing until it is used.

    Attributes:
        against: `against(real)` returns the comparison with real examples, float32 `[N, …]`. They are examples that the
            model was trained on, so that held-out real data, scored like samples, give the ceiling. Samples of many
            steps are compared with the same ones, so that what depends on `real` alone should be computed once.
        columns: the columns that are scored.
    """

    against: Callable[[np.ndarray], Comparison]
    columns: tuple[Column, ...]

    def score(self, samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        """Returns the scores of samples that are compared with these real examples once."""
        return self.against(real).score(samples)


class Recognised(NamedTuple):
    """What a classifier says of images.

    Attributes:
        labels: the classes, int `[N]`.
        features: the hidden activations, float32 `[N, D]`.
        posteriors: the probabilities of the classes, float32 `[N, classes]`.
    """

    labels: np.ndarray
    features: np.ndarray
    posteriors: np.ndarray


# A classifier of images, `[N, H, W]` or `[N, H, W, C]`, either uint8 from 0 to 255 or float32 from −1 to 1.
ImageClassifier = Callable[[np.ndarray], Recognised]


class FeatureNetwork(NamedTuple):
    """A network that was trained elsewhere, such as Inception.

    Attributes:
        name: the name for a reader of the table.
        features: from images, uint8 `[N, H, W, C]`, to features, float32 `[N, D]`.
    """

    name: str
    features: Callable[[np.ndarray], np.ndarray]


class Features(NamedTuple):
    """The networks that metrics borrow. Whoever measures supplies them, since they are trained or read from files.

    Attributes:
        classifier: `classifier(labelled) -> (classifier, accuracy)`: a classifier trained on labelled images, which
            have `train_images`, `train_labels`, `test_images` and `test_labels`, and its accuracy on the test images,
            0 to 1.
        inception: returns the Inception network, or None where the user has given none.
    """

    classifier: Callable[[Any], tuple[ImageClassifier, float]]
    inception: Callable[[], FeatureNetwork | None]


class MetricType(NamedTuple):
    """An entry of the registry `METRICS`.

    Attributes:
        columns: all columns that the metric may give, known without data.
        make: `make(reference, features) -> Metric`, where the reference is what a source of data names to compare with.
            It raises ValueError if the metric cannot be made.
    """

    columns: tuple[Column, ...]
    make: Callable[[Any, Features], Metric]
