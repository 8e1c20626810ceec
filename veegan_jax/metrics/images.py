"""Scores of images, by a classifier of our own (see `metrics.classifier`, which documents what a reference has)."""

from typing import Any

import numpy as np

from veegan_jax.metrics.base import Metric, histogram_divergences
from veegan_jax.metrics.classifier import Classifier, classifier
from veegan_jax.metrics.manifold import MOST_COMPARED, NEIGHBOUR, precision_recall
from veegan_jax.metrics.two_sample import frechet_distance, kernel_distance

# So many images of each sample are compared by their features.
MOST_FEATURES = 10_000
FEATURE_COLUMNS = ("classifier_fid", "classifier_kid", "precision", "recall")


def digit_modes(reference: Any) -> Metric:
    """Stacked MNIST (VEEGAN, section 4.2): distinct tuples of digits, a channel each, beside real ones.

    The classifier tells each channel by itself. Distances, precision and recall are of the channels as so many single
    digits, so they judge how digits look, and the modes how they are combined.

    Args:
        reference: of single digits, uint8 `[N, 28, 28]`, and `channels`, of samples `[N, 28, 28, channels]`.
    """
    teacher, channels = classifier(reference), reference.channels

    def digits(images: np.ndarray) -> np.ndarray:
        return np.moveaxis(images, -1, 1).reshape(-1, *images.shape[1:3], 1)  # [N·C, H, W, 1]

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        labels, features = teacher(digits(samples))
        tuples = labels.reshape(-1, channels) @ 10 ** np.arange(channels)
        return {
            "modes": float(len(np.unique(tuples))),
            **histogram_divergences(tuples, 10**channels),
            **_compared(features, teacher.features(digits(real[: -(-MOST_FEATURES // channels)]))),
        }

    note = _note("digits", teacher, len(reference.test_labels), "each channel a digit by itself")
    return Metric(score, ("modes", "kl", "jsd", *FEATURE_COLUMNS), note)


def labelled_images(reference: Any) -> Metric:
    """How images `[N, H, W, C]` compare with real ones, and how their classes do with equally likely ones.

    Args:
        reference: of images, uint8 `[N, H, W]` or `[N, H, W, C]`, whose classes are equally frequent, or nearly.
    """
    teacher = classifier(reference)
    num_classes = int(np.max(reference.train_labels)) + 1

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        labels, features = teacher(samples)
        return {
            **histogram_divergences(labels, num_classes),
            **_compared(features, teacher.features(real[:MOST_FEATURES])),
        }

    note = _note("classes", teacher, len(reference.test_labels), f"KL and JSD over {num_classes} classes")
    return Metric(score, ("kl", "jsd", *FEATURE_COLUMNS), note)


def _compared(features: np.ndarray, real: np.ndarray) -> dict[str, float]:
    x, y = features[:MOST_FEATURES], real[:MOST_FEATURES]
    distances = {"classifier_fid": frechet_distance(x, y), "classifier_kid": kernel_distance(x, y)}
    return {**distances, **precision_recall(x, y)}


def _note(told: str, teacher: Classifier, tested: int, how: str) -> str:
    accuracy = f"{100 * teacher.accuracy:.2f} % accuracy on {tested:,} test images"
    return (
        f"{told} told by a CNN of {accuracy}; FID and KID, of at most {MOST_FEATURES:,} images, and the {NEIGHBOUR}-NN "
        f"manifolds of precision and recall, of {MOST_COMPARED:,}, are in that CNN's features, not Inception's; {how}"
    )
