"""A folder of image files: what a person sees in it is what is read, and what is left out is listed."""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from veegan_jax.data.base import Images
from veegan_jax.data.contents import listed, shown
from veegan_jax.data.readers.pixels import DARK, ImageSpec, brightest, is_deep, resize_crop
from veegan_jax.errors import one_line

SUFFIXES = (
    *(".apng", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pfm", ".pgm"),
    *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
# Images that a person may see in a file manager, and that are not read. Their names are said, never passed over.
UNREAD = frozenset(
    (
        *(".ai", ".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dng", ".eps", ".exr", ".fits", ".hdr", ".heic", ".heif"),
        *(".ico", ".j2k", ".jp2", ".jxl", ".jxr", ".nef", ".nii", ".orf", ".pcx", ".pdf", ".ps", ".psd", ".raf"),
        *(".raw", ".rw2", ".svg", ".svgz", ".tga", ".xcf"),
    )
)
# Files are decoded as these formats only, whatever they are called, because files of others (PostScript) are programs.
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# Folders in which file managers, network storage and operating systems keep thumbnails and deleted files. A name that
# begins with a dot hides a folder too.
HIDDEN = frozenset(
    {"#recycle", "$recycle.bin", "@eadir", "@recycle", "__macosx", "lost+found", "system volume information"}
)
# Names of folders that hold one part of a set.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
}
# The reasons for which files and folders are left out.
HIDES, UNREAD_FORMAT = "hidden", "in formats that are not read"
NO_IMAGES, LINKED = "not images", "reached before by another link"
# Pillow's modes of 8 bits without colours.
GREY = ("1", "L", "LA", "La")
# The beginnings of files that look like images to their owner, and what to say about them.
STRANGERS = (
    (b"<", "it is text, such as a web page that was saved in place of an image"),
    (b"%!PS", "it is PostScript, which is a program"),
    (b"%PDF", "it is a PDF document; convert it to PNG"),
    (b"8BPS", "it is a Photoshop document; convert it to PNG"),
    (b"\xff\x0a", "it is JPEG XL; convert it to PNG"),
    (b"version https://git-lfs", "it is a pointer of Git LFS; run: git lfs pull"),
)


class Found(NamedTuple):
    """The files of a folder.

    Attributes:
        images: The files to read, relative to the folder, in the order of their names.
        left_out: The names of files and folders that are not read, by the reason.
    """

    images: list[str]
    left_out: dict[str, list[str]]


class Seen(NamedTuple):
    """What the beginning of an image file says.

    Attributes:
        digest: A digest of the file's bytes, 64 bits.
        size: Width and height in pixels, as they are stored.
        grey: Whether the image has no colours.
        frames: Whether it has several frames or pages.
        transparent: Whether it may have transparent pixels.
        brightest: The largest value of pixels of 16 or 32 bits as a fraction of their range; None for 8 bits.
    """

    digest: int
    size: tuple[int, int]
    grey: bool
    frames: bool
    transparent: bool
    brightest: float | None


def open_folder(folder: Path, spec: ImageSpec) -> tuple[Images, Images | None]:
    """Opens the images in a folder and in folders within it; each is decoded, and resized, when it is asked for.

    The bytes of every file are read once, to know its digest and the size and mode of its image.

    Returns:
        The images in the order of their names; and those of the folder `test` (or else `val`) where there is a folder
        `train` beside it, or None.

    Raises:
        ValueError: naming the folder, the file, what is wrong with it, and what would be right.
    """
    found = _find(folder)
    if not found.images:
        raise ValueError(f"path is {folder}; there are no images in it{_why_none(folder, found)}")
    parts = _parts(folder, found)
    names = [name for part in parts for name in part]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = list(pool.map(lambda name: _inspect(folder, name), names))
    _refuse_dark(folder, names, seen)
    text = _describe(folder, names, seen, found, spec)
    train = len(parts[0])
    opened = _open(folder, parts[0], seen[:train], spec, text)
    return opened, _open(folder, parts[1], seen[train:], spec, "") if len(parts) > 1 else None


def first_image(folder: Path) -> tuple[int, int, int]:
    """Returns height, width and channels (1 or 3) of the first image in a folder.

    Raises:
        ValueError: if there is none, or it is damaged.
    """
    found = _find(folder)
    if not found.images:
        raise ValueError(f"path is {folder}; there are no images in it{_why_none(folder, found)}")
    seen = _inspect(folder, found.images[0])
    return seen.size[1], seen.size[0], 1 if seen.grey else 3


def read_image(path: Path, spec: ImageSpec) -> np.ndarray:
    """Reads one image file as the images of a folder are read: uint8 `spec.shape`.

    Raises:
        ValueError: naming the file, and what is wrong with it.
    """
    return _read(path.parent, path.name, spec)


def _open(folder: Path, names: Sequence[str], seen: Sequence[Seen], spec: ImageSpec, found: str) -> Images:
    digests = np.array([image.digest for image in seen], np.uint64)

    def read(chosen: np.ndarray) -> np.ndarray:
        return np.stack([_read(folder, names[i], spec) for i in chosen])

    return Images(spec.shape, len(names), read, lambda: digests, names, found)


def _find(folder: Path) -> Found:
    """Lists the files of a folder as a person sees them: links are followed, and hidden things are left out."""
    images: list[str] = []
    left: dict[str, list[str]] = {HIDES: [], UNREAD_FORMAT: [], NO_IMAGES: [], LINKED: []}
    for root, folders, files in _walk(folder, left):
        inner = os.path.relpath(root, folder)
        for name in files:
            relative = name if inner == "." else os.path.join(inner, name)
            suffix = os.path.splitext(name)[1].lower()
            if name.startswith("."):
                left[HIDES].append(relative)
            elif suffix in UNREAD:
                left[UNREAD_FORMAT].append(relative)
            elif suffix in SUFFIXES or (not suffix and _is_image(os.path.join(root, name))):
                _check_file(folder, relative)
                images.append(relative)
            else:
                left[NO_IMAGES].append(relative)
        folders.sort()
    images.sort(key=lambda name: Path(name).parts)
    return Found(images, {why: sorted(names) for why, names in left.items() if names})


def _walk(folder: Path, left: dict[str, list[str]]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walks through folders and links to folders, each folder once; adds those that it leaves out to `left`."""

    def unreadable(error: OSError) -> NoReturn:
        name = os.path.relpath(error.filename, folder)
        raise ValueError(f"path is {folder}; its folder {shown(name)} cannot be read: {error.strerror}") from error

    def is_new(path: str) -> bool:
        try:
            status = os.stat(path)
        except OSError as error:
            unreadable(error)
        new = (status.st_dev, status.st_ino) not in walked
        walked.add((status.st_dev, status.st_ino))
        return new

    walked: set[tuple[int, int]] = set()
    is_new(os.fspath(folder))
    for root, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        kept = []
        for name in sorted(folders):
            path = os.path.join(root, name)
            relative = os.path.relpath(path, folder)
            if name.startswith(".") or name.lower() in HIDDEN:
                left[HIDES].append(f"{relative}{os.sep}")
            elif is_new(path):
                kept.append(name)
            else:  # A link to a folder that holds it would be walked for ever.
                left[LINKED].append(f"{relative}{os.sep}")
        folders[:] = kept
        yield root, folders, files


def _check_file(folder: Path, name: str) -> None:
    path = folder / name
    if path.is_file():
        return
    fault = "is a link to nothing" if path.is_symlink() else "is a device or a pipe, and no file"
    raise ValueError(f"path is {folder}; its {shown(name)} {fault}; remove it, or restore what it stands for")


def _is_image(path: str) -> bool:
    """Returns whether a file without a suffix begins as an image does."""
    from PIL import Image

    if not os.path.isfile(path):
        return False
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except PermissionError:
        return True  # The read that follows names the file.
    except Exception:
        return False


def _parts(folder: Path, found: Found) -> list[list[str]]:
    """Returns the names of the training images, and of the test images where folders divide the images."""
    by_part: dict[str, list[str]] = {}
    for name in found.images:
        parts = (PARTS[step.lower()] for step in Path(name).parts[:-1] if step.lower() in PARTS)
        by_part.setdefault(next(parts, ""), []).append(name)
    held_out = "test" if "test" in by_part else "validation"
    if "train" not in by_part or held_out not in by_part:
        return [found.images]
    if strays := by_part.get(""):
        raise ValueError(
            f"path is {folder}; it has folders of training and of {held_out} images, and {len(strays):,} images in "
            f"neither ({listed(strays)}); move them, or set path to one of the folders"
        )
    if held_out == "test" and "validation" in by_part:
        found.left_out["for validation"] = by_part["validation"]
    return [by_part["train"], by_part[held_out]]


def _inspect(folder: Path, name: str) -> Seen:
    from PIL import Image

    content = b""
    try:
        content = (folder / name).read_bytes()
        digest = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            # An MPO file is a photograph with another view or a preview behind it, of which viewers show nothing.
            frames = image.format != "MPO" and getattr(image, "is_animated", False)
            image.seek(0)  # Counting frames may have moved to another one.
            grey, transparent = image.mode in GREY or is_deep(image), image.has_transparency_data
            return Seen(digest, image.size, grey, frames, transparent, brightest(image))
    except Exception as error:
        raise _unreadable(folder, name, error, content) from error


def _read(folder: Path, name: str, spec: ImageSpec) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(folder / name, formats=FORMATS) as image:
            return resize_crop(image, spec)
    except Exception as error:
        raise _unreadable(folder, name, error) from error


def _unreadable(folder: Path, name: str, error: Exception, content: bytes = b"?") -> ValueError:
    """Returns the one-line error about a file, whose decoder may have raised an error of any kind."""
    from PIL import Image

    start = f"path is {folder}; its {shown(name)}"
    if isinstance(error, Image.DecompressionBombError):
        return ValueError(f"{start} is too large an image: {error}; make it smaller, or remove it")
    if isinstance(error, OSError) and error.errno is not None:
        return ValueError(f"{start} cannot be read: {error.strerror}; make it readable, or remove it")
    if str(error).startswith("its pixels are"):
        return ValueError(f"{start} is refused: {error}")
    return ValueError(f"{start} is truncated or corrupt, or no image: {_stranger(content) or one_line(error)}")


def _stranger(content: bytes) -> str:
    if not content:
        return "it is empty"
    if content[4:8] == b"ftyp" or content[4:8] == b"JXL ":
        return "it is HEIC, AVIF, JPEG XL or a film, whatever its name ends in; convert it to PNG"
    return next((says for start, says in STRANGERS if content.lstrip()[:32].startswith(start)), "")


def _refuse_dark(folder: Path, names: Sequence[str], seen: Sequence[Seen]) -> None:
    """Raises ValueError if images of 16 or 32 bits would all look black, though they are not."""
    deep = {name: image.brightest for name, image in zip(names, seen, strict=True) if image.brightest is not None}
    name = max(deep, key=lambda name: deep[name] or 0, default="")
    if deep and 0 < (most := deep[name] or 0) < DARK:
        raise ValueError(
            f"path is {folder}; its {len(deep):,} images of 16 or 32 bits would look black: the brightest, "
            f"{shown(name)}, has {most:.1%} of the range; scale them, so that white is the largest value"
        )


def _describe(folder: Path, names: Sequence[str], seen: Sequence[Seen], found: Found, spec: ImageSpec) -> str:
    """Returns what was found, in one line."""
    sizes = sorted({image.size for image in seen}, key=lambda size: (size[0] * size[1], size))
    least, most = ("×".join(map(str, size)) for size in (sizes[0], sizes[-1]))
    of_sizes = f"of {least} pixels" if len(sizes) == 1 else f"of {least} to {most} pixels"
    grey = sum(image.grey for image in seen)
    colours = (
        "in colour" if not grey else "grey" if grey == len(seen) else f"{len(seen) - grey:,} in colour, {grey:,} grey"
    )
    said = [f"{len(seen):,} images in {shown(folder)} {of_sizes}, {colours}"]
    folders = Counter(Path(name).parts[0] for name in names if len(Path(name).parts) > 1)
    if folders and len(folders) + (folders.total() < len(names)) > 1:
        counts = [f"{name} {count:,}" for name, count in folders.most_common()]
        said.append(f"in folders {listed(counts)}")
    copies = len(seen) - len({image.digest for image in seen})
    said += [f"copies of others: {copies:,}"] if copies else []
    for what, holds in (
        ("cropped to the central square", lambda image: image.size[0] != image.size[1]),
        (f"enlarged to {spec.size} pixels", lambda image: min(image.size) < spec.size),
        ("of 16 or 32 bits, brought to 8", lambda image: image.brightest is not None),
        ("with several frames or pages, of which the first is taken", lambda image: image.frames),
        ("with transparency, laid on white", lambda image: image.transparent),
    ):
        chosen = [name for name, image in zip(names, seen, strict=True) if holds(image)]
        said += [f"{what}: {len(chosen):,} ({listed(chosen)})"] if chosen else []
    left = ", ".join(_left_out(found))
    return "; ".join([*said, *([f"left out: {left}"] if left else [])])


def _left_out(found: Found) -> list[str]:
    return [f"{len(names):,} {why} ({listed(names)})" for why, names in found.left_out.items()]


def _why_none(folder: Path, found: Found) -> str:
    if unread := found.left_out.get(UNREAD_FORMAT):
        return f" of a format that is read: convert {listed(unread)} to PNG (magick mogrify -format png FILES)"
    others = found.left_out.get(NO_IMAGES, [])
    if archives := [name for name in others if name.lower().endswith((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"))]:
        return f": unpack {listed(archives)}"
    if arrays := [name for name in others if name.lower().endswith((".npy", ".npz"))]:
        return f", but arrays: set path to {shown(folder / arrays[0])}"
    return "; ".join([f": none of its files ends in {', '.join(SUFFIXES)}", *_left_out(found)])
