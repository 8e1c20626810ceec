"""What a source of data is to the rest of the code."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

# A path with this prefix names a set of TensorFlow Datasets.
TFDS = "tfds:"


class LabelledImages(NamedTuple):
    """Images and their classes, to train from and to measure with; also what classifiers are taught and tested on.

    Attributes:
        train_images: uint8 `[N, H, W, C]`.
        train_labels: uint8 or int64 `[N]`.
        test_images: uint8 `[M, H, W, C]`, never trained on.
        test_labels: uint8 or int64 `[M]`.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


class Images(NamedTuple):
    """Images that are read by position, from memory, files or a database.

    Attributes:
        shape: of each, `(H, W, C)`.
        num: how many there are.
        read: `read(positions) -> images`, from integers `[B]` to uint8 `[B, H, W, C]`; called by several threads.
    """

    shape: tuple[int, ...]
    num: int
    read: Callable[[np.ndarray], np.ndarray]


def reason(error: BaseException) -> str:
    """What an error of a library says, as one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def subset(images: Images, positions: np.ndarray) -> Images:
    """Those at some positions, integers `[n]`."""
    return Images(images.shape, len(positions), lambda chosen: images.read(positions[chosen]))


class Stream(NamedTuple):
    """Data that the host reads while the device trains.

    Attributes:
        batches: `batches(step, batch_size)`, an endless iterator of batches `[B, …]` as they are stored, from that step
            on: a function of the step alone, so that a resumed run reads what an uninterrupted one would have.
        decode: from one example as it is stored to what networks see, float32 of the source's shape.
    """

    batches: Callable[[int, int], Iterator[Any]]
    decode: Callable[[jax.Array], jax.Array]


class Source(NamedTuple):
    """Data kept on the device and drawn inside the compiled step, or streamed to it.

    Attributes:
        shape: of one example.
        bounded: whether examples lie in [−1, 1].
        train: the arrays that training draws from, as small as they are stored (uint8 images, mode means).
        held_out: the same structure, of data never trained on; for a distribution known in closed form, `train` itself.
        sample: `sample(arrays, key) -> x`, one float32 example of `shape` from `train` or `held_out`.
        references: what each metric that applies here compares samples with, `{metric name: reference}`.
        num_eval: how many samples the published protocol scores.
        stream: training examples that do not fit in device memory; then `train` is None, and `sample` draws from
            `held_out` only. None where `train` is on the device.
        note: what a reader of any score on these data has to know (that they are a part of a set), or empty.
    """

    shape: tuple[int, ...]
    bounded: bool
    train: Any
    held_out: Any
    sample: Callable[[Any, jax.Array], jax.Array]
    references: Mapping[str, Any]
    num_eval: int
    stream: Stream | None = None
    note: str = ""
