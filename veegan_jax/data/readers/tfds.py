"""Reads sets of TensorFlow Datasets that are prepared already, which needs no TensorFlow.

They lie in `~/tensorflow_datasets`, or in the folder that the variable TFDS_DATA_DIR names; `python -m
veegan_jax.prepare` puts official ones there.
"""

import contextlib
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from veegan_jax.data.base import TFDS, LabelledImages, reason

# Examples that are read at once: three times faster than one by one.
CHUNK = 4096
# Names of sets, as 'mnist', 'mnist:3.0.1', 'voc/2007'. Others are looked for elsewhere, in the libraries of others.
NAME = re.compile(r"\w+(/[\w.+-]+)*(:[\d.*]+)?")


def is_prepared(name: str) -> bool:
    """Whether a set of this name, as 'mnist' or 'mnist:3.0.1', is on disk."""
    with contextlib.suppress(ValueError):
        return bool(_builder(name).is_prepared())
    return False


def splits(name: str) -> Collection[str]:
    """The names of a set's splits.

    Raises:
        ValueError: if the set is unknown or not prepared.
    """
    return _prepared(name).info.splits.keys()


def read_labelled(name: str) -> LabelledImages:
    """Reads the splits 'train' and 'test' of a set of images of one size with labels.

    Raises:
        ValueError: if the set is unknown, not prepared, or has no such splits or features.
    """
    if "label" not in _prepared(name).info.features:
        raise ValueError(f"path is {TFDS}{name}; that set has no feature 'label'")
    train, test = (_read_labelled(name, split) for split in ("train", "test"))
    return LabelledImages(*train, *test)


def _read_labelled(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    source, key = _open(name, split)
    images, labels = [], []
    with _reading(name, split):
        for start in range(0, len(source), CHUNK):
            chunk = source.__getitems__(range(start, min(start + CHUNK, len(source))))
            images.append(np.stack([example[key] for example in chunk]))
            labels.append(np.array([example["label"] for example in chunk], np.int64))
        return np.concatenate(images), np.concatenate(labels)


def open_images(name: str, split: str) -> tuple[int, Callable[[np.ndarray], list[np.ndarray]]]:
    """How many images a split has, and what reads those at given positions, uint8 `[h, w, c]` each of its size.

    Raises:
        ValueError: if the set is unknown, not prepared, or has no such split or no images.
    """
    source, key = _open(name, split)

    def read(chosen: np.ndarray) -> list[np.ndarray]:
        with _reading(name, split):
            return [example[key] for example in source.__getitems__(chosen.tolist())]

    return len(source), read


def _open(name: str, split: str) -> tuple[Any, str]:
    """The examples of a split, a sequence of dicts that is read by position; and the key of their image."""
    builder = _prepared(name)
    info = builder.info
    if split not in info.splits or not info.splits[split].num_examples:
        raise ValueError(
            f"path is {TFDS}{name}; it has no examples in a split {split!r}; it has {', '.join(info.splits)}"
        )
    keys = [key for key, feature in info.features.items() if _is_image(feature)]
    if not keys:
        raise ValueError(f"path is {TFDS}{name}; it has no images among its features: {', '.join(info.features)}")
    try:
        with _reading(name, split), _quiet():
            source = builder.as_data_source(split)
            source[0]  # the first to be decoded is what the library remarks on
    except NotImplementedError as error:
        raise ValueError(
            f"path is {TFDS}{name}; it is prepared as {info.file_format.value}, which only TensorFlow reads; prepare "
            f"it as array_record: python -m veegan_jax.prepare {name} --data_dir ANOTHER_FOLDER"
        ) from error
    return source, "image" if "image" in keys else keys[0]


def _is_image(feature: Any) -> bool:
    shape, dtype = getattr(feature, "shape", None), getattr(feature, "np_dtype", None)
    return dtype == np.uint8 and isinstance(shape, tuple) and len(shape) == 3 and shape[2] in (1, 3)


def _prepared(name: str) -> Any:
    builder = _builder(name)
    if not builder.is_prepared():
        raise ValueError(
            f"path is {TFDS}{name}; that set is not prepared in {builder.data_dir}: run python -m veegan_jax.prepare "
            f"{name}, or set TFDS_DATA_DIR to where it is"
        )
    return builder


def _builder(name: str) -> Any:
    import tensorflow_datasets  # here, since it takes half a second that other data need not wait

    root = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    try:
        if not NAME.fullmatch(name):
            raise ValueError("a name is like mnist, or mnist:3.0.1")
        _check_classes(root / re.split("[/:]", name)[0])
        with _quiet():
            return tensorflow_datasets.builder(name, data_dir=root, try_gcs=False)
    except Exception as error:  # of many kinds, where its files are damaged
        first = reason(error).partition(" Available")[0]
        raise ValueError(f"path is {TFDS}{name}; TensorFlow Datasets cannot open that set: {first}") from error


def _check_classes(folder: Path) -> None:
    """That a set's features are the library's own: it imports whatever module its files name, which is to run it."""
    for file in folder.rglob("features.json"):
        named: list[str] = []

        def collect(fields: dict[str, Any], named: list[str] = named) -> None:
            keys = ("pythonClassName", "python_class_name", *(("type",) if "content" in fields else ()))
            named += [str(fields[key]) for key in keys if key in fields]

        json.loads(file.read_text("utf-8"), object_hook=collect)
        if others := [name for name in named if not name.startswith("tensorflow_datasets.")]:
            raise ValueError(f"its {file} asks for {others[0]!r}, which is not of TensorFlow Datasets")


@contextlib.contextmanager
def _reading(name: str, split: str) -> Iterator[None]:
    """Says of which set an error is: the library's are of many kinds."""
    try:
        yield
    except NotImplementedError:
        raise
    except Exception as error:
        raise ValueError(f"path is {TFDS}{name}; its split {split!r} is damaged: {reason(error)}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's log lines about OpenCV and about folders that it looked into."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
