"""The errors that the user of the program can mend, and how messages are worded. This module imports no package."""

import difflib
import importlib.util
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend: `main` prints it as one line, without a traceback, and exits with 2.

    The message names the key or file, the value that was given, and what would be right.
    """


class NonFiniteError(UserError):
    """Training produced NaN or infinity; nothing was saved over the last good checkpoint."""


class PluginError(UserError):
    """A plug-in cannot be imported, or adds nothing that can be used."""


def check_installed(package: str, extra: str, what: str) -> None:
    """Checks that a package is installed that only some users need.

    Args:
        package: the name that is imported.
        extra: the extra of this project that installs it.
        what: what needs the package, as the subject of a sentence.

    Raises:
        UserError: if it is not installed; the message has the command that installs it.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{what} needs {package}, which is not installed: pip install 'veegan-jax[{extra}]'")


def one_line(error: BaseException) -> str:
    """Returns the first line of what an error says, at most 300 characters; its type's name where it says nothing."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def suggestion(given: str, valid: Iterable[str]) -> str:
    """Returns 'did you mean …?' where a valid name is close to the given one, and in any case what is valid."""
    listed = sorted(map(str, valid))
    near = difflib.get_close_matches(given, listed, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"valid: {', '.join(listed)}"
