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

from veegan_jax.metrics.base import Column, Comparison, Features, ImageClassifier, Metric, MetricType, measured
from veegan_jax.metrics.distances import MOST_COMPARED, RealDistances
from veegan_jax.metrics.diversity import RKE, VENDI, bandwidth, posterior_vendi, rke_modes, vendi
from veegan_jax.metrics.memorisation import (
    AUTHPCT,
    FLD,
    LikelihoodReference,
    authentic_share,
    likelihood_divergence,
    likelihood_reference,
)
from veegan_jax.metrics.modes import EXCESS_KL, JSD, KL, MODES, histogram_divergences, split_channels, tuple_scores
from veegan_jax.metrics.neighbours import NEIGHBOUR, NEIGHBOUR_COLUMNS, WIDE_NEIGHBOUR, neighbour_scores
from veegan_jax.metrics.two_sample import frechet_distance, kernel_distance

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
    least=2,
)
KID = Column(
    name="kid",
    heading="KID",
    unit="",
    direction="lower",
    definition="The unbiased squared maximum mean discrepancy between samples and real images, in Inception's D "
    "features, under the kernel (⟨a, b⟩/D + 1)³. It is about 0, of either sign, for equal distributions.",
    source="Bińkowski et al., ICLR 2018, section 4",
    least=2,
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
FEATURE_COLUMNS = (CLASSIFIER_FID, CLASSIFIER_KID, *NEIGHBOUR_COLUMNS, RKE, AUTHPCT, FLD)


def make_digit_modes(reference: Any, features: Features) -> Metric:
    """Makes the scores of stacked MNIST (VEEGAN, section 4.2): distinct tuples of digits, and how real digits look.

    The classifier sees each channel by itself. The scores of features compare the channels as single digits: they judge
    how digits look, while modes and Vendi score judge how digits are combined.

    Args:
        reference: labelled single digits, uint8 `[N, H, W]`; samples are `[N, H, W, channels]`.
        features: supplies the classifier.
    """
    classifier = functools.cache(lambda: features.classifier(reference))
    comparison = _Comparison(classifier, reference)

    def score(samples: np.ndarray) -> dict[str, float]:
        channels = samples.shape[-1]
        found = classifier()[0](split_channels(samples))
        posteriors = [found.posteriors[channel::channels] for channel in range(channels)]
        scores = measured(
            len(samples),
            ((MODES, KL, EXCESS_KL, JSD), lambda: tuple_scores(found.labels, channels)),
            ((VENDI,), lambda: {"vendi": posterior_vendi(posteriors)}),
        )
        return {**scores, **comparison.scores(found.features, len(samples))}

    def note() -> str:
        return f"{comparison.note('digits')}, and take each channel as a digit by itself"

    return Metric(lambda real: Comparison(score, note), digit_modes.columns)


def make_labelled_images(reference: Any, features: Features) -> Metric:
    """Makes the scores of images `[N, H, W, C]` beside real ones, and of their classes beside those of training images.

    Args:
        reference: labelled images. A class that no training image has, as 0 where labels begin at 1, is no class.
        features: supplies the classifier.
    """
    classifier = functools.cache(lambda: features.classifier(reference))
    comparison = _Comparison(classifier, reference)
    classes, counts = np.unique(reference.train_labels, return_counts=True)

    def score(samples: np.ndarray) -> dict[str, float]:
        found = classifier()[0](samples)
        scores = measured(
            len(samples),
            ((KL, EXCESS_KL, JSD), lambda: _class_divergences(found.posteriors, classes, counts)),
            ((VENDI,), lambda: {"vendi": vendi(found.features)}),
        )
        return {**scores, **comparison.scores(found.features, len(samples))}

    def note() -> str:
        return (
            f"{comparison.note('classes')}; KL and JSD: from the shares of the {len(classes)} classes in training data"
        )

    return Metric(lambda real: Comparison(score, note), labelled_images.columns)


def make_inception(reference: Any, features: Features) -> Metric:
    """Makes FID (Heusel et al., NIPS 2017) and KID (Bińkowski et al., ICLR 2018) of images in [−1, 1].

    Without an Inception network there is nothing to score, and no column.

    Args:
        reference: uint8 images `[N, H, W, C]` to compare with; None for the real ones that are given with the samples.
        features: supplies the network.
    """
    network = features.inception()
    if network is None:
        return Metric(lambda real: Comparison(lambda samples: {}, lambda: ""), ())
    note = f"FID and KID: over at most {MOST_FEATURES:,} images (50,000 is usual), in the features of {network.name}"

    def against(real: np.ndarray) -> Comparison:
        images = as_uint8(real[:MOST_FEATURES]) if reference is None else reference[:MOST_FEATURES]
        real_features = functools.cache(lambda: network.features(images))

        def score(samples: np.ndarray) -> dict[str, float]:
            def compare() -> dict[str, float]:
                x, y = network.features(as_uint8(samples[:MOST_FEATURES])), real_features()
                return {"fid": frechet_distance(x, y), "kid": kernel_distance(x, y)}

            return measured(min(len(samples), len(images)), (inception.columns, compare))

        return Comparison(score, lambda: note)

    return Metric(against, inception.columns)


def _class_divergences(posteriors: np.ndarray, classes: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Returns the divergences of the likeliest classes, `[N]` from posteriors, from the counts of training images."""
    chosen = np.argmax(posteriors[:, classes], axis=-1)
    return histogram_divergences(chosen, len(classes), counts / np.sum(counts))


def as_uint8(images: np.ndarray) -> np.ndarray:
    """Returns images in [−1, 1] as uint8 from 0 to 255, of the same shape."""
    return np.clip(np.round((images + 1) * 127.5), 0, 255).astype(np.uint8)


class _Comparison:
    """Compares features of samples with those of training images, by the scores of `FEATURE_COLUMNS`."""

    def __init__(self, classifier: Callable[[], tuple[ImageClassifier, float]], labelled: Any):
        self._classifier, self._labelled = classifier, labelled

    def _features(self, images: np.ndarray) -> np.ndarray:
        chosen = np.random.default_rng(0).permutation(len(images))[:MOST_FEATURES]
        return self._classifier()[0](images[chosen]).features

    @functools.cached_property
    def _real(self) -> np.ndarray:
        return self._features(self._labelled.train_images)

    @functools.cached_property
    def _distances(self) -> RealDistances:
        return RealDistances(self._real)

    @functools.cached_property
    def _bandwidth(self) -> float:
        return bandwidth(self._distances)

    @functools.cached_property
    def _likelihood(self) -> LikelihoodReference:
        return likelihood_reference(self._real, self._features(self._labelled.test_images))

    def scores(self, features: np.ndarray, num: int) -> dict[str, float]:
        """Returns the scores of features `[N, D]` of `num` samples, as far as these suffice."""
        x, y = features[:MOST_FEATURES], self._real
        d = self._distances.to(x)

        def moments() -> dict[str, float]:
            return {"classifier_fid": frechet_distance(x, y), "classifier_kid": kernel_distance(x, y)}

        return {
            **neighbour_scores(d),
            **measured(
                min(num, len(y), len(self._labelled.test_images)),
                ((RKE,), lambda: {"rke": rke_modes(d, self._bandwidth)}),
                ((CLASSIFIER_FID, CLASSIFIER_KID), moments),
                ((AUTHPCT,), lambda: {"authpct": authentic_share(d)}),
                ((FLD,), lambda: {"fld": likelihood_divergence(x, self._likelihood)}),
            ),
        }

    def note(self, what: str) -> str:
        """Returns how images are recognised and compared; `what` names the classes."""
        accuracy, tested = self._classifier()[1], len(self._labelled.test_labels)
        return (
            f"{what} classified by a CNN of {100 * accuracy:.2f} % accuracy on {tested:,} test images; FID and KID (of "
            f"at most {MOST_FEATURES:,} images), precision and recall ({NEIGHBOUR}-NN), density and coverage "
            f"({WIDE_NEIGHBOUR}-NN, all of at most {MOST_COMPARED:,}), RKE modes (a Gaussian kernel of bandwidth "
            f"{self._bandwidth:.3g}), AuthPct "
            "and FLD are in that CNN's features, not Inception's, against training images"
        )


digit_modes = MetricType((MODES, KL, EXCESS_KL, JSD, VENDI, *FEATURE_COLUMNS), make_digit_modes)
labelled_images = MetricType((KL, EXCESS_KL, JSD, VENDI, *FEATURE_COLUMNS), make_labelled_images)
inception = MetricType((FID, KID), make_inception)
