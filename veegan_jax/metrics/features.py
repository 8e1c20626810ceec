"""Scores of images, by a classifier of our own (`metrics.classifier`, which documents what a reference has).

Features are compared with those of training images, as the field does. So the real-data row, of test images, has none
in common with what it is compared with; it stands above 0 since a classifier is surer of the images it was taught.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from veegan_jax.evaluation.classifier import Classifier, classifier
from veegan_jax.metrics.base import Metric, histogram_divergences
from veegan_jax.metrics.manifold import MOST_COMPARED, NEIGHBOUR, precision_recall
from veegan_jax.metrics.two_sample import frechet_distance, kernel_distance

# So many images of each sample are compared by their features.
MOST_FEATURES = 10_000
FEATURE_COLUMNS = ("classifier_fid", "classifier_kid", "precision", "recall")


def digit_modes(reference: Any) -> Metric:
    """Stacked MNIST (VEEGAN, section 4.2): distinct tuples of digits, a channel each, and how real the digits look.

    The classifier tells each channel by itself. FID, KID, precision and recall are of the channels as so many single
    digits: they judge how digits look, and the modes how they are combined.

    Args:
        reference: of single digits, uint8 `[N, H, W]`, and `channels`, of samples `[N, H, W, channels]`.
    """
    taught, channels = functools.cache(lambda: classifier(reference)), reference.channels
    compare = _comparison(taught, reference)

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        digits = np.moveaxis(samples, -1, 1).reshape(-1, *samples.shape[1:3])  # [N·C, H, W]
        labels, features = taught()[0](digits)
        tuples = labels.reshape(-1, channels) @ 10 ** np.arange(channels)
        modes = float(len(np.unique(tuples)))
        return {"modes": modes, **histogram_divergences(tuples, 10**channels), **compare(features)}

    def note() -> str:
        return f"{_note('digits', taught()[1], reference)}, and of each channel as a digit by itself"

    return Metric(score, ("modes", "kl", "jsd", *FEATURE_COLUMNS), note)


def labelled_images(reference: Any) -> Metric:
    """How images `[N, H, W, C]` compare with real ones, and how their classes do with equally likely ones.

    Args:
        reference: of images, uint8 `[N, H, W]` or `[N, H, W, C]`, whose classes are equally frequent, or nearly.
    """
    taught = functools.cache(lambda: classifier(reference))
    compare = _comparison(taught, reference)
    num_classes = int(np.max(reference.train_labels)) + 1

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        labels, features = taught()[0](samples)
        return {**histogram_divergences(labels, num_classes), **compare(features)}

    def note() -> str:
        return f"{_note('classes', taught()[1], reference)}; KL and JSD are those of {num_classes} classes"

    return Metric(score, ("kl", "jsd", *FEATURE_COLUMNS), note)


def _comparison(
    taught: Callable[[], tuple[Classifier, float]], reference: Any
) -> Callable[[np.ndarray], dict[str, float]]:
    """A function of features `[N, D]` that compares them with those of training images."""

    @functools.cache
    def real() -> np.ndarray:
        images = reference.train_images
        chosen = np.random.default_rng(0).permutation(len(images))[:MOST_FEATURES]
        return taught()[0].features(images[chosen])

    def compare(features: np.ndarray) -> dict[str, float]:
        x, y = features[:MOST_FEATURES], real()
        distances = {"classifier_fid": frechet_distance(x, y), "classifier_kid": kernel_distance(x, y)}
        return {**distances, **precision_recall(x, y)}

    return compare


def _note(told: str, accuracy: float, reference: Any) -> str:
    tested = len(reference.test_labels)
    return (
        f"{told} told by a CNN of {100 * accuracy:.2f} % accuracy on {tested:,} test images; FID and KID, of at most "
        f"{MOST_FEATURES:,} images, and precision and recall, by {NEIGHBOUR}-NN manifolds of {MOST_COMPARED:,}, are in "
        "that CNN's features, not Inception's, against training images"
    )
