"""What a person reads on stderr: warnings and errors, one line each."""

import logging
import sys
from collections.abc import Callable

from absl import logging as absl_logging

from veegan_jax.cli.exit_codes import EXIT_ERROR, EXIT_INTERRUPTED
from veegan_jax.errors import UserError, one_line


def reported(work: Callable[[], int]) -> int:
    """Does some work and returns its exit code; an error that the user can mend becomes one line and `EXIT_ERROR`."""
    debug = "--debug" in sys.argv
    _show_warnings()
    try:
        return work()
    except Exception as error:
        if debug or not (message := _mendable(error)):
            raise
        print(f"error: {message}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        if debug:
            raise
        print(
            "interrupted; steps since the last checkpoint are lost, the same command resumes from there",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED


def _mendable(error: Exception) -> str:
    """Returns what the user has to mend; empty if the user can mend nothing."""
    if isinstance(error, UserError | OSError):
        return str(error)
    if isinstance(error, MemoryError) or _device_is_full(error):
        return f"not enough memory: {one_line(error)}; a smaller config.batch_size, model or --num takes less"
    return ""


def _device_is_full(error: Exception) -> bool:
    if not isinstance(error, RuntimeError):
        return False
    import jax

    full = any(words in str(error) for words in ("RESOURCE_EXHAUSTED", "Out of memory"))
    return full and isinstance(error, jax.errors.JaxRuntimeError)


def _show_warnings() -> None:
    """Shows the project's own warnings, and what it says of its choices, as one line each.

    What the libraries below log is not shown: they raise an error as well where it matters.
    """
    absl_logging.use_absl_handler()
    absl_logging.set_verbosity(absl_logging.FATAL)
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    logger = logging.getLogger("veegan_jax")
    logger.handlers = [handler]  # the only one, also in a child, whose stderr is another than its parent's
    logger.setLevel(logging.INFO)
    logger.propagate = False
    sys.unraisablehook = _show_unraisable


class _Lines(logging.Formatter):
    """Formats a warning as "warning: …", and anything less as it is."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line of a record."""
        return f"warning: {record.getMessage()}" if record.levelno >= logging.WARNING else record.getMessage()


def _show_unraisable(raised: "sys.UnraisableHookArgs") -> None:
    """Shows an error that cannot be raised, except the echo of a failed read in Orbax, which is reported already."""
    if str(raised.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(raised)
