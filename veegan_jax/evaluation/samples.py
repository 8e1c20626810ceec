"""Samples that any program made, and the real data that they are compared with: arrays, files and folders of both."""

import os
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from veegan_jax.data import SOURCES
from veegan_jax.data.base import Examples, Images, Source
from veegan_jax.data.examples import as_examples
from veegan_jax.data.image_sources import decode, labelled_source, read_all
from veegan_jax.data.own_images import images_source
from veegan_jax.data.readers.arrays import LABELLED, image_arrays, read_arrays, read_labelled_arrays
from veegan_jax.data.readers.files import open_arrays, open_images
from veegan_jax.data.readers.folder import first_image
from veegan_jax.data.readers.pixels import ImageSpec
from veegan_jax.errors import UserError
from veegan_jax.paths import local_path

Given = np.ndarray | str | os.PathLike[str]
# The seed by which vectors are halved.
HALVING_SEED = 0
# The examples of an array of vectors, `[N, D]`.
VECTORS = Examples(len, lambda arrays, position: arrays[position])


def read_samples(given: Given, source: Source) -> tuple[np.ndarray, str]:
    """Returns samples as the source's examples are scaled, float32 `[N, …]`, and what was found, in one line.

    Args:
        given: an array, a `.npy` or `.npz` file, or a folder of images. Floats of the source's shape, from −1 to 1
            where the source is bounded, are taken as they are; images of other dtypes, layouts and sizes are brought
            to the source's as `config.images` does.
        source: the real data.

    Raises:
        UserError: naming the samples, what is wrong with them, and what would be right.
        ValueError: likewise, if images cannot be read.
    """
    name, arrays = _arrays(given, "samples")
    array = arrays.get("x_train")
    as_is = array is not None and array.dtype.kind == "f" and array.shape[1:] == source.shape and array.min() < 0
    if array is not None and (as_is or not source.bounded):
        return as_examples(array, source.shape, source.bounded, name), f"{len(array):,} samples in {name}"
    if not source.bounded or source.shape[-1] not in (1, 3):
        wanted = ", ".join(map(str, source.shape))
        raise UserError(f"{name} must be a .npy or .npz file of floats [N, {wanted}]{' from −1 to 1' * source.bounded}")
    opened, _ = _open(name, arrays, ImageSpec(source.shape[0], source.shape[-1]))
    return np.asarray(decode(jnp.asarray(read_all(opened)))), opened.found


def read_reference(given: Given, samples: Given) -> Source:
    """Returns the source of real data that samples are compared with.

    Args:
        given: the name of a source such as 'ring' or 'mnist'; a `.npz` file with `x_train`, `y_train`, `x_test` and
            `y_test`; images or vectors as an array, a `.npy` or `.npz` file, or a folder. Where these have no test
            part, half of them are held out, always the same, for the row of real data.
        samples: the samples, whose size and channels images are brought to.

    Raises:
        UserError: naming the reference, what is wrong with it, and what would be right.
        ValueError: likewise, if a source or images cannot be read.
    """
    if isinstance(given, str) and given in SOURCES and not os.path.exists(given):
        return SOURCES[given]()
    name, arrays = _arrays(given, "reference")
    if all(part in arrays for part in LABELLED):
        return labelled_source(read_labelled_arrays(Path(name)))
    if "x_train" in arrays and arrays["x_train"].ndim == 2:
        return _vectors(name, arrays)
    height, width, channels = _image_shape(samples)
    if height != width:
        raise UserError(f"samples are images of {height}×{width} pixels; they must be square")
    opened, test = _open(name, arrays, ImageSpec(height, channels))
    return images_source(opened, test, name, held_out=0.5, resident_gib=float("inf"))


def _arrays(given: Given, name: str) -> tuple[str, Mapping[str, np.ndarray]]:
    """Returns what to call what is given, and its arrays; there are none in a folder."""
    if isinstance(given, np.ndarray):
        return name, {"x_train": given}
    if os.fspath(given).startswith("tfds:"):
        return os.fspath(given), {}
    path = local_path(given, f"--{name}")
    if not path.exists():
        raise UserError(f"--{name} is {path}; there is no such file or folder")
    arrays = {} if path.is_dir() else read_arrays(path)
    if any(array.size == 0 for array in arrays.values()):
        raise UserError(f"--{name} is {path}; it holds no examples")
    return str(path), arrays


def _open(name: str, arrays: Mapping[str, np.ndarray], spec: ImageSpec) -> tuple[Images, Images | None]:
    return open_arrays(Path(name), arrays, spec) if arrays else open_images(name, spec)


def _image_shape(samples: Given) -> tuple[int, int, int]:
    """Returns height, width and channels of samples that are images."""
    name, arrays = _arrays(samples, "samples")
    return image_arrays(Path(name), arrays)[0].shape if arrays else first_image(Path(name))


def _vectors(name: str, arrays: Mapping[str, np.ndarray]) -> Source:
    """Returns the source of vectors `[N, D]`; half of them are held out if there is no test part."""
    shape = arrays["x_train"].shape[1:]
    train = as_examples(arrays["x_train"], shape, False, name)
    if "x_test" in arrays:
        held_out = as_examples(arrays["x_test"], shape, False, name)
    elif len(train) < 2:
        raise UserError(f"{name} holds one vector, and at least two are needed: half of them are held out")
    else:
        order = np.random.default_rng(HALVING_SEED).permutation(len(train))
        train, held_out = train[order[len(train) // 2 :]], train[order[: len(train) // 2]]
    return Source(
        shape=shape,
        bounded=False,
        train=train,
        held_out=held_out,
        sample=VECTORS.sample,
        examples=VECTORS,
        references={"plane" if shape == (2,) else "manifold": None},
        num_eval=len(held_out),
        note=f"{len(train):,} vectors of {name} to compare with, {len(held_out):,} held out",
    )
