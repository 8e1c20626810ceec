"""Reads sets of TensorFlow Datasets (TFDS) that are prepared already, which needs no TensorFlow.

A path 'tfds:NAME' names a set. Sets lie in `~/tensorflow_datasets`, or in the folder that the variable TFDS_DATA_DIR
names; the command `PREPARE` puts official ones there.
"""

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from veegan_jax.data.base import LabelledImages
from veegan_jax.data.readers.arrays import check_classes
from veegan_jax.errors import one_line
from veegan_jax.paths import path_of_variable

PREFIX = "tfds:"
# The command that prepares an official set.
PREPARE = "python -m veegan_jax.cli.prepare"
# The number of examples that are read at once, which is three times faster than one by one.
CHUNK = 4096
# Names are like 'mnist', 'mnist:3.0.1' or 'voc/2007'. TFDS looks for names of other forms in other people's packages.
NAME = re.compile(r"\w+(/[\w.+-]+)*(:[\d.*]+)?")


def installed() -> bool:
    """Returns whether TensorFlow Datasets is."""
    return importlib.util.find_spec("tensorflow_datasets") is not None


def is_prepared(path: str) -> bool:
    """Returns whether a set, as 'tfds:mnist' or 'tfds:mnist:3.0.1', is on disk."""
    with contextlib.suppress(ValueError):
        return bool(_builder(path).is_prepared())
    return False


def has_split(path: str, split: str) -> bool:
    """Returns whether a set has a split of this name.

    Raises:
        ValueError: if the set is unknown or not prepared.
    """
    return split in _prepared(path).info.splits


def full_name(path: str) -> str:
    """Returns the name of a set with its version, as 'tfds:mnist/3.0.1'.

    Raises:
        ValueError: if the set is unknown or not prepared.
    """
    return PREFIX + _prepared(path).info.full_name


def read_labelled(path: str) -> LabelledImages:
    """Reads the splits 'train' and 'test' of a set of images of one size with classes, whole.

    Raises:
        ValueError: if the set is unknown, not prepared or damaged, or has no such splits or features.
    """
    if "label" not in _prepared(path).info.features:
        raise ValueError(f"path is {path}; that set has no feature 'label'")
    train, test = (_read_split(path, split) for split in ("train", "test"))
    check_classes(path, train[1], test[1])
    return LabelledImages(*train, *test)


