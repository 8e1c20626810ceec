"""The real data that samples of any program are compared with: a source by name, arrays, files and folders."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from veegan_jax.data import SOURCES
from veegan_jax.data.base import Examples, Source
from veegan_jax.data.examples import as_examples
from veegan_jax.data.given import Given, arrays_of, open_given
from veegan_jax.data.image_sources import labelled_source
from veegan_jax.data.own_images import images_source
from veegan_jax.data.readers.arrays import LABELLED, image_arrays, read_labelled_arrays
from veegan_jax.data.readers.folder import first_image
from veegan_jax.data.readers.pixels import ImageSpec
from veegan_jax.errors import UserError

# The seed by which vectors are halved.
HALVING_SEED = 0
# The examples of an array of vectors, `[N, D]`.
VECTORS = Examples(len, lambda arrays, position: arrays[position])


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
    name, arrays = arrays_of(given, "--reference")
    if all(part in arrays for part in LABELLED):
        return labelled_source(read_labelled_arrays(Path(name)))
    if "x_train" in arrays and arrays["x_train"].ndim == 2:
        return _vectors(name, arrays)
    height, width, channels = _image_shape(samples)
    if height != width:
        raise UserError(f"samples are images of {height}×{width} pixels; they must be square")
    opened, test = open_given(name, arrays, ImageSpec(height, channels))
    return images_source(opened, test, name, held_out=0.5, resident_gib=float("inf"))


def _image_shape(samples: Given) -> tuple[int, int, int]:
    """Returns height, width and channels of samples that are images."""
    name, arrays = arrays_of(samples, "--samples")
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
