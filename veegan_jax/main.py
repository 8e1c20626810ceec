"""The command line: flags, and nothing else.

python -m veegan_jax.main --config configs/ring.py [--config.FIELD=VALUE …] [--workdir runs/ring] \
        [--mode train|evaluate|sample|reconstruct]
"""

import logging
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict, config_flags

from veegan_jax import commands
from veegan_jax.config import base_config, field_names, suggestion
from veegan_jax.errors import UserError

# Exit codes: of an error that the user can mend, and of a run that was stopped by a signal and saved (sysexits.h's
# EX_TEMPFAIL: the same command goes on with it).
EXIT_ERROR, EXIT_STOPPED = 2, 75

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment, as configs/ring.py.", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder; runs/NAME for configs/NAME.py when left out.")
MODE = flags.DEFINE_enum("mode", "train", list(commands.COMMANDS), "What to do.")
STEP = flags.DEFINE_string("step", "latest", "The checkpoint to use after training: latest, best or a step.")
NUM = flags.DEFINE_integer("num", 64, "How many examples to sample or reconstruct.", lower_bound=1)
SAMPLE_SEED = flags.DEFINE_integer("sample_seed", 0, "The seed of what is sampled or reconstructed.", lower_bound=0)
DEBUG = flags.DEFINE_bool("debug", False, "Show tracebacks of errors.")


def main(argv: Sequence[str]) -> int:
    """Runs the mode asked for and returns the exit code."""
    if len(argv) > 1:
        raise UserError(f"{argv[1]!r} is no flag; flags look like --config=configs/ring.py")
    _show_warnings()
    options = commands.Options(_config(), _workdir(), STEP.value, NUM.value, SAMPLE_SEED.value)
    stopped_by = commands.COMMANDS[MODE.value](options)
    if stopped_by is None:
        return 0
    command = shlex.join(["python", "-m", "veegan_jax.main", *sys.argv[1:]])
    print(f"stopped by {stopped_by}; the run is saved. To go on:\n  {command}", file=sys.stderr)
    return EXIT_STOPPED


def _show_warnings() -> None:
    """Our own warnings as one line each; what the libraries below log, and raise as well if it matters, not at all."""
    absl_logging.set_verbosity(absl_logging.FATAL)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    logger = logging.getLogger("veegan_jax")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    sys.unraisablehook = _unraisable


def _unraisable(raised: "sys.UnraisableHookArgs") -> None:
    """Keeps to itself what Orbax's reads still print after one of them has failed, which is reported once already."""
    if str(raised.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(raised)


def _config() -> ConfigDict | None:
    config = CONFIG.value
    if config is None or isinstance(config, ConfigDict):
        return config
    raise UserError(f"--config {_config_file()}: get_config() returned {type(config).__name__}, not a ConfigDict")


def _config_file() -> str:
    return config_flags.get_config_filename(flags.FLAGS["config"])


def _workdir() -> Path:
    if WORKDIR.value:
        return Path(WORKDIR.value)
    if CONFIG.value is None:
        raise UserError("neither --config nor --workdir is given; try --config configs/ring.py")
    path, _, variant = _config_file().partition(":")
    return Path("runs") / "-".join(filter(None, (Path(path).stem, variant)))


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line.

    Raises:
        UserError: for an unknown flag or field, a value of another type, or a config file that is absent or raises.
    """
    if file := _given(argv, "config").partition(":")[0]:
        sys.path.append(str(Path(file).resolve().parent.parent))  # a config may import its neighbours as configs.NAME
    try:
        remaining: list[str] = flags.FLAGS(argv)
        if CONFIG.value is not None:
            getattr(CONFIG.value, "lock", None)  # an absent file shows itself only when its config is used
        return remaining
    except flags.UnrecognizedFlagError as error:
        raise UserError(f"--{error.flagname} is no flag; {suggestion(error.flagname, _flag_names())}") from error
    except Exception as error:
        raise UserError(_explain(error, argv)) from error


def _flag_names() -> list[str]:
    module = flags.FLAGS.flags_by_module_dict()
    return [flag.name for flag in module.get(sys.argv[0], module.get(__name__, []))]


def _explain(error: Exception, argv: Sequence[str]) -> str:
    """One line for an error of parsing: where in the config file it was raised, or which override is wrong."""
    file = _given(argv, "config").partition(":")[0]
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for cause in reversed(chain):
        frames = [f for f in traceback.extract_tb(cause.__traceback__) if Path(f.filename).name == Path(file).name]
        if frames and file:
            where = f"{file}, line {frames[-1].lineno}: {frames[-1].line}"
            return f"{where}\n  {type(cause).__name__}: {_first_line(cause)}"
        if isinstance(cause, SyntaxError):
            return f"{cause.filename}, line {cause.lineno}: {(cause.text or '').strip()}\n  SyntaxError: {cause.msg}"
    if file and not Path(file).is_file():
        return f"--config {file}: there is no such file; see configs/"
    if isinstance(error, AttributeError | KeyError):
        known = field_names(base_config())
        unknown = [name for name in _overrides(argv) if name not in known]
        if unknown:
            return f"config.{unknown[0]} is no field; {_nearest(unknown[0], known)}"
    return _first_line(error)


def _nearest(given: str, known: Sequence[str]) -> str:
    """The nearest field, and its neighbours in the same section rather than all fields there are."""
    section = given.rpartition(".")[0]
    prefix = f"{section}." if section else ""
    return suggestion(given, [n for n in known if n.startswith(prefix) and "." not in n[len(prefix) :]] or known)


def _overrides(argv: Sequence[str]) -> list[str]:
    return [
        arg.lstrip("-").split("=", 1)[0].removeprefix("config.")
        for arg in argv
        if arg.lstrip("-").startswith("config.")
    ]


def _given(argv: Sequence[str], flag: str) -> str:
    for arg, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = arg.lstrip("-").partition("=")
        if arg.startswith("-") and name == flag:
            return value if equals else following
    return ""


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def run() -> None:
    """Entry point: errors that the user can mend become one message and exit code 2."""
    debug = "--debug" in sys.argv
    try:
        app.run(main, flags_parser=_parse_flags)
    except (UserError, OSError) as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        if debug:
            raise
        print(
            "interrupted; steps since the last checkpoint are lost, the same command goes on from there",
            file=sys.stderr,
        )
        sys.exit(130)


if __name__ == "__main__":
    run()
