"""What the sources of images share: how images are stored, found, drawn on the device and shown to networks."""

import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import Source

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


def decode(images: jax.Array) -> jax.Array:
    """From uint8 `[…]`, as images are stored, to float32 `[…]` in [−1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1.0


def sample(images: jax.Array, key: jax.Array) -> jax.Array:
    """One random image of uint8 `[N, H, W, C]`, float32 `[H, W, C]` in [−1, 1]."""
    return decode(images[jax.random.randint(key, (), 0, images.shape[0])])


def labelled_source(data: LabelledImages, note: str = "") -> Source:
    """Images of known classes, kept on the device."""
    return Source(
        shape=data.train_images.shape[1:],
        bounded=True,
        train=data.train_images,
        held_out=data.test_images,
        sample=sample,
        references={"labelled_images": data},
        num_eval=len(data.test_images),
        published={},
        decode=decode,
        note=note,
    )


def locate(path: str, name: str, tfds_name: str) -> str:
    """Where a well-known set of images is.

    Args:
        path: what the user asks for, a folder, file or 'tfds:NAME'; or empty for what is there.
        name: of the set's folder in VEEGAN_DATA_DIR.
        tfds_name: of the set in TensorFlow Datasets.

    Returns:
        `path` if given; else the folder if there is one; else 'tfds:' and the TFDS name if that set is prepared.

    Raises:
        ValueError: if the set is nowhere; says how to get it.
    """
    if path:
        return path
    root = os.environ.get("VEEGAN_DATA_DIR", "")
    if root and (Path(root) / name).is_dir():
        return str(Path(root) / name)
    from veegan_jax.data import tfds

    if tfds.is_prepared(tfds_name):
        return TFDS + tfds_name
    looked = f"no folder {Path(root) / name}" if root else "VEEGAN_DATA_DIR is not set"
    raise ValueError(
        f"path is '', {looked} and TensorFlow Datasets has no prepared {tfds_name}; it must be a folder, or set "
        f"VEEGAN_DATA_DIR to the parent of a folder {name}, or run: python -m veegan_jax.prepare {tfds_name}"
    )
