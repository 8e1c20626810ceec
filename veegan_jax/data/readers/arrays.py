"""Files of arrays: images and labels in the layouts, dtypes and ranges in which people keep them, or one line."""

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from veegan_jax.data.base import LabelledImages
from veegan_jax.data.contents import listed
from veegan_jax.data.readers.pixels import DARK
from veegan_jax.errors import one_line

# The arrays of a file of labelled images, and the names that other libraries give them.
LABELLED = ("x_train", "y_train", "x_test", "y_test")
OTHER_NAMES = (
    ("X_train", "y_train", "X_test", "y_test"),
    ("train_x", "train_y", "test_x", "test_y"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("train_data", "train_labels", "test_data", "test_labels"),
)
# The largest label, because the classifier that scores samples has weights for each class.
MOST_CLASSES = 65_535
# The numbers of channels of images, the last one of which is opacity where there are 4.
CHANNELS = (1, 3, 4)
# Grey images that are more oblong than this are taken for an array whose axes are in another order.
MOST_OBLONG = 8
# The number of bytes of an array that are looked at at once.
CHUNK_BYTES = 2**24
# Files in which people keep images and that are not read, and what to do with them.
CONTAINERS = {
    (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst"): "unpack it, and give the folder",
    (".txt", ".csv", ".tsv", ".lst", ".json", ".jsonl"): "make a folder of links to the files that it lists (ln -s)",
    (".pt", ".pth", ".pkl", ".pickle"): "it may run code when it is read; save the images with numpy.save",
    (".mat", ".h5", ".hdf5", ".parquet", ".lmdb", ".tfrecord", ".zarr"): "save its images with numpy.save",
}


class ImageArray(NamedTuple):
    """Images in an array of any layout and dtype, which are converted when they are read.

    Attributes:
        shape: The height, the width and the channels (1 or 3) of each image.
        num: The number of images.
        read: `read(positions) -> images`, from integers `[B]` to uint8 `[B, H, W, C]`.
        said: What was converted; or empty.
    """

    shape: tuple[int, int, int]
    num: int
    read: Callable[[np.ndarray], np.ndarray]
    said: str

    def chunks(self) -> Iterator[np.ndarray]:
        """Yields the positions of the images, some at a time."""
        return _chunks(self.num, math.prod(self.shape))

    def digests(self) -> np.ndarray:
        """Returns a digest of the pixels of each image, uint64 `[num]`."""

        def of_chunk(chosen: np.ndarray) -> list[int]:
            images = np.ascontiguousarray(self.read(chosen))
            return [int.from_bytes(hashlib.blake2b(x, digest_size=8).digest(), "big") for x in images]

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return np.array([digest for part in pool.map(of_chunk, self.chunks()) for digest in part], np.uint64)


def read_arrays(file: Path) -> Mapping[str, np.ndarray]:
    """Returns the arrays of a `.npz` file, or the array of a `.npy` file as `x_train`, which stays on disk until used.

    The only array of images is called `x_train`, and names of other libraries are replaced by those of `LABELLED`.

    Raises:
        ValueError: if the file is of another kind or damaged, holds Python objects, or several arrays that could be the
            images.
    """
    if file.suffix.lower() not in (".npy", ".npz"):
        advice = next((f": {advice}" for suffixes, advice in CONTAINERS.items() if file.suffix.lower() in suffixes), "")
        raise ValueError(f"path is {file}; it must be a folder of images, a .npy or .npz file, or 'tfds:NAME'{advice}")
    try:
        arrays = _load(file)
    except Exception as error:  # Damaged files raise errors of many kinds, zipfile's and zlib's among them.
        # numpy says "Object arrays cannot be loaded …" or "Python objects in dtype" about an array of arrays.
        hint = "; images of several sizes have to be a folder of files" if "bject" in str(error) else ""
        raise ValueError(f"path is {file}; it cannot be read as an array: {one_line(error)}{hint}") from error
    for names in OTHER_NAMES:
        if names[0] in arrays and "x_train" not in arrays:
            arrays = {dict(zip(names, LABELLED, strict=True)).get(name, name): x for name, x in arrays.items()}
    if "x_train" in arrays:
        return arrays
    likely = [name for name, array in arrays.items() if array.ndim > 2] if len(arrays) > 1 else list(arrays)
    if len(likely) != 1:
        raise ValueError(
            f"path is {file}; it holds {', '.join(arrays) or 'nothing'}, and must hold one array, or x_train and x_test"
        )
    return {"x_train" if name == likely[0] else name: array for name, array in arrays.items()}


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


def image_arrays(file: Path, arrays: Mapping[str, np.ndarray]) -> tuple[ImageArray, ImageArray | None, str]:
    """Returns the images of a file's arrays, its test images if it has them, and what was found, in one line.

    Raises:
        ValueError: naming the file, what is wrong with it, and what would be right.
    """
    train, test = _parts_of(file, arrays)
    height, width, channels = train.shape
    others = [name for name in arrays if name not in ("x_train", "x_test")]
    said = [
        f"{train.num:,} images in {file} of {height}×{width} pixels, {'in colour' if channels == 3 else 'grey'}",
        train.said,
        f"left out: the arrays {listed(others)}" if others else "",
    ]
    return train, test, "; ".join(filter(None, said))


def read_labelled_arrays(file: Path) -> LabelledImages:
    """Reads images with classes, whole, from the arrays `LABELLED` of a `.npz` file.

    Raises:
        ValueError: naming the file, what is wrong with it, and what would be right.
    """
    arrays = read_arrays(file)
    if missing := [name for name in LABELLED if name not in arrays]:
        raise ValueError(f"path is {file}; it has no {', '.join(missing)}, but {', '.join(arrays)}")
    train, test = _parts_of(file, arrays)
    assert test is not None
    y_train, y_test = (_as_labels(file, name, arrays[name], len(arrays[f"x{name[1:]}"])) for name in LABELLED[1::2])
    if train.shape != test.shape:
        shapes = (list(arrays[name].shape) for name in ("x_train", "x_test"))
        raise ValueError("path is {}; x_train has shape {}, but x_test {}".format(file, *shapes))
    check_classes(str(file), y_train, y_test)
    images = (part.read(np.arange(part.num)) for part in (train, test))
    return LabelledImages(next(images), y_train, next(images), y_test, train.said)


def check_classes(path: str, train: np.ndarray, test: np.ndarray) -> None:
    """Checks that labels, integers `[N]` and `[M]`, are classes from 0 on, and that no class lacks training examples.

    Raises:
        ValueError: naming the class, and how to number classes.
    """
    present, tested = np.unique(train), np.unique(test)
    advice = "number the classes from 0 on: y = numpy.unique(y, return_inverse=True)[1]"
    if len(present) != present[-1] + 1:
        absent = next(i for i, label in enumerate(present.tolist()) if i != label)
        raise ValueError(
            f"path is {path}; its {len(present)} classes are {present[0]} to {present[-1]}, and no training image is "
            f"of class {absent}; {advice}"
        )
    if tested[-1] > present[-1]:
        raise ValueError(f"path is {path}; its test images are of class {tested[-1]}, and no training image is")


def _as_labels(file: Path, name: str, labels: np.ndarray, num: int) -> np.ndarray:
    """Returns labels `[N]`, `[N, 1]` or one-hot `[N, K]` as integers `[N]`."""
    one_hot = labels.ndim == 2 and labels.shape[1] > 1 and len(labels) == num and labels.dtype.kind in "biuf"
    if one_hot and np.isin(labels, (0, 1)).all() and (labels.astype(int).sum(axis=1) == 1).all():
        labels = labels.argmax(axis=1)
    elif labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (num,) or labels.dtype.kind not in "biu":
        advice = ": y = numpy.unique(y, return_inverse=True)[1]" if labels.shape == (num,) else ""
        raise ValueError(
            f"path is {file}; {name} is {labels.dtype} {list(labels.shape)}, and must be integers [{num}], one for "
            f"each image{advice}"
        )
    labels = labels.astype(labels.dtype if labels.dtype.kind == "u" else np.int64)
    if not 0 <= labels.min() <= labels.max() <= MOST_CLASSES:
        raise ValueError(f"path is {file}; {name} has {labels.min()} to {labels.max()}, and must be classes, from 0 on")
    return labels


def _parts_of(file: Path, arrays: Mapping[str, np.ndarray]) -> tuple[ImageArray, ImageArray | None]:
    """Returns the arrays `x_train` and `x_test` as images, with one rule of conversion for both."""
    parts = {name: arrays[name] for name in ("x_train", "x_test") if name in arrays}
    layouts = {name: _layout(file, name, array) for name, array in parts.items()}
    if len({array.dtype.kind for array in parts.values()}) > 1:
        kinds = " and ".join(f"{name} {array.dtype}" for name, array in parts.items())
        raise ValueError(f"path is {file}; its arrays are {kinds}, and must be of one dtype")
    convert, range_said = _conversion(file, list(parts.values()))
    opened = [_open(array, layouts[name], convert, range_said) for name, array in parts.items()]
    return opened[0], opened[1] if len(opened) > 1 else None


def _open(array: np.ndarray, layout: str, convert: Callable[[np.ndarray], np.ndarray], range_said: str) -> ImageArray:
    def read(chosen: np.ndarray) -> np.ndarray:
        images = convert(array[chosen])
        images = images[..., None] if layout == "NHW" else np.moveaxis(images, 1, -1) if layout == "NCHW" else images
        return _on_white(images) if images.shape[-1] == 4 else images

    said = [
        range_said,
        "channels come first" if layout == "NCHW" else "",
        "transparent pixels are laid on white" if array.ndim == 4 and 4 in (array.shape[layout.index("C")],) else "",
    ]
    return ImageArray(read(np.arange(1)).shape[1:], len(array), read, "; ".join(filter(None, said)))


def _layout(file: Path, name: str, array: np.ndarray) -> str:
    """Returns 'NHW', 'NHWC' or 'NCHW'; raises ValueError if the axes are others, or could be."""
    shape, size = array.shape, list(array.shape)
    start = f"path is {file}; {name} has shape {size}; it"
    if array.ndim in (3, 4) and 0 not in shape:
        if array.ndim == 3:
            _refuse_ambiguous(start, shape)
            return "NHW"
        if shape[3] in CHANNELS:
            return "NHWC"
        if shape[1] in CHANNELS:
            return "NCHW"
    start += " must be [N, H, W], [N, H, W, C] or [N, C, H, W] with 1, 3 or 4 channels C, and at least one image"
    if array.ndim == 4 and shape[2] in CHANNELS:
        raise ValueError(f"{start}; if the axis of images is the last one, save numpy.moveaxis(x, 3, 0)")
    if array.ndim == 2 and 0 not in shape:
        raise ValueError(f"{start}; save {_unflattened(shape[1])}")
    raise ValueError(start)


def _refuse_ambiguous(start: str, shape: tuple[int, ...]) -> None:
    """Raises ValueError if an array of three axes need not be images in grey, `[N, H, W]`."""
    number, height, width = shape
    if (width in CHANNELS and min(number, height) > 4) or (number == 3 and min(height, width) > 4):
        raise ValueError(
            f"{start} may be one image in colour, and must have several images; if it is {number} grey images of "
            f"{height}×{width} pixels, save x[..., None]"
        )
    if (number == height != width and number > 4) or max(height, width) > MOST_OBLONG * min(height, width):
        raise ValueError(
            f"{start} may be {width} images with the axis of images last, or {number} images of {height}×{width} "
            "pixels; save numpy.moveaxis(x, 2, 0), or x[..., None]"
        )


def _unflattened(pixels: int) -> str:
    """Returns the command that gives images in rows of this length their shape."""
    if (side := math.isqrt(pixels)) ** 2 == pixels:
        return f"x.reshape(-1, {side}, {side})"
    if pixels % 3 == 0 and (side := math.isqrt(pixels // 3)) ** 2 * 3 == pixels:
        return f"x.reshape(-1, {side}, {side}, 3), or x.reshape(-1, 3, {side}, {side}) as in CIFAR's own files"
    return "x.reshape(-1, H, W, C)"


def _conversion(file: Path, arrays: list[np.ndarray]) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """Returns the function from pixels as they are stored to uint8 from 0 to 255, and what it does in words.

    Raises:
        ValueError: if the pixels are of a dtype or a range whose black and white are unknown.
    """
    dtype = arrays[0].dtype
    start = f"path is {file}; pixels of x_train are {dtype}"
    if dtype.kind == "b":
        return lambda x: x.astype(np.uint8) * np.uint8(255), "false is black and true is white"
    if dtype.kind not in "iuf":
        raise ValueError(f"{start}, and must be uint8, from 0 to 255")
    ranges = [_range(array) for array in arrays]
    low, high = (float(choose(part)) for choose, part in zip((np.min, np.max), zip(*ranges, strict=True), strict=True))
    if math.isnan(low) or math.isinf(high - low):
        some = "some of them NaN" if math.isnan(low) else "some of them infinite"
        raise ValueError(f"{start}, {some}, and must be uint8, from 0 to 255; replace them, or leave those images out")
    if low == high == 0 and dtype != np.uint8:
        raise ValueError(f"{start}, and must be uint8, from 0 to 255; all of them are 0, which says nothing of white")
    for black, white, of, convert, said in _ranges(dtype):
        if black <= low and high <= white and _spans(low, high, black, white):
            return convert, f"{dtype.name} from {of} is brought to uint8" if said else ""
    least, most = f"{low:.6g}", f"{high:.6g}"
    raise ValueError(
        f"{start} from {least} to {most}, and must be uint8, from 0 to 255, since which value is black or white is "
        f"unknown; if these two are, save numpy.rint(255.0 * (x - {least}) / ({most} - {least})).astype('uint8')"
    )


def _ranges(dtype: np.dtype) -> list[tuple[float, float, str, Callable[[np.ndarray], np.ndarray], bool]]:
    """Returns the ranges in which people keep pixels of a dtype: black, white, name, conversion, whether to say it."""

    def rounded(x: np.ndarray, scale: float, black: float) -> np.ndarray:
        levels = (x.astype(np.float32) - np.float32(black)) * np.float32(scale)
        return np.clip(np.rint(levels), 0, 255).astype(np.uint8)

    slack = 1e-5  # Floats of 16 and 32 bits miss 0 and 1 by rounding.
    if dtype.kind == "f":
        return [
            (0 - slack, 1 + slack, "0 … 1", lambda x: rounded(x, 255, 0), True),
            (-1 - slack, 1 + slack, "−1 … 1", lambda x: rounded(x, 127.5, -1), True),
            (0 - slack, 255 + slack, "0 … 255", lambda x: rounded(x, 1, 0), True),
        ]
    as_they_are = (0, 255, "0 … 255", lambda x: x.astype(np.uint8, copy=False), dtype != np.uint8)
    deep = (0, 65_535, "0 … 65535", lambda x: (x >> 8).astype(np.uint8), True)
    return [as_they_are, deep] if dtype.kind == "u" and dtype.itemsize == 2 else [as_they_are]


def _spans(low: float, high: float, black: float, white: float) -> bool:
    """Returns whether pixels from `low` to `high` may be in a range: they are neither dark nor centred otherwise."""
    if low == high == 0:
        return True
    if black < -0.5:
        return low < 0 and max(-low, high) > 0.95
    return high >= DARK * white


def _range(array: np.ndarray) -> tuple[float, float]:
    """Returns the least and the largest pixel, as floats; both are NaN if any pixel is."""
    low, high = math.inf, -math.inf
    for chosen in _chunks(len(array), math.prod(array.shape[1:]) * array.dtype.itemsize):
        part = array[chosen[0] : chosen[-1] + 1]
        low, high = min(low, float(part.min())), max(high, float(part.max()))
        if math.isnan(float(part.min())):
            return math.nan, math.nan
        if array.dtype == np.uint8 and high >= DARK * 255:
            return 0, 255  # No pixel that follows can change the rule.
    return low, high


def _chunks(num: int, item_bytes: int) -> Iterator[np.ndarray]:
    step = max(1, CHUNK_BYTES // max(item_bytes, 1))
    return (np.arange(start, min(start + step, num)) for start in range(0, num, step))


def _on_white(images: np.ndarray) -> np.ndarray:
    """Returns images uint8 `[B, H, W, 4]`, whose last channel is opacity, as they look on white: `[B, H, W, 3]`."""
    opacity = images[..., 3:].astype(np.uint16)
    laid: np.ndarray = (images[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255
    return laid.astype(np.uint8)
