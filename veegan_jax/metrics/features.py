"""Scores of images in the features of a network: of a classifier trained on the data at hand, or of Inception.

Features of samples are compared with features of training images, as is usual. So the real-data row, of test images,
shares no image with those it is compared with; it stands above 0, since a classifier is surer of the images that it was
trained on.

A reference for the classifier is a set of labelled images: `train_images` and `test_images`, uint8 `[N, H, W]` or
`[N, H, W, C]`, and their labels, int `[N]` from 0.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from veegan_jax.metrics.base import Column, Features, ImageClassifier, Metric, MetricType
from veegan_jax.metrics.manifold import NEIGHBOUR, PRECISION, RECALL, precision_recall
from veegan_jax.metrics.modes import JSD, KL, MODES, histogram_divergences, split_channels, tuple_scores
from veegan_jax.metrics.two_sample import MOST_COMPARED, frechet_distance, kernel_distance

# At most this number of images of each sample is compared by FID and KID.
MOST_FEATURES = 10_000

FID = Column(
    name="fid",
    heading="FID",
    unit="",
    direction="lower",
    definition="The squared 2-Wasserstein distance between Gaussians with the moments of samples and of real images, "
    "in Inception's features.",
    source="Heusel et al., NIPS 2017",
)
KID = Column(
    name="kid",
    heading="KID",
    unit="",
    direction="lower",
    definition="The unbiased squared maximum mean discrepancy between samples and real images, in Inception's D "
    "features, under the kernel (⟨a, b⟩/D + 1)³. It is about 0, of either sign, for equal distributions.",
    source="Bińkowski et al., ICLR 2018, section 4",
)
CLASSIFIER_FID = FID._replace(
    name="classifier_fid",
    heading="FID (classifier)",
    definition="As FID, in the features of a classifier trained on the data at hand: it cannot be compared with FID.",
)
CLASSIFIER_KID = KID._replace(
    name="classifier_kid",
    heading="KID (classifier)",
    definition="As KID, in the features of a classifier trained on the data at hand: it cannot be compared with KID.",
)
CLASSIFIER_COLUMNS = (CLASSIFIER_FID, CLASSIFIER_KID, PRECISION, RECALL)


def make_digit_modes(reference: Any, features: Features) -> Metric:
    """Makes the scores of stacked MNIST (VEEGAN, section 4.2): distinct tuples of digits, and how real digits look.

    The classifier sees each channel by itself. FID, KID, precision and recall compare the channels as single digits:
    they judge how digits look, while the modes judge how digits are combined.

    Args:
        reference: labelled single digits, uint8 `[N, H, W]`; samples are `[N, H, W, channels]`.
        features: supplies the classifier.
    """
    classifier = functools.cache(lambda: features.classifier(reference))
    compare = _comparison(classifier, reference.train_images)

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        digits, activations = classifier()[0](split_channels(samples))
        return {**tuple_scores(digits, samples.shape[-1]), **compare(activations)}

    def note() -> str:
        return f"{_note('digits', classifier()[1], reference)}, and take each channel as a digit by itself"

    return Metric(score, digit_modes.columns, note)


def make_labelled_images(reference: Any, features: Features) -> Metric:
    """Makes the scores of images `[N, H, W, C]` beside real ones, and of their classes beside equally likely ones.

    Args:
        reference: labelled images whose classes are equally frequent, or nearly.
        features: supplies the classifier.
    """
    classifier = functools.cache(lambda: features.classifier(reference))
    compare = _comparison(classifier, reference.train_images)
    num_classes = int(np.max(reference.train_labels)) + 1

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        labels, activations = classifier()[0](samples)
        return {**histogram_divergences(labels, num_classes), **compare(activations)}

    def note() -> str:
        return f"{_note('classes', classifier()[1], reference)}; KL and JSD: over {num_classes} classes"

    return Metric(score, labelled_images.columns, note)


def make_inception(reference: Any, features: Features) -> Metric:
    """Makes FID (Heusel et al., NIPS 2017) and KID (Bińkowski et al., ICLR 2018) of images in [−1, 1].

    Without an Inception network there is nothing to score, and no column.

    Args:
        reference: uint8 images `[N, H, W, C]` to compare with; None for the real ones that are given with the samples.
        features: supplies the network.
    """
    network = features.inception()
    if network is None:
        return Metric(lambda samples, real: {}, (), lambda: "")

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        x = network.features(as_uint8(samples[:MOST_FEATURES]))
        y = network.features(as_uint8(real[:MOST_FEATURES]) if reference is None else reference[:MOST_FEATURES])
        return {"fid": frechet_distance(x, y), "kid": kernel_distance(x, y)}

    note = f"FID and KID: over at most {MOST_FEATURES:,} images (50,000 is usual), in the features of {network.name}"
    return Metric(score, inception.columns, lambda: note)


def as_uint8(images: np.ndarray) -> np.ndarray:
    """Returns images in [−1, 1] as uint8 from 0 to 255, of the same shape."""
    return np.clip(np.round((images + 1) * 127.5), 0, 255).astype(np.uint8)


def _comparison(
    classifier: Callable[[], tuple[ImageClassifier, float]], train_images: np.ndarray
) -> Callable[[np.ndarray], dict[str, float]]:
    """Returns a function that compares features `[N, D]` with those of training images."""

    @functools.cache
    def real() -> np.ndarray:
        chosen = np.random.default_rng(0).permutation(len(train_images))[:MOST_FEATURES]
        return classifier()[0](train_images[chosen])[1]

    def compare(features: np.ndarray) -> dict[str, float]:
        x, y = features[:MOST_FEATURES], real()
        distances = {"classifier_fid": frechet_distance(x, y), "classifier_kid": kernel_distance(x, y)}
        return {**distances, **precision_recall(x, y)}

    return compare


def _note(what: str, accuracy: float, reference: Any) -> str:
    tested = len(reference.test_labels)
    return (
        f"{what} classified by a CNN of {100 * accuracy:.2f} % accuracy on {tested:,} test images; FID and KID (of at "
        f"most {MOST_FEATURES:,} images), precision and recall (by {NEIGHBOUR}-NN manifolds of {MOST_COMPARED:,}) are "
        "in that CNN's features, not Inception's, against training images"
    )


digit_modes = MetricType((MODES, KL, JSD, *CLASSIFIER_COLUMNS), make_digit_modes)
labelled_images = MetricType((KL, JSD, *CLASSIFIER_COLUMNS), make_labelled_images)
inception = MetricType((FID, KID), make_inception)