def _read_split(path: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    examples, key = _open(path, split)
    images, labels = [], []
    with _naming_the_split(path, split):
        for start in range(0, len(examples), CHUNK):
            chunk = examples.__getitems__(range(start, min(start + CHUNK, len(examples))))
            images.append(np.stack([example[key] for example in chunk]))
            labels.append(np.array([example["label"] for example in chunk], np.int64))
        return np.concatenate(images), np.concatenate(labels)


def open_images(path: str, split: str) -> tuple[int, Callable[[np.ndarray], list[np.ndarray]]]:
    """Opens the images of a split, which may have different sizes.

    Returns:
        The number of images, and a function from positions `[B]` to B images, uint8 `[h, w, c]`.

    Raises:
        ValueError: if the set is unknown, not prepared or damaged, or has no such split or no images.
    """
    examples, key = _open(path, split)

    def read(chosen: np.ndarray) -> list[np.ndarray]:
        with _naming_the_split(path, split):
            return [example[key] for example in examples.__getitems__(chosen.tolist())]

    return len(examples), read


def digests(count: int, read: Callable[[np.ndarray], list[np.ndarray]]) -> np.ndarray:
    """Returns a digest of the pixels of each image of a split, uint64 `[count]`; every image is decoded once for it."""
    found = []
    for start in range(0, count, CHUNK):
        images = read(np.arange(start, min(start + CHUNK, count)))
        found += [int.from_bytes(hashlib.blake2b(image.tobytes(), digest_size=8).digest(), "big") for image in images]
    return np.array(found, np.uint64)


def _open(path: str, split: str) -> tuple[Any, str]:
    """Returns the examples of a split, a sequence of dicts that is read by position, and the key of their image."""
    builder = _prepared(path)
    info = builder.info
    if split not in info.splits or not info.splits[split].num_examples:
        raise ValueError(f"path is {path}; it has no examples in a split {split!r}; it has {', '.join(info.splits)}")
    keys = [key for key, feature in info.features.items() if _is_image(feature)]
    if not keys:
        raise ValueError(f"path is {path}; it has no images among its features: {', '.join(info.features)}")
    try:
        with _naming_the_split(path, split), _no_log_lines():
            examples = builder.as_data_source(split)
            examples[0]  # TFDS logs its remarks when it decodes the first example.
    except NotImplementedError as error:
        raise ValueError(
            f"path is {path}; it is prepared as {info.file_format.value}, which only TensorFlow reads; prepare "
            f"it as array_record: {PREPARE} {path.removeprefix(PREFIX)} --data_dir ANOTHER_FOLDER"
        ) from error
    return examples, "image" if "image" in keys else keys[0]


def _is_image(feature: Any) -> bool:
    shape, dtype = getattr(feature, "shape", None), getattr(feature, "np_dtype", None)
    return dtype == np.uint8 and isinstance(shape, tuple) and len(shape) == 3 and shape[2] in (1, 3)


def _prepared(path: str) -> Any:
    builder = _builder(path)
    if not builder.is_prepared():
        raise ValueError(
            f"path is {path}; that set is not prepared in {builder.data_dir}: run {PREPARE} "
            f"{path.removeprefix(PREFIX)}, or set TFDS_DATA_DIR to where it is"
        )
    return builder


def _builder(path: str) -> Any:
    if not installed():
        raise ValueError(
            f"path is {path}; TensorFlow Datasets, which reads it, is not installed: pip install 'veegan-jax[tfds]'"
        )
    import tensorflow_datasets  # The import takes half a second, which other data need not wait for.

    name = path.removeprefix(PREFIX)
    root = path_of_variable("TFDS_DATA_DIR") or Path(os.path.expanduser("~/tensorflow_datasets"))
    try:
        if not NAME.fullmatch(name):
            raise ValueError("a name is like mnist, or mnist:3.0.1")
        _refuse_foreign_classes(root / re.split("[/:]", name)[0])
        with _no_log_lines():
            return tensorflow_datasets.builder(name, data_dir=root, try_gcs=False)
    except Exception as error:  # Damaged files raise errors of many kinds.
        why = one_line(error).partition(" Available")[0]
        raise ValueError(f"path is {path}; TensorFlow Datasets cannot open that set: {why}") from error


def _refuse_foreign_classes(folder: Path) -> None:
    """Raises ValueError if the files of a set name a feature class of another library.

    TFDS imports whatever module the files name, and importing a module runs it.
    """
    for file in folder.rglob("features.json"):
        named: list[str] = []

        def collect(fields: dict[str, Any], named: list[str] = named) -> None:
            keys = ("pythonClassName", "python_class_name", *(("type",) if "content" in fields else ()))
            named += [str(fields[key]) for key in keys if key in fields]

        json.loads(file.read_text("utf-8"), object_hook=collect)
        if others := [name for name in named if not name.startswith("tensorflow_datasets.")]:
            raise ValueError(f"its {file} asks for {others[0]!r}, which is not of TensorFlow Datasets")


@contextlib.contextmanager
def _naming_the_split(path: str, split: str) -> Iterator[None]:
    """Turns errors of the library, which are of many kinds, into a ValueError that names the set and the split."""
    try:
        yield
    except NotImplementedError:
        raise
    except Exception as error:
        raise ValueError(f"path is {path}; its split {split!r} is damaged: {one_line(error)}") from error


@contextlib.contextmanager
def _no_log_lines() -> Iterator[None]:
    """Keeps back the library's log lines, about OpenCV and about the folders in which it looks for sets."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
