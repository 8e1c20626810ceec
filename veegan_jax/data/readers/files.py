"""Reads image files and arrays of images; images of other sizes are resized when they are read."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from veegan_jax.data.base import Images, LabelledImages
from veegan_jax.data.readers import tfds
from veegan_jax.errors import one_line

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Files are decoded as these formats only, whatever they are called, because files of others (PostScript) are programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# The arrays of a file of labelled images.
LABELLED = ("x_train", "y_train", "x_test", "y_test")
# The largest label, because the classifier that scores samples has weights for each class.
MOST_CLASSES = 65_535


class ImageSpec(NamedTuple):
    """The size and channels that images are brought to.

    Attributes:
        size: The side of the square image, in pixels.
        channels: 3 for colours, 1 for grey.
        crop: The side of the central square that is kept of a larger image; 0 for the largest square.
    """

    size: int
    channels: int
    crop: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image, `(size, size, channels)`."""
        return self.size, self.size, self.channels


def open_images(path: str, spec: ImageSpec) -> tuple[Images, Images | None]:
    """Opens the images at a path; each is read, and resized, when it is asked for.

    Args:
        path: A folder, a `.npy` or `.npz` file, or 'tfds:NAME'.
        spec: The size and channels that images are brought to.

    Returns:
        The images, in the order of their names or positions; and the test images that the data have (`x_test` of a
        `.npz` file, the split 'test' of a set), or None.

    Raises:
        ValueError: naming the path, what is wrong with it, and what would be right.
    """
    if spec.size < 1:
        raise ValueError(f"size is {spec.size}; it must be a number of pixels, at least 1")
    if path.startswith(tfds.PREFIX):
        return _open_set(path, "train", spec), _open_set(path, "test", spec) if tfds.has_split(path, "test") else None
    if not path or not os.path.exists(path):
        raise ValueError(f"path is {path!r}; it must be a folder of images, a .npy or .npz file, or 'tfds:NAME'")
    if Path(path).is_dir():
        return _open_folder(Path(path), spec), None
    arrays = read_arrays(Path(path))
    parts = {name: _as_images(Path(path), name, arrays[name]) for name in ("x_train", "x_test") if name in arrays}
    opened = {name: _open_array(array, spec) for name, array in parts.items()}
    return opened["x_train"], opened.get("x_test")


def read_labelled(path: str) -> LabelledImages:
    """Reads images with classes, whole, from a `.npz` file, a folder with one such file, or 'tfds:NAME'.

    The file has the arrays `x_train`, `y_train`, `x_test` and `y_test`.

    Raises:
        ValueError: naming the path, what is wrong with it, and what would be right.
    """
    if path.startswith(tfds.PREFIX):
        return tfds.read_labelled(path)
    files = sorted(Path(path).glob("*.npz")) if Path(path).is_dir() else [Path(path)]
    if len(files) != 1 or not files[0].is_file():
        raise ValueError(f"path is {path}; it must be a .npz file, or a folder with one, or 'tfds:NAME'")
    return _read_labelled_arrays(files[0])


def _read_labelled_arrays(file: Path) -> LabelledImages:
    arrays = read_arrays(file)
    if missing := [name for name in LABELLED if name not in arrays]:
        raise ValueError(f"path is {file}; it has no {', '.join(missing)}, but {', '.join(arrays)}")
    train, y_train, test, y_test = (arrays[name] for name in LABELLED)
    data = LabelledImages(_as_images(file, "x_train", train), y_train, _as_images(file, "x_test", test), y_test)
    for images, labels, part in ((train, y_train, "train"), (test, y_test, "test")):
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise ValueError(
                f"path is {file}; y_{part} is {labels.dtype} {list(labels.shape)}, and must be integers "
                f"[{len(images)}], one for each image"
            )
        if not 0 <= labels.min() <= labels.max() <= MOST_CLASSES:
            raise ValueError(
                f"path is {file}; y_{part} has {labels.min()} to {labels.max()}, and must be classes, from 0 on"
            )
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(f"path is {file}; x_train has shape {list(train.shape)}, but x_test {list(test.shape)}")
    return data


