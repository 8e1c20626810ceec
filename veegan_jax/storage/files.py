"""Files of a run: each is written whole or not at all, and one line says which could not be written."""

import errno
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np

from veegan_jax.errors import UserError, one_line

# The causes of a failed write in the operating system's words, which other libraries wrap in words of their own.
_REASONS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOENT, errno.EIO)


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[IO[bytes]]:
    """Opens a file that takes the place of `path` when the block ends, whole and on disk. The parent folder is made.

    Args:
        path: the file to replace.
        shared: whether another process may write the same file at the same time, as in a user's cache; the scratch file
            is then this process's own.

    Raises:
        UserError: if the file cannot be written; the earlier content of `path` is then still there.
    """
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp" if shared else f"{path.name}.tmp")
    try:
        path.parent.mkdir(exist_ok=True)
        with scratch.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def write_atomically(path: Path, text: str, *, shared: bool = False) -> None:
    """Writes a file whole or not at all; see `replacing`.

    Raises:
        UserError: if the file cannot be written.
    """
    with replacing(path, shared=shared) as file:
        file.write(text.encode())


@contextmanager
def array_writer(path: Path, name: str, shape: tuple[int, ...]) -> Iterator[Callable[[np.ndarray], None]]:
    """Opens a .npz or .npy file for one float32 array, and yields the function that adds a piece of the array to it.

    Args:
        path: the file, which is written whole or not at all; its ending says which of the two it is.
        name: the name of the array in a .npz file.
        shape: `(N, …)`; pieces are parts `[n, …]` along the first axis.

    Raises:
        UserError: if the file cannot be written.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with replacing(path) as file, ExitStack() as opened:
        array: IO[bytes] = file
        if path.suffix == ".npz":
            archive = opened.enter_context(zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED))
            array = opened.enter_context(archive.open(f"{name}.npy", "w", force_zip64=True))
        np.lib.format.write_array_header_1_0(array, header)

        def add(piece: np.ndarray) -> None:
            array.write(np.ascontiguousarray(piece, "<f4").data)

        yield add


def append(path: Path, data: bytes) -> None:
    """Adds to the end of a file that exists; a file that was taken away is not begun again in its middle.

    Raises:
        UserError: if the file cannot be written.
    """
    try:
        with path.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(data)
    except OSError as error:
        raise cannot_write(path, error) from error


def sync(path: Path) -> None:
    """Returns when everything appended to a file is on disk, where no power cut can take it away.

    Raises:
        UserError: if the file cannot be written.
    """
    try:
        with path.open("r+b") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(what: object, error: Exception) -> UserError:
    """Returns the one-line error about a file, or another part of a run, that could not be written."""
    known = (os.strerror(code) for code in _REASONS)
    reason = next((text for text in known if text in str(error)), one_line(error))
    return UserError(
        f"{what} could not be written: {reason}. Mend the disk (space? rights? is the folder still there?) and run the "
        "same command again"
    )


def digest(*parts: str | np.ndarray) -> str:
    """Returns the SHA-256 of texts (their bytes) and arrays (dtype, shape and bytes), as 64 hexadecimal digits."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            found.update(part.encode())
        else:
            found.update(f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    return found.hexdigest()
