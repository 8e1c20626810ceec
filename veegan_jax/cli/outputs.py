"""The files that a mode writes: arrays as .npz or .npy, images as PNG files one by one, and a picture of them."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from veegan_jax.errors import UserError
from veegan_jax.evaluation import plots
from veegan_jax.evaluation.trained import pixels
from veegan_jax.storage.files import array_writer, cannot_write, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Sink = Callable[[np.ndarray], None]


@contextmanager
def streamed(stem: Path, formats: tuple[str, ...], name: str, shape: tuple[int, ...]) -> Iterator[Sink]:
    """Opens files for one array, yields the function that adds a piece `[n, …]`, and prints the paths in the end.

    Args:
        stem: the path without the ending.
        formats: one file each, of `usage.FORMATS`; 'png' is a folder of files.
        name: the name of the array in a .npz file.
        shape: the shape of the array, `(N, …)`.
    """
    with ExitStack() as opened:
        sinks: list[Sink] = []
        paths: list[Path] = []
        for ending in formats:
            if ending == "png":
                paths.append(stem)
                sinks.append(_images(_emptied(stem), ""))
            else:
                paths.append(stem.with_name(f"{stem.name}.{ending}"))
                sinks.append(opened.enter_context(array_writer(paths[-1], name, shape)))

        def add(piece: np.ndarray) -> None:
            for sink in sinks:
                sink(piece)

        yield add
    for path in paths:
        print(path)


def write(stem: Path, formats: tuple[str, ...], images: Mapping[str, np.ndarray], **arrays: np.ndarray) -> None:
    """Writes arrays, and prints the paths.

    Args:
        stem: the path without the ending.
        formats: 'npz' for one file of all arrays, 'npy' for a file of each, 'png' for a folder of the images.
        images: the arrays that are images `[N, H, W, C]` in [−1, 1], by the beginnings of the names of their files.
        **arrays: the arrays.
    """
    if "npz" in formats:
        path = stem.with_name(f"{stem.name}.npz")
        with replacing(path) as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        print(path)
    for name, array in arrays.items() if "npy" in formats else ():
        path = stem.with_name(f"{stem.name}_{name}.npy")
        with replacing(path) as file:
            np.save(file, array, allow_pickle=False)
        print(path)
    if "png" in formats:
        _emptied(stem)
        for name, array in images.items():
            _images(stem, f"{name}_")(array)
        print(stem)


def write_picture(stem: Path, figure: "Figure") -> None:
    """Writes a picture to a file, and prints its path."""
    path = stem.with_name(f"{stem.name}.png")
    plots.save(figure, path)
    print(path)


def _emptied(folder: Path) -> Path:
    """Makes a folder for images, and removes those of an earlier call, which would look like images of this call."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if re.fullmatch(r"(\w+_)?\d{6,}\.png", old.name):
                old.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def check_formats(formats: tuple[str, ...], shape: tuple[int, ...], data: str) -> None:
    """Checks that examples of a shape can be written in these formats.

    Raises:
        UserError: if they are no images of one or three channels, and PNG files are asked for.
    """
    if "png" in formats and (len(shape) != 3 or shape[-1] not in (1, 3)):
        raise UserError(
            f"--format png is for images of 1 or 3 channels, and examples of {data} are {list(shape)}; npz and npy are "
            "for all"
        )


def _images(folder: Path, start: str) -> Sink:
    """Returns the function that adds images to a folder, as files START000000.png, START000001.png, …"""
    from PIL import Image

    count = 0

    def add(piece: np.ndarray) -> None:
        nonlocal count
        for image in pixels(piece):
            path = folder / f"{start}{count:06d}.png"
            try:
                Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path, "PNG")
            except OSError as error:
                raise cannot_write(path, error) from error
            count += 1

    return add
