"""Small files of every kind that sources read, written when a test needs them, and draws from sources."""

import atexit
import functools
import gzip
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from veegan_jax.data.base import Source
from veegan_jax.data.readers.idx import FILES

# The folder of real data, where the machine has one.
REAL = Path(os.environ.get("VEEGAN_DATA_DIR", ""))


def needs_real(name: str) -> pytest.MarkDecorator:
    """Skips a test where VEEGAN_DATA_DIR has no folder of this name."""
    there = "VEEGAN_DATA_DIR" in os.environ and (REAL / name).is_dir()
    return pytest.mark.skipif(not there, reason=f"VEEGAN_DATA_DIR has no folder {name}")


def draw(source: Source, arrays: Any, num: int) -> np.ndarray:
    """Returns `num` examples that a source draws from its arrays, float32 `[num, …]`."""
    keys = jax.random.split(jax.random.key(0), num)
    draws = jax.jit(jax.vmap(source.sample, in_axes=(None, 0)))
    return np.asarray(draws(jax.tree.map(jnp.asarray, arrays), keys))


def digits(num: int, seed: int = 0, size: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """Returns images uint8 `[num, size, size]`, noise with a bar whose height tells the label; and labels 0 to 9."""
    labels = np.arange(num, dtype=np.uint8) % 10
    images = np.random.default_rng(seed).integers(0, 100, (num, size, size), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row = int(label) * (size - 2) // 9
        image[row : row + 2] = 255
    return images, labels


def photographs(num: int, seed: int = 0, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Returns `digits` in three colours, uint8 `[num, size, size, 3]`, and their labels."""
    channels = [digits(num, 3 * seed + channel, size) for channel in range(3)]
    return np.stack([images for images, _ in channels], axis=-1), channels[0][1]


def pack_idx(array: np.ndarray) -> bytes:
    """Returns a uint8 array in IDX format, gzipped."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return gzip.compress(header + array.tobytes(), mtime=0)


def write_idx(folder: Path, train: int = 60, test: int = 30) -> Path:
    """Writes the four files of a set of digits in MNIST's format; returns their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (*digits(train), *digits(test, seed=1))
    for name, array in zip(FILES, arrays, strict=True):
        (folder / name).write_bytes(pack_idx(array))
    return folder


def write_npz(file: Path, train: int = 60, test: int = 30) -> Path:
    """Writes a file of labelled photographs in CIFAR-10's shape; returns it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    (x_train, y_train), (x_test, y_test) = photographs(train), photographs(test, seed=1)
    np.savez(file, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return file


def write_images(folder: Path, num: int = 20, size: tuple[int, int] = (40, 36)) -> Path:
    """Writes PNG files of `num` photographs of one size, width × height; returns their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(photographs(num, size=max(size))[0]):
        Image.fromarray(image[: size[1], : size[0]]).save(folder / f"{i:06}.png")
    return folder


def png(image: np.ndarray) -> io.BytesIO:
    """Returns an image uint8 `[h, w]`, `[h, w, 1]` or `[h, w, 3]` as a PNG file in memory."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(file, "PNG")
    file.seek(0)
    return file


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="veegan_jax_data_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def tiny_options(source: str) -> dict[str, object]:
    """Returns the options by which a source reads a few small files, because few machines have the real ones."""
    folder = _folder()
    match source:
        case "mnist" | "stacked_mnist":
            return {"path": str(write_idx(folder / "mnist"))}
        case "cifar10":
            return {"path": str(write_npz(folder / "cifar10" / "cifar10.npz"))}
        case "celeba" | "images":
            return {"path": str(write_images(folder / "images", num=40))}
    return {}
