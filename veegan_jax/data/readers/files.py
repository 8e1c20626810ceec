"""Opens images wherever they are: a folder of files, an array, or a set of TensorFlow Datasets."""

import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from veegan_jax.data.base import Images, LabelledImages
from veegan_jax.data.contents import shown
from veegan_jax.data.readers import tfds
from veegan_jax.data.readers.arrays import ImageArray, image_arrays, read_arrays, read_labelled_arrays
from veegan_jax.data.readers.folder import SUFFIXES, open_folder
from veegan_jax.data.readers.pixels import ImageSpec, resize_crop


def open_images(path: str, spec: ImageSpec) -> tuple[Images, Images | None]:
    """Opens the images at a path; each is read, and resized, when it is asked for.

    Args:
        path: A folder, a `.npy` or `.npz` file, or 'tfds:NAME'.
        spec: The size and channels that images are brought to.

    Returns:
        The images, in the order of their names or positions; and the test images that the data have (the folder `test`
        beside a folder `train`, `x_test` of a `.npz` file, the split 'test' of a set), or None.

    Raises:
        ValueError: naming the path, what is wrong with it, and what would be right.
    """
    if spec.size < 1:
        raise ValueError(f"size is {spec.size}; it must be a number of pixels, at least 1")
    if path.startswith(tfds.PREFIX):
        divided = tfds.has_split(path, "test")
        opened = _open_set(path, "train", spec, divided=divided)
        return opened, _open_set(path, "test", spec, divided=True) if divided else None
    if not path or not os.path.exists(path):
        raise ValueError(f"path is {path!r}; it must be a folder of images, a .npy or .npz file, or 'tfds:NAME'")
    file = Path(path)
    if file.is_dir():
        return open_folder(file, spec)
    if file.suffix.lower() in SUFFIXES:
        raise ValueError(f"path is {shown(path)}; that is one image: give the folder that holds the images")
    return open_arrays(file, read_arrays(file), spec)


def open_arrays(file: Path, arrays: Mapping[str, np.ndarray], spec: ImageSpec) -> tuple[Images, Images | None]:
    """Opens the images of arrays, `x_train` and perhaps `x_test`, as `open_images` does; messages name the file.

    Raises:
        ValueError: naming the file, what is wrong with it, and what would be right.
    """
    train, test, found = image_arrays(file, arrays)
    return _open_array(train, spec, found), _open_array(test, spec, "") if test else None


def read_labelled(path: str) -> LabelledImages:
    """Reads images with classes, whole, from a `.npz` file, a folder with one such file, or 'tfds:NAME'.

    The file has the arrays `x_train`, `y_train`, `x_test` and `y_test`.

    Raises:
        ValueError: naming the path, what is wrong with it, and what would be right.
    """
    if path.startswith(tfds.PREFIX):
        return tfds.read_labelled(path)
    files = sorted(Path(path).glob("[!.]*.npz")) if Path(path).is_dir() else [Path(path)]
    if len(files) != 1 or not files[0].is_file():
        raise ValueError(f"path is {path}; it must be a .npz file, or a folder with one, or 'tfds:NAME'")
    return read_labelled_arrays(files[0])


def _open_array(array: ImageArray, spec: ImageSpec, found: str) -> Images:
    def read(chosen: np.ndarray) -> np.ndarray:
        return _resize_all(array.read(chosen), spec)

    as_is = array.shape == spec.shape
    return Images(spec.shape, array.num, array.read if as_is else read, functools.cache(array.digests), (), found)


def _open_set(path: str, split: str, spec: ImageSpec, *, divided: bool) -> Images:
    count, read = tfds.open_images(path, split)
    found = f"{count:,} images of {tfds.full_name(path)}, split {split!r}"
    # Digests take as long as decoding the set, and are needed only where the set does not say what to hold out.
    digests = None if divided else functools.cache(lambda: tfds.digests(count, read))
    return Images(spec.shape, count, lambda chosen: _resize_all(read(chosen), spec), digests, (), found)


def _resize_all(arrays: Iterable[np.ndarray], spec: ImageSpec) -> np.ndarray:
    """Brings images uint8 `[h, w]` or `[h, w, 1 or 3]`, each of its own size, to one size: `[B, *spec.shape]`."""
    from PIL import Image

    def resized(array: np.ndarray) -> np.ndarray:
        if array.shape == spec.shape:
            return array
        return resize_crop(Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array), spec)

    return np.stack([resized(array) for array in arrays])
