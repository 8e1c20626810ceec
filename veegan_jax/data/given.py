"""Examples that a person gives: arrays, files, folders and pictures, brought to the shape and the scale of the data."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Union

import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import DataSpec, Images
from veegan_jax.data.examples import as_examples
from veegan_jax.data.image_sources import decode, read_all
from veegan_jax.data.readers.arrays import read_arrays
from veegan_jax.data.readers.files import open_arrays, open_images
from veegan_jax.data.readers.folder import SUFFIXES, read_image
from veegan_jax.data.readers.pixels import ImageSpec, resize_crop
from veegan_jax.errors import UserError
from veegan_jax.paths import local_path

if TYPE_CHECKING:
    from PIL.Image import Image

Given = np.ndarray | str | os.PathLike[str]
Picture = Union[str, os.PathLike[str], "Image"]


class GivenExamples(NamedTuple):
    """Examples as networks see them.

    Attributes:
        x: float32 `[N, …]`, of the data's shape and scale.
        names: the name of the file of each example; empty where they have none.
        found: what was given, and what was done to it, in one line.
    """

    x: np.ndarray
    names: Sequence[str]
    found: str


def read_examples(given: Given | Picture | Sequence[Picture], spec: DataSpec, name: str) -> GivenExamples:
    """Reads examples, and brings them to the shape and the scale of the data.

    Args:
        given: an array; a `.npy` or `.npz` file; an image file, or a folder of them; an image of Pillow; or a list of
            image files and such images. Floats of the data's shape, from −1 to 1 where the data are bounded, are taken
            as they are; images of other dtypes (8 bits are 0 to 255), layouts and sizes are brought to the data's as
            `config.images` does.
        spec: what the examples have to be like.
        name: the flag, or the argument, by which they are given.

    Raises:
        UserError: naming what is given, what is wrong with it, and what would be right.
    """
    try:
        if (pictures := _pictures(given, name)) is not None:
            images = np.stack([_read_picture(picture, _image_spec(spec, name)) for picture in pictures])
            names = [str(picture) for picture in pictures if isinstance(picture, Path)]
            return GivenExamples(_decoded(images), names, f"{len(images):,} images")
        array_or_path = given if isinstance(given, str | os.PathLike) else np.asarray(given)
        if isinstance(array_or_path, np.ndarray) and array_or_path.shape == spec.shape:
            array_or_path = array_or_path[None]  # One example would be read as several grey images.
        return _read_arrays_or_folder(array_or_path, spec, name)
    except ValueError as error:
        raise UserError(str(error)) from error


def _read_arrays_or_folder(given: Given, spec: DataSpec, name: str) -> GivenExamples:
    name, arrays = arrays_of(given, name)
    array = arrays.get("x_train")
    as_is = array is not None and array.dtype.kind == "f" and array.shape[1:] == spec.shape and array.min() < 0
    if array is not None and (as_is or not spec.bounded):
        return GivenExamples(
            as_examples(array, spec.shape, spec.bounded, name), (), f"{len(array):,} samples in {name}"
        )
    opened, test = open_given(name, arrays, _image_spec(spec, name))
    parts = [opened, test] if test else [opened]
    names = [file for part in parts for file in part.names]
    return GivenExamples(np.concatenate([_decoded(read_all(part)) for part in parts]), names, opened.found)


def arrays_of(given: Given, name: str) -> tuple[str, Mapping[str, np.ndarray]]:
    """Returns what to call what is given, and its arrays by name, as `read_arrays` does; there are none in a folder.

    Raises:
        UserError: if there is no such file, or it holds nothing.
        ValueError: if the file cannot be read.
    """
    if isinstance(given, np.ndarray):
        if not given.size:
            raise UserError(f"{name.lstrip('-')} has shape {given.shape}; it holds no examples")
        return name.lstrip("-"), {"x_train": given}
    if os.fspath(given).startswith("tfds:"):
        return os.fspath(given), {}
    path = _existing(given, name)
    arrays = {} if path.is_dir() else read_arrays(path)
    if any(array.size == 0 for array in arrays.values()):
        raise UserError(f"{name} is {path}; it holds no examples")
    return str(path), arrays


def open_given(name: str, arrays: Mapping[str, np.ndarray], spec: ImageSpec) -> tuple[Images, Images | None]:
    """Opens the images, and the test images if there are any, of what `arrays_of` returned."""
    return open_arrays(Path(name), arrays, spec) if arrays else open_images(name, spec)


def _existing(given: str | os.PathLike[str], name: str) -> Path:
    path = local_path(given, name)
    if not path.exists():
        raise UserError(f"{name} is {path}; there is no such file or folder")
    return path


def _pictures(given: object, name: str) -> "list[Path | Image] | None":
    """Returns pictures that are given one by one, as paths and images of Pillow; None if something else is given."""
    from PIL.Image import Image

    if isinstance(given, Image):
        return [given]
    if isinstance(given, str | os.PathLike):
        one_image = Path(given).suffix.lower() in SUFFIXES and not (path := _existing(given, name)).is_dir()
        return [path] if one_image else None
    if isinstance(given, list | tuple) and given and all(isinstance(x, Image | str | os.PathLike) for x in given):
        return [x if isinstance(x, Image) else _existing(x, name) for x in given]
    return None


def _read_picture(picture: "Path | Image", spec: ImageSpec) -> np.ndarray:
    return read_image(picture, spec) if isinstance(picture, Path) else resize_crop(picture, spec)


def _image_spec(spec: DataSpec, name: str) -> ImageSpec:
    """Returns the size and the channels to which images are brought; raises UserError if examples are none."""
    if not spec.bounded or spec.shape[-1] not in (1, 3):
        wanted = ", ".join(map(str, spec.shape))
        raise UserError(f"{name} must be a .npy or .npz file of floats [N, {wanted}]{' from −1 to 1' * spec.bounded}")
    return ImageSpec(spec.shape[0], spec.shape[-1], spec.crop)


def _decoded(images: np.ndarray) -> np.ndarray:
    return np.asarray(decode(jnp.asarray(images)))
