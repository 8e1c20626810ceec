"""MNIST (LeCun et al., 1998), and stacked MNIST: random digits as the channels of one image (VEEGAN, section 4.2)."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import TFDS, LabelledImages, Source
from veegan_jax.data.image_sources import decode, labelled_source
from veegan_jax.data.readers import idx
from veegan_jax.data.readers.locate import locate


class DigitStacks(NamedTuple):
    """What tells the modes of stacked digits: digits to teach a classifier and to test it, and how many are stacked.

    Attributes:
        train_images: uint8 `[N, H, W]`.
        train_labels: integers 0 to 9, `[N]`.
        test_images: uint8 `[M, H, W]`.
        test_labels: integers 0 to 9, `[M]`.
        channels: digits in one image; there are 10^channels modes.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    channels: int


class FixedStacks(NamedTuple):
    """A fixed set of stacks.

    Attributes:
        images: uint8 `[N, H, W]`.
        stacks: int32 `[T, channels]`, the positions in `images` of the channels of each example.
    """

    images: Any
    stacks: Any


def mnist(*, path: str = "") -> Source:
    """Handwritten digits: 60,000 to train from, and the 10,000 test images held out.

    Args:
        path: a folder with the four files in IDX format, MNIST's or others such as Fashion-MNIST's; or 'tfds:mnist', or
            another set of TensorFlow Datasets. Empty for the folder VEEGAN_DATA_DIR/mnist, whose files must be MNIST's
            own to the byte, and where that is not there 'tfds:mnist'.
    """
    digits = _read(path)
    return labelled_source(digits)


def stacked_mnist(*, channels: Literal[3, 4] = 3, triples: int = 0, path: str = "") -> Source:
    """Random digits as the channels of an image, 10^channels modes.

    Args:
        channels: digits in one image: 3, the paper's 1000 modes, or 4, that is 10,000.
        triples: 0 for stacks drawn anew at every step; or how many are drawn, once and for all: 50,000 in a protocol of
            the paper's authors, 128,000 in PacGAN's.
        path: as in `mnist`.
    """
    if triples < 0:
        raise ValueError(f"triples is {triples}; it must be 0 (drawn anew at every step) or a number such as 128000")
    digits = _read(path)
    if (largest := max(digits.train_labels.max(), digits.test_labels.max())) > 9:
        raise ValueError(f"path is {path!r}; its labels go to {largest}, and must be digits, 0 to 9")
    train, test = digits.train_images[..., 0], digits.test_images[..., 0]
    return Source(
        shape=(*train.shape[1:], channels),
        bounded=True,
        train=fixed(train, triples, channels, seed=0) if triples else train,
        held_out=fixed(test, triples, channels, seed=1) if triples else test,
        sample=sample_fixed if triples else lambda arrays, key: sample(arrays, key, channels),
        references={"digit_modes": DigitStacks(train, digits.train_labels, test, digits.test_labels, channels)},
        num_eval=26_000,
    )


def fixed(digits: np.ndarray, count: int, channels: int, seed: int) -> FixedStacks:
    """So many stacks of uint8 images `[N, H, W]`, the same for the same seed."""
    stacks = np.random.default_rng(seed).integers(0, len(digits), (count, channels), dtype=np.int32)
    return FixedStacks(digits, stacks)


def sample(digits: jax.Array, key: jax.Array, channels: int) -> jax.Array:
    """Independently chosen images of uint8 `[N, H, W]` as one float32 image `[H, W, channels]` in [−1, 1]."""
    return _stack(digits, jax.random.randint(key, (channels,), 0, digits.shape[0]))


def sample_fixed(arrays: FixedStacks, key: jax.Array) -> jax.Array:
    """A random one of the fixed stacks, float32 `[H, W, channels]` in [−1, 1]."""
    return _stack(arrays.images, arrays.stacks[jax.random.randint(key, (), 0, arrays.stacks.shape[0])])


def _stack(digits: jax.Array, positions: jax.Array) -> jax.Array:
    return decode(jnp.moveaxis(digits[positions], 0, -1))


def _read(path: str) -> LabelledImages:
    found = locate(path, "mnist", "mnist")
    if found.startswith(TFDS):
        from veegan_jax.data.readers import tfds  # here, since it takes a second that other data need not wait

        return tfds.read_labelled(found.removeprefix(TFDS))
    return idx.read_folder(Path(found), None if path else idx.MNIST)
