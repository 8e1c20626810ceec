"""The scores of samples whose quality is known: real data, exact copies, a dropped mode, a collapsed sampler, noise.

The glossary shows them beside each score, and a test holds that they are what they should be.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veegan_jax.data import SOURCES
from veegan_jax.data.base import LabelledImages
from veegan_jax.metrics import METRICS
from veegan_jax.metrics.base import FeatureNetwork, Features, Recognised

SITUATIONS = ("real data", "exact copies", "a dropped mode", "one point", "noise")
# The number of samples of the mixtures.
NUM = 1000
Table = dict[str, tuple[str, dict[str, float]]]


def sanity() -> Table:
    """Returns the data and the scores of each column, `{column: (data, {situation: score})}`, in a few seconds."""
    ring, wide = (SOURCES[name]().references for name in ("ring", "synthetic1200"))
    digits = _digits()
    network = FeatureNetwork("pixels", lambda images: images.reshape(len(images), -1).astype(np.float32) / 255)
    features = Features(lambda labelled: (_nearest_class(labelled), 1.0), lambda: network)
    table: Table = {}
    for data, references, real, samples in (
        ("ring", ring, *_mixture_samples(ring["mixture"])),
        ("synthetic1200", wide, *_mixture_samples(wide["subspace_mixture"])),
        ("digits", {"labelled_images": digits, "inception": None}, *_digit_samples(digits)),
    ):
        for name, reference in references.items():
            metric = METRICS[name].make(reference, features)
            scores = {situation: metric.score(x, real) for situation, x in samples.items()}
            for column in metric.columns:
                row = {situation: found[column.name] for situation, found in scores.items()}
                table.setdefault(column.name, (data, row))
    return table


def _mixture_samples(mixture: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns real examples of a mixture, and the samples of each situation, float32 `[N, D]`."""
    rng = np.random.default_rng(0)
    modes, dims = mixture.means.shape

    def draw(modes_left: int) -> Any:
        noise = np.zeros((NUM, dims))
        noise[:, : mixture.noisy_dims] = mixture.std * rng.standard_normal((NUM, mixture.noisy_dims))
        return (mixture.means[rng.integers(modes_left, size=NUM)] + noise).astype(np.float32)

    real, held_out = draw(modes), draw(modes)
    spread = 2 * float(np.std(mixture.means))
    noise = (spread * rng.standard_normal((NUM, dims))).astype(np.float32)
    situations: Sequence[Any] = (held_out, real.copy(), draw(modes - 1), np.repeat(held_out[:1], NUM, axis=0), noise)
    return real, dict(zip(SITUATIONS, situations, strict=True))


def _digits() -> LabelledImages:
    """Returns 8×8 digits as uint8 images `[N, 8, 8, 1]` from 0 to 240."""
    found = SOURCES["stacked_digits"]().references["stacked_modes"]
    train, test = (15 * images[..., None] for images in (found.train_images, found.test_images))
    return LabelledImages(train, found.train_labels, test, found.test_labels)


def _digit_samples(digits: LabelledImages) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    train, test = (
        images.astype(np.float32) / np.float32(127.5) - 1 for images in (digits.train_images, digits.test_images)
    )
    noise = np.random.default_rng(0).uniform(-1, 1, test.shape).astype(np.float32)
    dropped, collapsed = test[digits.test_labels > 0], np.repeat(test[:1], len(test), axis=0)
    situations: Sequence[Any] = (test, train.copy(), dropped, collapsed, noise)
    return train, dict(zip(SITUATIONS, situations, strict=True))


def _nearest_class(labelled: Any) -> Any:
    """Returns a classifier by the nearest mean of a class, whose features are the pixels; it stands for a network."""
    pixels = labelled.train_images.reshape(len(labelled.train_images), -1) / 127.5 - 1
    labels = np.asarray(labelled.train_labels)
    means = np.stack([np.mean(pixels[labels == label], axis=0) for label in range(labels.max() + 1)])

    def recognise(images: np.ndarray) -> Recognised:
        x = images.reshape(len(images), -1).astype(np.float32)
        x = x / np.float32(127.5) - 1 if images.dtype == np.uint8 else x
        squares = np.sum(np.square(x[:, None] - means), axis=-1)
        chances = np.exp(np.min(squares, axis=1, keepdims=True) - squares)
        posteriors = chances / np.sum(chances, axis=1, keepdims=True)
        return Recognised(np.argmin(squares, axis=1), x, posteriors.astype(np.float32))

    return recognise


def as_cells(row: Mapping[str, float]) -> tuple[str, ...]:
    """Returns the scores of one column as texts of three digits, in the order of `SITUATIONS`; 0 within 1e-6."""
    return tuple(f"{row[situation] if abs(row[situation]) > 1e-6 else 0:.3g}" for situation in SITUATIONS)
