"""Reads MNIST's original files (LeCun, Cortes, Burges: "The MNIST database"), and other files in IDX format."""

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np

from veegan_jax.data.base import LabelledImages
from veegan_jax.data.readers.arrays import check_classes

# The size in bytes and the MD5 of each of MNIST's files, as they were published.
MNIST = {
    "train-images-idx3-ubyte.gz": (9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte.gz": (28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte.gz": (1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte.gz": (4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
}
FILES = tuple(MNIST)


def read_folder(folder: Path, checksums: dict[str, tuple[int, str]] | None = None) -> LabelledImages:
    """Reads the four `FILES` of a folder.

    Args:
        folder: The folder that holds the files.
        checksums: `{file: (bytes, MD5)}`, which the files must have.

    Returns:
        Images uint8 `[N, H, W, 1]` and labels uint8 `[N]`.

    Raises:
        ValueError: naming the file that is missing, truncated, corrupt or of another kind.
    """
    train_images, train_labels, test_images, test_labels = (
        read(folder / name, 3 if "images" in name else 1, (checksums or {}).get(name)) for name in FILES
    )
    for images, labels, part in ((train_images, train_labels, "train"), (test_images, test_labels, "t10k")):
        if len(images) != len(labels) or len(images) == 0:
            raise ValueError(f"path is {folder}; its {part} files have {len(images)} images and {len(labels)} labels")
    if train_images.shape[1:] != test_images.shape[1:]:
        sizes = " and ".join("×".join(map(str, images.shape[1:])) for images in (train_images, test_images))
        raise ValueError(f"path is {folder}; its train and t10k images are of {sizes} pixels, and must be of one size")
    check_classes(str(folder), train_labels, test_labels)
    return LabelledImages(train_images[..., None], train_labels, test_images[..., None], test_labels)


def read(file: Path, ndim: int, checksum: tuple[int, str] | None = None) -> np.ndarray:
    """Reads a gzipped IDX file of bytes into a uint8 array of `ndim` dimensions.

    Args:
        file: The file to read.
        ndim: The number of dimensions that the file must have.
        checksum: The size in bytes and the MD5 that the file must have.

    Raises:
        ValueError: naming the file, what is wrong with it, and what would be right.
    """
    try:
        packed = file.read_bytes()
    except (OSError, ValueError) as error:  # A name that no file can have raises ValueError.
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"path is {file.parent}; {file.name} cannot be read there: {why}") from error
    if checksum:
        _check(file, packed, *checksum)
    try:
        content = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"path is {file.parent}; its {file.name} is truncated or corrupt: {error}") from error
    # The format has four bytes 0, 0, type (8 for uint8) and number of dimensions, then each dimension's size as a
    # big-endian integer of 32 bits, then the bytes themselves.
    if content[:4] != bytes([0, 0, 8, ndim]):
        raise ValueError(
            f"path is {file.parent}; its {file.name} begins with 0x{content[:4].hex()}; an IDX file of bytes in {ndim} "
            f"dimensions begins with 0x{bytes([0, 0, 8, ndim]).hex()}"
        )
    start = 4 + 4 * ndim
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    if len(content) < start or math.prod(shape) != len(content) - start or 0 in shape:
        held = max(len(content) - start, 0)
        raise ValueError(f"path is {file.parent}; its {file.name} holds {held} bytes for a shape of {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _check(file: Path, packed: bytes, size: int, md5: str) -> None:
    if len(packed) != size:
        fault = "is truncated" if len(packed) < size else "is another file"
        raise ValueError(f"path is {file.parent}; its {file.name} {fault}: {len(packed):,} bytes, MNIST's has {size:,}")
    found = hashlib.md5(packed, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ValueError(f"path is {file.parent}; its {file.name} is corrupt: its MD5 is {found}, MNIST's is {md5}")
