"""Paths that a person types, read as a shell reads them. This module imports no package."""

import os
import re
from pathlib import Path

from veegan_jax.errors import UserError

# An address such as gs://bucket/run; one letter before the colon would be a drive of Windows.
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/")
_VARIABLE = re.compile(r"\$(?:\w+|\{\w+\})")


def local_path(given: str | os.PathLike[str], name: str) -> Path:
    """Returns a path of this machine, with `~`, `~user` and `$VARIABLE` expanded as in a shell.

    A shell leaves `~` as it is within `--workdir=~/run`, and so do JSON files and job descriptions.

    Args:
        given: what the person typed.
        name: the flag, field or variable that the person set, for the message of an error.

    Raises:
        UserError: if the text is empty or an address such as `gs://bucket/run`, or if the home folder or the variable
            that it names is not known.
    """
    text = os.fspath(given)
    if not text.strip():
        raise UserError(f"{name} is {text!r}; it must be a path (is a variable of your script empty?)")
    if address := _ADDRESS.match(text):
        raise UserError(f"{name} is {text}; it must be a path of this machine: {_advice(address['scheme'])}")
    path = os.path.expanduser(text)
    if path.startswith("~") and not os.path.lexists(path):
        user = path.partition(os.sep)[0]
        raise UserError(f"{name} is {text}; no home folder of {user} is known: write the path out, or set HOME")
    if (unknown := _VARIABLE.search(os.path.expandvars(path))) and not os.path.lexists(path):
        raise UserError(f"{name} is {text}; the variable {unknown[0]} is not set: set it, or write the path out")
    return Path(path if os.path.lexists(path) else os.path.expandvars(path))


def _advice(scheme: str) -> str:
    """Returns what to do instead of giving an address of this scheme."""
    if scheme.lower() == "file":
        return "give the path alone, as /data/run"
    return "mount the bucket or the disk (gcsfuse, mount-s3, sshfs), or copy its files, and give the local folder"


def path_of_variable(variable: str) -> Path | None:
    """Returns the path that a variable of the environment names; None if it is not set, or is empty.

    Raises:
        UserError: as `local_path` does.
    """
    given = os.environ.get(variable, "")
    return local_path(given, variable) if given else None
