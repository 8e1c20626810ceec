"""Stacked digits: three random handwritten digits as the channels of one 8×8 image; 1000 modes.

The digits are scikit-learn's `load_digits` (1,797 real digits of the UCI collection, 8×8, 0 to 16), which ships in the
package: stacked MNIST's protocol (VEEGAN, section 4.2) on a scale at which a laptop trains in a minute.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import Source


class LabelledDigits(NamedTuple):
    """Digits to teach a classifier and to test it: images uint8 `[N, 8, 8]` of 0 to 16, labels int `[N]` of 0 to 9."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def sample(images: jax.Array, key: jax.Array) -> jax.Array:
    """Three random digits of `images` `[N, 8, 8]` as one float32 image `[8, 8, 3]` in [−1, 1]."""
    chosen = images[jax.random.randint(key, (3,), 0, images.shape[0])]
    return jnp.moveaxis(chosen, 0, -1).astype(jnp.float32) / 8.0 - 1.0


def stacked_digits(*, held_out: float = 0.2) -> Source:
    """Args: held_out, the fraction of the digits, of each class, that training never sees."""
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is {held_out}; it is a fraction, between 0 and 1")
    from sklearn.datasets import load_digits  # here, since it takes a second that other data need not wait
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    train_images, test_images, train_labels, test_labels = train_test_split(
        digits.images.astype(np.uint8), digits.target, test_size=held_out, stratify=digits.target, random_state=0
    )
    return Source(
        shape=(8, 8, 3),
        bounded=True,
        train=train_images,
        held_out=test_images,
        sample=sample,
        references={
            "stacked_modes": LabelledDigits(train_images, train_labels, test_images, test_labels),
            "manifold": None,
        },
        num_eval=26_000,
    )
