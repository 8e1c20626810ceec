"""Files that are written whole or not at all, and the one line about a file that cannot be."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np

from veegan_jax.errors import UserError

# Why files cannot be written, in the words of the operating system, which the libraries below wrap in their own.
_REASONS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOENT, errno.EIO)


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[IO[bytes]]:
    """Opens a file that takes the place of `path` when the block ends, whole and on disk. Its own folder is made.

    Args:
        path: the file to replace.
        shared: whether another process may write the same file at the same time, as in a user's cache; the scratch file
            is then this process's own.

    Raises:
        UserError: if it cannot be written; what was there before still is.
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
        raise unwritten(path, error) from error
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Writes a file whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode())


def digest(*parts: str | np.ndarray) -> str:
    """Returns a SHA-256, as hexadecimal text.

    Args:
        parts: a text, or an array, of which dtype, shape and bytes count; the digest of several is that of their
            digests.
    """
    if len(parts) != 1:
        return digest("".join(digest(part) for part in parts))
    (part,) = parts
    if isinstance(part, str):
        return hashlib.sha256(part.encode()).hexdigest()
    head = f"{part.dtype}{part.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(part).tobytes()).hexdigest()


def append(path: Path, data: bytes) -> None:
    """Adds to the end of a file, which is there: one that was taken away is not begun again in its middle.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        with path.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(data)
    except OSError as error:
        raise unwritten(path, error) from error


def sync(path: Path) -> None:
    """Returns when everything appended to a file is on disk, whence no power cut takes it.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        with path.open("r+b") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritten(path, error) from error


def unwritten(what: object, error: Exception) -> UserError:
    """The one line about a file, or something else of a run, that could not be written."""
    known = (os.strerror(code) for code in _REASONS)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = next((text for text in known if text in str(error)), lines[0][:300])
    return UserError(
        f"{what} could not be written: {reason}. Mend the disk (space? rights? is the folder still there?) and run the "
        "same command again"
    )
