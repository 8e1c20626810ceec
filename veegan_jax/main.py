"""The command line: flags, and nothing else.

python -m veegan_jax.main --config configs/ring.py [--config.FIELD=VALUE …] [--workdir runs/ring] \
        [--mode train|evaluate|sample|reconstruct|missing|fingerprint]
"""

import logging
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

try:
    import jax
except ValueError as error:  # of a variable that JAX reads as it is imported
    print(f"error: {error}; it is a variable of the environment: set it right, or unset it", file=sys.stderr)
    sys.exit(2)

from veegan_jax.cli import commands
from veegan_jax.cli.supervise import supervised
from veegan_jax.config.check import nearest, suggestion
from veegan_jax.config.convert import from_effective, from_json
from veegan_jax.config.fields import MAX_SEED, base_config, field_names
from veegan_jax.errors import UserError
from veegan_jax.parallel import processes

# Exit codes: of an error that the user can mend, and of a run that was stopped by a signal and saved (sysexits.h's
# EX_TEMPFAIL: the same command goes on with it).
EXIT_ERROR, EXIT_STOPPED = 2, 75


class _ConfigParser(config_flags.ConfigFileFlagParser):
    """Runs a Python file, as its parent does; reads a JSON one, which can run nothing."""

    def parse(self, path: str) -> ConfigDict:
        file, colon, variant = path.partition(":")
        kind = Path(file).suffix.lower()
        if kind == ".py":
            return super().parse(path)
        if kind != ".json":
            raise UserError(f"--config {file or repr(file)}: it must be a file .py, as configs/ring.py, or .json")
        if colon:
            raise UserError(f"--config {path}: a JSON config has no variants, as {variant!r}; give {file}")
        try:
            return from_json(Path(file)).lock()
        except UserError as error:
            raise UserError(f"--config {error}") from error


CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The experiment, as configs/ring.py, or fields as JSON, as a run's config.json.", lock_config=True
)
flags.FLAGS["config"].parser = _ConfigParser("config")
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "The run's folder; when left out runs/NAME for configs/NAME.py or NAME.json, and for NAME/config.json.",
)
MODE = flags.DEFINE_enum("mode", "train", list(commands.COMMANDS), "What to do.")
STEP = flags.DEFINE_string("step", "latest", "The checkpoint to use after training: latest, best or a step.")
NUM = flags.DEFINE_integer("num", 64, "How many examples to sample or reconstruct.", lower_bound=1)
SAMPLE_SEED = flags.DEFINE_integer("sample_seed", 0, "The seed of what is sampled or reconstructed.", 0, MAX_SEED)
ROW = flags.DEFINE_string("row", "", "Of a comparison, the only row to train.")
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Train together with the other processes of this TPU, GKE, SLURM or Open MPI job."
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "Of several processes: HOST:PORT of process 0.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Of several processes: how many there are.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Of several processes: which this is, from 0.")
DEBUG = flags.DEFINE_bool("debug", False, "Show tracebacks of errors.")


