"""Reads sets of TensorFlow Datasets that are prepared already, which needs no TensorFlow.

They lie in `~/tensorflow_datasets`, or in the folder that the variable TFDS_DATA_DIR names; `python -m
veegan_jax.prepare` puts official ones there.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from veegan_jax.data.images import TFDS, LabelledImages

# Examples that are read at once: three times faster than one by one.
CHUNK = 4096


def is_prepared(name: str) -> bool:
    """Whether a set of this name, as 'mnist' or 'mnist:3.0.1', is on disk."""
    with _quiet(), contextlib.suppress(ValueError):
        return bool(_builder(name).is_prepared())
    return False


def read_labelled(name: str) -> LabelledImages:
    """Reads the splits 'train' and 'test' of a set of labelled images of one size.

    Raises:
        ValueError: if the set is unknown, not prepared, or has no such splits or features.
    """
    train, test = (_read(name, split) for split in ("train", "test"))
    return LabelledImages(*train, *test)


def _read(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """All images uint8 `[N, H, W, C]` and labels int64 `[N]` of a split."""
    source = open_split(name, split)
    images, labels = [], []
    with _quiet():
        for start in range(0, len(source), CHUNK):
            chunk = source.__getitems__(range(start, min(start + CHUNK, len(source))))
            images.append(np.stack([example["image"] for example in chunk]))
            labels.append(np.array([example["label"] for example in chunk], np.int64))
    return np.concatenate(images), np.concatenate(labels)


def open_split(name: str, split: str) -> Any:
    """The examples of a split, a sequence of dicts that is read by position.

    Raises:
        ValueError: if the set is unknown or not prepared, has no such split, or is in a format that needs TensorFlow.
    """
    builder = _builder(name)
    with _quiet():
        if not builder.is_prepared():
            raise ValueError(
                f"path is {TFDS}{name}; that set is not prepared in {builder.data_dir}: "
                f"run python -m veegan_jax.prepare {name}, or set TFDS_DATA_DIR to where it is"
            )
        if split not in builder.info.splits:
            raise ValueError(
                f"path is {TFDS}{name}; it has no split {split!r}, but {', '.join(builder.info.splits) or 'none'}"
            )
        try:
            return builder.as_data_source(split)
        except NotImplementedError as error:
            raise ValueError(
                f"path is {TFDS}{name}; it is prepared as {builder.info.file_format.value}, which only TensorFlow "
                f"reads; prepare it as array_record: python -m veegan_jax.prepare {name} --data_dir ANOTHER_FOLDER"
            ) from error


def _builder(name: str) -> Any:
    import tensorflow_datasets  # here, since it takes half a second that other data need not wait

    with _quiet():
        try:
            return tensorflow_datasets.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR"), try_gcs=False)
        except (ValueError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"path is {TFDS}{name}; TensorFlow Datasets cannot open that set: {reason}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's log lines about OpenCV and about folders it looked into."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