def read_arrays(file: Path) -> Mapping[str, np.ndarray]:
    """Returns the arrays of a `.npz` file, or the array of a `.npy` file as `x_train`, which stays on disk until used.

    Raises:
        ValueError: if the file is of another kind or damaged, holds Python objects, or several arrays and no `x_train`.
    """
    if file.suffix not in (".npy", ".npz"):
        raise ValueError(f"path is {file}; it must be a folder of images, a .npy or .npz file, or 'tfds:NAME'")
    try:
        arrays = _load(file)
    except Exception as error:  # Damaged files raise errors of many kinds, zipfile's and zlib's among them.
        # numpy says "Object arrays cannot be loaded …" or "Python objects in dtype" about an array of arrays.
        hint = "; images of several sizes have to be a folder of files" if "bject" in str(error) else ""
        raise ValueError(f"path is {file}; it cannot be read as an array: {one_line(error)}{hint}") from error
    if "x_train" not in arrays and len(arrays) == 1:
        return {"x_train": next(iter(arrays.values()))}
    if "x_train" not in arrays:
        raise ValueError(
            f"path is {file}; it holds {', '.join(arrays) or 'nothing'}, and must hold one array, or x_train and x_test"
        )
    return arrays


def _load(file: Path) -> dict[str, np.ndarray]:
    with file.open("rb") as opened:
        zipped = opened.read(2) == b"PK"
        opened.seek(0)
        if not zipped:
            return {"x_train": np.load(file, mmap_mode="r", allow_pickle=False)}
        with np.load(opened, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    if others := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise ValueError(f"its {others[0]} is no array")
    return arrays


def _as_images(file: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Returns an array of uint8 images as `[N, H, W, C]`; raises ValueError if it is another thing."""
    if array.dtype != np.uint8:
        nan = ", some of them NaN" if array.dtype.kind == "f" and np.isnan(array).any() else ""
        raise ValueError(f"path is {file}; pixels of {name} are {array.dtype}{nan}, and must be uint8, from 0 to 255")
    if array.ndim not in (3, 4) or array.shape[3:] not in ((), (1,), (3,)) or 0 in array.shape:
        raise ValueError(
            f"path is {file}; {name} has shape {list(array.shape)}; it must be [N, H, W], [N, H, W, 1] or [N, H, W, 3] "
            "with at least one image"
        )
    return array if array.ndim == 4 else array[..., None]


def _open_array(array: np.ndarray, spec: ImageSpec) -> Images:
    if array.shape[1:] == spec.shape:
        return Images(spec.shape, len(array), array.__getitem__)
    return Images(spec.shape, len(array), lambda chosen: _resize_all(array[chosen], spec))


def _open_set(path: str, split: str, spec: ImageSpec) -> Images:
    count, read = tfds.open_images(path, split)
    return Images(spec.shape, count, lambda chosen: _resize_all(read(chosen), spec))


def _open_folder(folder: Path, spec: ImageSpec) -> Images:
    found = folder.rglob("*")
    files = sorted(f for f in found if f.suffix.lower() in SUFFIXES and not f.name.startswith(".") and f.is_file())
    if not files:
        raise ValueError(
            f"path is {folder}; there are no images in it: none of its files ends in {', '.join(SUFFIXES)}"
        )
    return Images(spec.shape, len(files), lambda chosen: np.stack([_read(folder, files[i], spec) for i in chosen]))


def _read(folder: Path, file: Path, spec: ImageSpec) -> np.ndarray:
    from PIL import Image, ImageOps

    name = file.relative_to(folder)
    try:
        with Image.open(file, formats=FORMATS) as image:
            return resize_crop(ImageOps.exif_transpose(image), spec)
    except Image.DecompressionBombError as error:
        raise ValueError(f"path is {folder}; its {name} is too large an image: {error}") from error
    except Exception as error:  # A decoder that meets another format's bytes raises errors of many kinds.
        raise ValueError(
            f"path is {folder}; its {name} is truncated or corrupt, or no image: {one_line(error)}"
        ) from error


def _resize_all(arrays: Iterable[np.ndarray], spec: ImageSpec) -> np.ndarray:
    """Brings images uint8 `[h, w]` or `[h, w, 1 or 3]`, each of its own size, to one size: `[B, *spec.shape]`."""
    from PIL import Image

    def resized(array: np.ndarray) -> np.ndarray:
        if array.shape == spec.shape:
            return array
        return resize_crop(Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array), spec)

    return np.stack([resized(array) for array in arrays])


def resize_crop(image: "Image", spec: ImageSpec) -> np.ndarray:
    """Returns the central square of an image, resized by a Lanczos filter: uint8 `spec.shape`."""
    from PIL import Image, ImageOps

    if image.mode.startswith("I"):  # Pillow's `convert` would clip 16 bits of grey to 8.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGB" if spec.channels == 3 else "L")
    if spec.crop:
        width, height = (min(spec.crop, side) for side in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    resized = ImageOps.fit(image, (spec.size, spec.size), Image.Resampling.LANCZOS)
    return np.asarray(resized).reshape(spec.shape)
