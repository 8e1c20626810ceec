"""The user's cache: what is kept between runs because it is slow to make, and can be made again at any time.

The folder is `VEEGAN_CACHE_DIR`, by default `veegan_jax` in the user's folder of caches (`XDG_CACHE_HOME`, or
`~/.cache`). It holds trained classifiers, and in `programs` the programs that XLA has compiled.
"""

import glob
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import jax
import jaxlib.version

from veegan_jax.paths import path_of_variable
from veegan_jax.storage.files import digest
from veegan_jax.storage.versions import cpu_instructions, num_threads

_log = logging.getLogger("veegan_jax")
# The size at which the programs that were not used for the longest time are removed.
MOST_BYTES = 512 * 2**20
# JAX's words about an entry that it could not use. It then compiles the program.
_FAILED = re.compile(r"Error (reading|writing) persistent compilation cache entry for '([^']*)': (.*)", re.DOTALL)


def user_cache(what: str) -> Path | None:
    """Returns the user's cache; None, with a warning that `what` is not kept, for an account without a home folder.

    Raises:
        UserError: if a variable names no path.
    """
    if given := path_of_variable("VEEGAN_CACHE_DIR"):
        return given
    caches = path_of_variable("XDG_CACHE_HOME") or Path(os.path.expanduser("~/.cache"))
    if caches.is_absolute():
        return caches / "veegan_jax"
    _log.warning("%s not kept: there is no home folder; set HOME or VEEGAN_CACHE_DIR", what)
    return None


def keep_programs() -> None:
    """Lets JAX keep compiled programs in the user's cache, unless JAX's own settings say where to keep them, or not to.

    Programs change no number: an entry's key is made of everything that it is compiled from. What JAX's keys leave out,
    the instructions of the processor and the number of threads, is in the name of the folder, so that a home folder may
    be shared by different machines. Nothing that is wrong with the folder can end a run: a warning says so.

    Raises:
        UserError: if a variable of the environment names no path.
    """
    settings = jax.config.values
    if settings["jax_compilation_cache_dir"] or not settings["jax_enable_compilation_cache"]:
        return
    if (cache := user_cache("compiled programs are")) is None:
        return
    folder = cache / "programs" / machine_digest()
    try:
        # A program is code, which nobody else may change.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        _remove_unused(folder.parent)
    except OSError as error:
        _log.warning("compiled programs are not kept: %s: %s", folder, error.strerror)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # Many programs have one name, as jit__lambda, and Python would show only the first of equal warnings.
    warnings.filterwarnings("always", "Error .* persistent compilation cache entry")
    warnings.showwarning = _mending(folder, warnings.showwarning)


def machine_digest() -> str:
    """Returns the name of the folder of the programs that are made for this machine."""
    return digest(jaxlib.version.__version__, cpu_instructions(), num_threads())[:16]


def _remove_unused(programs: Path) -> None:
    """Removes the programs that were not used for the longest time, so that at most `MOST_BYTES` are left.

    JAX's own limit needs a lock, and a second file for each program. A process that is killed between the two files
    would leave a cache to which nothing can be added.
    """
    found = []
    for path in filter(Path.is_file, programs.rglob("*")):
        with suppress(OSError):  # Another process may remove files too.
            status = path.stat()
            found.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    left = MOST_BYTES
    for _, size, path in sorted(found, reverse=True):
        left -= size
        if left < 0:
            with suppress(OSError):
                path.unlink()


def _mending(folder: Path, otherwise: Callable[..., None]) -> Callable[..., None]:
    """Returns a `warnings.showwarning` that says once, in one line, what is wrong with kept programs.

    An entry that cannot be read, as a kill may leave it, is removed, since JAX replaces no entry; and so is one that
    could not be written whole. Other warnings are shown by the function `otherwise`.
    """
    said: set[str] = set()

    def show(message: Warning | str, *where: object, **more: object) -> None:
        if not (failed := _FAILED.match(str(message))):
            otherwise(message, *where, **more)
            return
        doing, program, why = failed.groups()
        for path in folder.glob(f"{glob.escape(program)}-*"):
            with suppress(OSError):
                path.unlink()
        if doing not in said:
            said.add(doing)
            result = "not kept" if doing == "writing" else "damaged, and compiled again"
            _log.warning("compiled programs in %s are %s: %s", folder, result, " ".join(why.split())[:200])

    return show
