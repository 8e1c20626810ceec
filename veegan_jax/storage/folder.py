"""The folder of a run: one process at a time trains there, and the folder holds this run and no other."""

import errno
import json
import logging
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from veegan_jax.config.convert import differences, from_effective, read_json
from veegan_jax.data.contents import Contents, changes
from veegan_jax.errors import PluginError, UserError, one_line
from veegan_jax.paths import local_path
from veegan_jax.storage.files import write_atomically

_log = logging.getLogger("veegan_jax")
CONFIG, LOCK = "config.json", ".lock"
# The file that says why a row of a comparison was given up.
DIVERGED = "diverged.json"
# The file that says which data the run was trained on.
DATA = "data.json"
# The fields that say where a run is computed and written, and not what is computed.
PLACEMENT_FIELDS = ("devices", "parallel", "seed_mapping", "deterministic", "writers")


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Makes the folder, and keeps every other process from training there until the block ends.

    Raises:
        UserError: if the folder cannot be written, or another process trains there.
    """
    with ExitStack() as held:
        try:
            _check_text(workdir.absolute())
            workdir.mkdir(parents=True, exist_ok=True)
            holder = held.enter_context(lock(workdir / LOCK))
        except OSError as error:
            raise _unwritable(workdir, error) from error
        if holder:
            raise UserError(
                f"--workdir {workdir} is in use: {holder} trains there; wait until it ends, stop it, or name another "
                "workdir"
            )
        yield


@contextmanager
def lock(path: Path) -> Iterator[str]:
    """Locks a file until the block ends. Yields who holds the lock if another process does, and else an empty text.

    The operating system holds the lock, so the lock ends with the process however the process ends; the file stays.

    Raises:
        OSError: if the file cannot be written.
    """
    with path.open("ab+", buffering=0) as file:
        if not _lock(file):
            file.seek(0)
            yield file.read().decode(errors="replace").strip() or "another process"
            return
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n".encode())
        yield ""


def _lock(file: IO[bytes]) -> bool:
    """Takes the lock of a file; returns whether the lock was free."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        pass  # Windows has no such locks.
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise
        _log.warning(
            "%s cannot be locked (%s): make sure that only one process trains there", file.name, error.strerror
        )
    return True


def check_or_write_config(workdir: Path, config: Mapping[str, Any], contents: Contents | None = None) -> None:
    """Makes the folder, or checks that it holds a run of the same config and data, and writes both there.

    Three differences are allowed: more steps, where no schedule depends on their number, so that a finished run can be
    resumed; other devices, or replicas computed in another form, which the first lines of the resumed run mention where
    bits may differ; and other writers.

    Raises:
        UserError: if the folder cannot be written, or holds a run of another config (the fields are listed) or data.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise _unwritable(workdir, error) from error
    if (workdir / CONFIG).exists():
        stored = stored_config(workdir)
        comparable = {**stored, **{name: config[name] for name in PLACEMENT_FIELDS}}
        if _extends(config, stored):
            comparable["num_steps"] = config["num_steps"]
        if differing := differences(config, comparable):
            raise UserError(
                f"--workdir {workdir} holds another run, which differs in {len(differing)} fields; name another "
                "workdir, or use its config:\n  " + "\n  ".join(differing)
            )
        if (workdir / DATA).exists() and (changed := data_changes(workdir, contents)):
            raise UserError(
                f"--workdir {workdir} holds a run of other data: {changed}; restore the data, name another workdir, or "
                f"delete {workdir / DATA} to resume with the data as they are"
            )
    # A run of version 0.1.0 was trained on images that this version may hold out, which a file would deny.
    unknown = contents is None or (contents.divided_here and (workdir / CONFIG).exists())
    if contents and not unknown and not (workdir / DATA).exists():
        held = {**contents.as_json(), **({"path": path} if (path := _data_path(config)) else {})}
        write_atomically(workdir / DATA, json.dumps(held, indent=1) + "\n")
    write_atomically(workdir / CONFIG, json.dumps(config, indent=2) + "\n")


def _data_path(config: Mapping[str, Any]) -> str:
    """Returns the path of the data that a config names, from the root on; empty if it names none, or a set of TFDS."""
    path = config.get(config.get("data", ""), {}).get("path", "")
    return str(local_path(path, "path").absolute()) if path and not path.startswith("tfds:") else ""


def stored_data_path(workdir: Path) -> str:
    """Returns where the data of a run were when it began, from the root on; empty if that is not known."""
    try:
        return str(read_json(workdir / DATA).get("path", "")) if (workdir / DATA).exists() else ""
    except UserError:
        return ""  # `data_changes` names the damage.


def data_changes(workdir: Path, contents: Contents | None) -> str:
    """Returns how the data differ from those that a run was trained on; an empty text if they do not.

    Raises:
        UserError: if the file that says so is damaged.
    """
    if contents is None:
        return ""
    path = workdir / DATA
    if not path.exists():
        return (
            f"there is no {path}, because an earlier version made the run or the file was deleted; images that are "
            "held out now may have been trained on"
            if contents.divided_here
            else ""
        )
    try:
        return changes(read_json(path), contents)
    except (UserError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {one_line(error)}; delete it if the data have not changed") from error


def stored_config(workdir: Path) -> dict[str, Any]:
    """Returns the config of the run in a folder.

    Raises:
        UserError: if there is none, it is not JSON, its fields are not those of this version, or a plug-in of it cannot
            be loaded.
    """
    path = workdir / CONFIG
    if not path.exists():
        raise UserError(f"--workdir {workdir} holds no run (there is no {path}); train one there first")
    try:
        stored = read_json(path)
        from_effective(stored)
    except PluginError as error:
        raise UserError(f"{path}: {error}") from error
    except UserError as error:
        raise UserError(
            f"{path} is damaged or of another version: {error}; each checkpoint's meta has a copy"
        ) from error
    return stored


def _check_text(workdir: Path) -> None:
    """Checks that the path is text, since the library that writes checkpoints takes no other path."""
    try:
        str(workdir).encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"--workdir {workdir} has letters that are none in the encoding of this locale, "
            f"{sys.getfilesystemencoding()}; set PYTHONUTF8=1 or LC_ALL=C.UTF-8, or name another folder"
        ) from error


def _unwritable(workdir: Path, error: OSError) -> UserError:
    return UserError(f"--workdir {workdir} cannot be written: {error.strerror}; name a folder that can be")


def _extends(config: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Returns whether a config has more steps than the stored one, and no schedule that depends on their number."""
    constant = all(player["schedule"] == "constant" for player in config["optim"].values())
    return constant and config["num_steps"] > stored.get("num_steps", 0)
