"""Stacked digits: three random handwritten digits as the channels of one 8×8 image; 1000 modes.

The digits are scikit-learn's `load_digits`: 1,797 real digits of the UCI collection, 8×8 pixels from 0 to 16, which
ship in the package. So the protocol of stacked MNIST (VEEGAN, section 4.2) takes a laptop one minute of training.
"""

import numpy as np

from veegan_jax.data.base import LabelledImages, Source
from veegan_jax.data.image_sources import stacked_source


def stacked_digits(*, held_out: float = 0.2) -> Source:
    """Stacks three random 8×8 digits of scikit-learn's package as the channels of an image: 1000 modes.

    Args:
        held_out: The fraction of the digits of each class that training never sees, between 0 and 1.

    Raises:
        ValueError: if `held_out` is not between 0 and 1.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is {held_out}; it is a fraction, between 0 and 1")
    # The import takes a second, which other data need not wait for.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    train_images, test_images, train_labels, test_labels = train_test_split(
        found.images.astype(np.uint8), found.target, test_size=held_out, stratify=found.target, random_state=0
    )
    digits = LabelledImages(train_images, train_labels, test_images, test_labels)
    return stacked_source(digits, 3, white=16, references={"stacked_modes": digits, "manifold": None})
