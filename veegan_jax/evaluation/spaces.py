"""The coordinates in which examples of a source are compared with samples, and the modes that are known of it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from veegan_jax.data.base import Source
from veegan_jax.evaluation.classifier import classifier
from veegan_jax.evaluation.regions import Modes
from veegan_jax.metrics.manifold import coordinates
from veegan_jax.metrics.modes import split_channels

# Discriminant coordinates are fitted to at most this number of training images.
MOST_FITTED = 10_000
# Digits of 8×8 pixels are compared by this number of kernel components.
KERNEL_COMPONENTS = 400
# The share of the identity in the covariance within classes, since some features are constant.
SHRINKAGE = 0.02
POINTS = "distances are those of the coordinates, or of random projections of more than 1,024 of them"

Coordinates = Callable[[np.ndarray], np.ndarray]


class Space(NamedTuple):
    """Where examples are compared.

    Attributes:
        coordinates: from examples `[N, …]` to float32 `[N, D]`, in which distances are taken.
        modes: from examples `[N, …]` to what is known of their modes; None for nothing.
        note: how distances are taken, for a reader of the verdict.
    """

    coordinates: Coordinates
    modes: Callable[[np.ndarray], Modes | None]
    note: str


def space(source: Source) -> Space:
    """Returns the space of a source: its coordinates, or those that separate its classes best.

    Pixels of images with classes say little about them, so that these images are compared by discriminant coordinates
    (Fisher 1936): the projections in which classes lie farthest apart, in units of the spread within a class. They are
    taken from the features of the classifier that scores samples, or from a kernel for digits of 8×8 pixels. Each
    channel of a stack has coordinates of its own.
    """
    references = source.references
    if mixture := references.get("mixture") or references.get("subspace_mixture"):
        return Space(coordinates, partial(_of_mixture, mixture), POINTS)
    if digits := references.get("stacked_modes"):
        return _classified(digits, *_kernel_features(digits), stacked=True)
    if digits := references.get("digit_modes"):
        return _classified(digits, *_network_features(digits), stacked=True)
    if labelled := references.get("labelled_images"):
        return _classified(labelled, *_network_features(labelled), stacked=False)
    return Space(coordinates, lambda x: None, POINTS)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _of_mixture(mixture: Any, x: np.ndarray) -> Modes:
    means = np.asarray(mixture.means)
    squares = np.sum(np.square(means), axis=-1) - 2 * x @ means.T

    def name(values: Sequence[int]) -> str:
        at = f" at ({', '.join(f'{v:.3g}' for v in means[values[0]].round(3) + 0.0)})" if means.shape[1] <= 3 else ""
        return f"mode {values[0]}{at}"

    return Modes(("mode", "modes"), len(means), np.argmin(squares, axis=-1)[:, None], name)


def _classified(labelled: Any, features: Coordinates, what: str, *, stacked: bool) -> Space:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    chosen = np.random.default_rng(0).permutation(len(labelled.train_images))[:MOST_FITTED]
    analysis = LinearDiscriminantAnalysis(solver="eigen", shrinkage=SHRINKAGE)
    analysis.fit(features(labelled.train_images[chosen]), labelled.train_labels[chosen])

    def single(x: np.ndarray) -> np.ndarray:
        return features(split_channels(x) if stacked else x)

    # `transform` would compute all directions, many times more, and drop those that separate no classes.
    directions = analysis.scalings_[:, : len(analysis.explained_variance_ratio_)]

    def discriminant(x: np.ndarray) -> np.ndarray:
        return (single(x) @ directions).reshape(len(x), -1).astype(np.float32)

    def modes(x: np.ndarray) -> Modes:
        classes = analysis.predict(single(x)).reshape(len(x), -1)
        count = (int(np.max(labelled.train_labels)) + 1) ** classes.shape[1]
        return Modes(("mode", "modes") if stacked else ("class", "classes"), count, classes, name)

    def name(values: Sequence[int]) -> str:
        shown = ["∗" if value < 0 else str(value) for value in values]
        return f"digits {' '.join(shown)}" if stacked else "several classes" if values[0] < 0 else f"class {shown[0]}"

    return Space(discriminant, modes, f"distances are those of discriminant coordinates of the {what}")


def _network_features(labelled: Any) -> tuple[Coordinates, str]:
    """Returns the features of the classifier that scores samples; it is trained here unless it was before."""
    recognise = classifier(labelled)[0]
    return lambda images: recognise(images)[1], "features of the classifier"


def _kernel_features(digits: Any) -> tuple[Coordinates, str]:
    """Returns features under a Gaussian kernel (Nyström's method) of digits, uint8 of 0 to 16 or float32 in [−1, 1]."""
    from sklearn.kernel_approximation import Nystroem

    def flat(images: np.ndarray) -> np.ndarray:
        return _flat(images.astype(np.float32) / 8 - 1 if images.dtype == np.uint8 else images)

    train = flat(digits.train_images)
    # The kernel's width is that of the data: the mean squared distance between digits is twice their variance.
    gamma = 1.2 / float(np.sum(np.var(train, axis=0)))
    kernel = Nystroem(gamma=gamma, n_components=min(KERNEL_COMPONENTS, len(train)), random_state=0).fit(train)
    kernel.normalization_ = kernel.normalization_.astype(np.float32)
    return lambda images: kernel.transform(flat(images)).astype(np.float32), "pixels under a Gaussian kernel"
