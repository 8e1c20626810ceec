"""The program's stdout and stderr, which may be closed, may lose their reader, or may not show every letter."""

import codecs
import errno
import io
import os
import sys
import unicodedata

# What stands for the letters of tables and messages where these letters cannot be shown.
_NEAREST = {"−": "-", "–": "-", "±": "+-", "×": "x", "‖": "|", "√": "sqrt ", "≥": ">=", "≤": "<=", "→": "->"}
_NEAREST |= {"↑": "^", "↓": "v", "·": "*", "‘": "'", "’": "'", "“": '"', "”": '"', "χ": "chi", "ε": "eps"}
# The reader has gone: `| head` has ended, or the terminal was closed.
_READER_IS_GONE = (errno.EPIPE, errno.EIO, errno.ENXIO)
_ERRORS = "veegan_jax.nearest"


def _nearest(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replaces the letters that cannot be encoded; bytes of a path that is no text stay as they are."""
    assert isinstance(error, UnicodeEncodeError)
    letter = error.object[error.start]
    if "\udc80" <= letter <= "\udcff":
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return _NEAREST.get(letter) or plain or "?", error.start + 1


codecs.register_error(_ERRORS, _nearest)


class Stream(io.TextIOWrapper):
    """A text stream that loses what cannot be shown, and does not end the run that shows it.

    Attributes:
        failure: the first error of the system, such as a full disk; None also where only the reader has gone.
    """

    def __init__(self, fd: int, encoding: str = "utf-8"):
        """Opens a file descriptor, which stays open when this stream is closed."""
        self.failure: OSError | None = None
        super().__init__(
            io.BufferedWriter(io.FileIO(fd, "w", closefd=False)),
            encoding=encoding,
            errors=_ERRORS,
            line_buffering=True,
        )

    def write(self, text: str, /) -> int:
        """Writes a text, or drops it."""
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Passes on what is buffered, or drops it."""
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Lets everything that is written from now on, and what is buffered still, go nowhere."""
        if error.errno not in _READER_IS_GONE:
            self.failure = self.failure or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def open_streams() -> None:
    """Makes `sys.stdout` and `sys.stderr` streams of this kind, and opens those of the three that are closed.

    The next file that is opened would take the number of a closed stream, and what native code prints would be written
    into that file.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number, which is `fd`
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    out, err = (getattr(stream, "encoding", "utf-8") for stream in (sys.stdout, sys.stderr))
    sys.stdout, sys.stderr = Stream(1, out), Stream(2, err)


def lost_output() -> str:
    """Returns why a part of stdout could not be written; empty if all was, or if nobody reads it any more."""
    sys.stdout.flush()
    failure = getattr(sys.stdout, "failure", None)
    return failure.strerror if failure else ""