def main(argv: Sequence[str]) -> int:
    """Runs the mode asked for and returns the exit code."""
    if len(argv) > 1:
        raise UserError(f"{argv[1]!r} is no flag; flags look like --config=configs/ring.py")
    options = commands.Options(_config(), _workdir(), STEP.value, NUM.value, SAMPLE_SEED.value, ROW.value)
    given = processes.together(DISTRIBUTED.value, COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    if given is None:
        return _run(options, lambda: None)
    if MODE.value != "train":
        raise UserError(f"--mode {MODE.value} is the work of one process; several only train")
    return supervised(lambda tell: _reported(lambda: _run(options, lambda: processes.join(given, tell))), given)


def _run(options: commands.Options, join: Callable[[], None]) -> int:
    """Runs the mode asked for, after joining, and returns the exit code."""
    commands.pin(options)
    join()
    _find_devices()
    stopped_by = commands.COMMANDS[MODE.value](options)
    if stopped_by is None:
        return 0
    if processes.is_primary():
        command = shlex.join(["python", "-m", "veegan_jax.main", *sys.argv[1:]])
        print(f"stopped by {stopped_by}; the run is saved. To go on:\n  {command}", file=sys.stderr)
    return EXIT_STOPPED


def _find_devices() -> None:
    try:
        jax.local_devices()
    except Exception as error:  # RuntimeError, and AssertionError where a platform is known and not there
        given = " and ".join(
            f"{name} is {os.environ.get(name, '')!r}" for name in ("JAX_PLATFORMS", "JAX_NUM_CPU_DEVICES")
        )
        raise UserError(
            f"JAX finds no devices: {_first_line(error)}; {given}: set them right, or unset them"
        ) from error


def _show_warnings() -> None:
    """Our own warnings as one line each; what the libraries below log, and raise as well if it matters, not at all."""
    absl_logging.set_verbosity(absl_logging.FATAL)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    logger = logging.getLogger("veegan_jax")
    logger.handlers = [handler]  # the only one, also where a child has another stderr than its parent
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    sys.unraisablehook = _unraisable


def _unraisable(raised: "sys.UnraisableHookArgs") -> None:
    """Keeps to itself what Orbax's reads still print after one of them has failed, which is reported once already."""
    if str(raised.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(raised)


def _config() -> ConfigDict | None:
    config = CONFIG.value
    if isinstance(config, ConfigDict) or not flags.FLAGS["config"].present:
        return config
    raise UserError(f"--config {_config_file()}: get_config() returned {type(config).__name__}, not a ConfigDict")


def _config_file() -> str:
    return config_flags.get_config_filename(flags.FLAGS["config"])


def _workdir() -> Path:
    if WORKDIR.value:
        return Path(WORKDIR.value)
    if CONFIG.value is None:
        raise UserError("neither --config nor --workdir is given; try --config configs/ring.py")
    file, _, variant = _config_file().partition(":")
    path = Path(file).resolve()
    name = path.parent.name if path.name == "config.json" else path.stem
    return Path("runs") / "-".join(filter(None, (name, variant)))


def parse(argv: list[str]) -> tuple[ConfigDict | None, Path]:
    """The config and the workdir of a command line, for programs that start several runs."""
    _parse_flags(argv)
    return _config(), _workdir()


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line.

    Raises:
        UserError: for an unknown flag or field, a value of another type, or a config file that is absent or raises.
    """
    if (file := _given(argv, "config").partition(":")[0]).lower().endswith(".py"):
        sys.path.append(str(Path(file).resolve().parent.parent))  # a config may import its neighbours as configs.NAME
    try:
        remaining: list[str] = flags.FLAGS(argv)
        if CONFIG.value is not None:
            getattr(CONFIG.value, "lock", None)  # an absent file shows itself only when its config is used
        return remaining
    except UserError:
        raise
    except flags.UnrecognizedFlagError as error:
        raise UserError(_unrecognized(error.flagname)) from error
    except Exception as error:
        raise UserError(_explain(error, argv)) from error


def _unrecognized(name: str) -> str:
    if name.startswith("config."):
        return f"--{name} changes a field of --config, which is not given; try --config configs/ring.py"
    return f"--{name} is no flag; {suggestion(name, _flag_names())}"


def _flag_names() -> list[str]:
    module = flags.FLAGS.flags_by_module_dict()
    return [flag.name for flag in module.get(sys.argv[0], module.get(__name__, []))]


def _explain(error: Exception, argv: Sequence[str]) -> str:
    """One line for an error of parsing: where in the config file it was raised, or which flag is wrong."""
    given = _given(argv, "config")
    file = given.partition(":")[0]
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for cause in reversed(chain):
        if line := _line_in(file, cause):
            return f"{file}, {line}: {type(cause).__name__}: {_first_line(cause)}"
    if isinstance(error, OSError) and not Path(file).is_file():
        return f"--config {file}: there is no such file; see configs/"
    if match := re.match(r"flag --([\w.]+)=", str(error)):
        return f"--config {given}: {_first_line(chain[-1])}" if match[1] == "config" else _illegal(match[1], argv)
    if isinstance(error, AttributeError | KeyError):
        known = field_names(base_config())
        unknown = [name for name in _overrides(argv) if name not in known]
        if unknown:
            return f"config.{unknown[0]} is no field; {nearest(unknown[0])}"
    return _first_line(error) if isinstance(error, flags.Error) else f"--config {given}: {_first_line(error)}"


def _line_in(file: str, cause: BaseException) -> str:
    """The last line of a file that had to do with an error; empty if none had."""

    def within(name: str | None) -> bool:
        return bool(file and name) and Path(str(name)).resolve() == Path(file).resolve()

    if isinstance(cause, SyntaxError) and within(cause.filename):
        return f"line {cause.lineno}: {(cause.text or '').strip()}"
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if within(frame.filename)]
    return f"line {frames[-1].lineno}: {frames[-1].line}" if frames else ""


def _illegal(name: str, argv: Sequence[str]) -> str:
    """What is wrong with the value of a flag, and what would be right."""
    value, parser = _given(argv, name), flags.FLAGS[name].parser
    if name.startswith("config."):
        plain: Any = value
        for part in reversed(name.split(".")[1:]):
            plain = {part: plain}
        try:
            from_effective(plain)
        except UserError as error:
            return str(error)
    if isinstance(parser, flags.EnumParser):
        return f"--{name} is {value!r}; {suggestion(value, parser.enum_values)}"
    return f"--{name} is {value!r}; it must be {parser.syntactic_help or 'true or false'}"


def _overrides(argv: Sequence[str]) -> list[str]:
    return [
        arg.lstrip("-").split("=", 1)[0].removeprefix("config.")
        for arg in argv
        if arg.lstrip("-").startswith("config.")
    ]


def _given(argv: Sequence[str], flag: str) -> str:
    """The value of a flag, of which the last counts; empty if it is not given."""
    for arg, following in reversed(list(zip(argv, [*argv[1:], ""], strict=True))):
        name, equals, value = arg.lstrip("-").partition("=")
        if arg.startswith("-") and name == flag:
            return value if equals else following
    return ""


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _mendable(error: Exception) -> str:
    """What is wrong; empty if it is nothing that the user can mend."""
    full = any(words in str(error) for words in ("RESOURCE_EXHAUSTED", "Out of memory"))
    if isinstance(error, jax.errors.JaxRuntimeError) and not full:
        return ""
    if isinstance(error, MemoryError | jax.errors.JaxRuntimeError):
        return f"not enough memory: {_first_line(error)}; a smaller config.batch_size, model or --num takes less"
    return str(error)


def _reported(work: Callable[[], int]) -> int:
    """The exit code of some work; an error that the user can mend becomes one message and `EXIT_ERROR`."""
    debug = "--debug" in sys.argv
    _show_warnings()
    try:
        return work()
    except (UserError, OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        if debug or not (message := _mendable(error)):
            raise
        print(f"error: {message}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        if debug:
            raise
        print(
            "interrupted; steps since the last checkpoint are lost, the same command goes on from there",
            file=sys.stderr,
        )
        return 130


def run() -> None:
    """Entry point."""
    sys.exit(_reported(lambda: app.run(main, flags_parser=_parse_flags)))


if __name__ == "__main__":
    run()
