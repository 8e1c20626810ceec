"""The command line: its flags, and which mode they ask for. `--help` shows both.

    python -m veegan_jax.main --config ring [--config.FIELD=VALUE …] [--workdir FOLDER] [--mode MODE]

The flags are checked before JAX is imported, so that a wrong one is named at once.
"""

import contextlib
import faulthandler
import gc
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from veegan_jax.cli import config_file, explain, usage
from veegan_jax.cli.exit_codes import EXIT_ERROR, EXIT_STOPPED
from veegan_jax.cli.messages import reported
from veegan_jax.cli.streams import lost_output, open_streams
from veegan_jax.cli.supervise import run_supervised
from veegan_jax.errors import UserError, one_line, suggestion
from veegan_jax.parallel.process_group import ProcessGroup, Report, process_group
from veegan_jax.paths import local_path
from veegan_jax.version import __version__

# Settings of JAX that change no number, and the values by which they end no run: Adam of optax, for example, multiplies
# integers by floats, and whatever is computed is moved to the device.
LENIENT = {"jax_numpy_dtype_promotion": "standard", "jax_numpy_rank_promotion": "allow", "jax_transfer_guard": "allow"}
LENIENT |= {f"jax_transfer_guard_{way}": "allow" for way in ("host_to_device", "device_to_host", "device_to_device")}

# The flags of this program alone, without those that its libraries define.
FLAGS = flags.FlagValues()
FLAGS.set_gnu_getopt()

CONFIG = flags.DEFINE_string(
    "config",
    None,
    "The experiment: a config's name, as ring; a Python file, which is run; or fields as JSON, as a run's config.json. "
    "--config.FIELD=VALUE after it changes a field.",
    FLAGS,
)
PLUGIN = flags.DEFINE_multi_string(
    "plugin", [], "A module that adds methods, data, architectures or metrics; may be given several times.", FLAGS
)
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "The run's folder; when left out runs/NAME for configs/NAME.py or NAME.json, and for NAME/config.json.",
    FLAGS,
)
MODE = flags.DEFINE_enum("mode", "train", list(usage.MODES), "What to do.", FLAGS)
STEP = flags.DEFINE_string("step", "latest", "The checkpoint to use after training: latest, best or a step.", FLAGS)
NUM = flags.DEFINE_integer(
    "num",
    None,
    "How many examples to sample, reconstruct or encode, or ways to interpolate; when left out 64 (8 ways), or all of "
    "--inputs.",
    1,
    flag_values=FLAGS,
)
SAMPLE_SEED = flags.DEFINE_integer(
    "sample_seed", 0, "The seed of what is sampled or reconstructed.", 0, 2**32 - 1, FLAGS
)
REJECTION = flags.DEFINE_float(
    "rejection",
    None,
    "Of how many samples one is kept on average, by the ratio of the densities of data and model, as 1.25.",
    1.0,
    1000.0,
    flag_values=FLAGS,
)
REPLICA = flags.DEFINE_integer("replica", 0, "Which of several seeds to use, from 0.", 0, flag_values=FLAGS)
INPUTS = flags.DEFINE_string(
    "inputs",
    None,
    "The examples to use in place of held-out ones: a .npy or .npz file, an image file, or a folder of images.",
    FLAGS,
)
FRAMES = flags.DEFINE_integer("frames", 8, "How many samples along each interpolation.", 2, flag_values=FLAGS)
OUTDIR = flags.DEFINE_string("outdir", None, "The folder of what is written; when left out the workdir.", FLAGS)
BESIDE = flags.DEFINE_multi_string(
    "beside", [], "The folder of another run to show beside the run; may be given several times.", FLAGS
)
REPORT = flags.DEFINE_bool("report", True, "Write report.html when a run is finished; --report=false does not.", FLAGS)
FORMAT = flags.DEFINE_list(
    "format", ["npz"], "How arrays are written, one or more of npz, npy and png, as png,npz.", flag_values=FLAGS
)
SAMPLES = flags.DEFINE_string(
    "samples", None, "The samples to score: a .npy or .npz file, or a folder of images, that any program made.", FLAGS
)
REFERENCE = flags.DEFINE_string(
    "reference",
    None,
    "The real data to score samples against, in place of --config: a name, as ring; a .npy or .npz file; or a folder.",
    FLAGS,
)
ROW = flags.DEFINE_string("row", "", "The only row of a comparison to train.", FLAGS)
TABLE = flags.DEFINE_integer(
    "table", None, "The table of the paper to reproduce, 1 or 2, in place of --config.", 1, max(usage.TABLES), FLAGS
)
BUDGET = flags.DEFINE_float("budget", 1.0, "The factor on the steps of what is reproduced.", 0, flag_values=FLAGS)
CELLS = flags.DEFINE_string(
    "cells",
    None,
    "The folder of finished cells; when left out docs/results/cells if that is there, and else the workdir.",
    FLAGS,
)
TOGETHER = flags.DEFINE_bool(
    "together", False, "Train all seeds of a row at once, as one cell, which small networks on a GPU want.", FLAGS
)
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Train together with the other processes of this TPU, GKE, SLURM or Open MPI job.", FLAGS
)
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "Where process 0 of several listens, or JAX_COORDINATOR_ADDRESS.", FLAGS
)
NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "The number of processes, or JAX_NUM_PROCESSES.", flag_values=FLAGS
)
PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "The number of this process, from 0, or JAX_PROCESS_ID.", flag_values=FLAGS
)
HEARTBEAT_SECONDS = flags.DEFINE_integer(
    "heartbeat_seconds", 20, "How long one of several processes may be silent before it counts as dead.", 1, None, FLAGS
)
DEBUG = flags.DEFINE_bool("debug", False, "Show tracebacks of errors.", FLAGS)
VERSION = flags.DEFINE_bool("version", False, "Print the version, and exit.", FLAGS)
HELP = flags.DEFINE_bool("help", False, "Print this text, and exit.", FLAGS)
HELP_CONFIG = flags.DEFINE_flag(
    usage.OptionalTextFlag("help_config", "Explain a field or a section of the config, or all of them, and exit."),
    FLAGS,
)


def run() -> None:
    """Runs the program and exits: the entry point."""
    open_streams()
    faulthandler.enable()
    # JAX makes a million objects while it is imported and traces, almost all of which stay. Python would look through
    # them for garbage again and again, which takes up to a sixth of the time until the first result.
    gc.set_threshold(100_000, 50, 100)
    _prefer_packages()
    code = reported(lambda: main(sys.argv))
    if code == 0 and (why := lost_output()):
        print(f"error: what was printed could not be written: {why}", file=sys.stderr)
        code = EXIT_ERROR
    sys.exit(code)


def _prefer_packages() -> None:
    """Lets Python find packages before the files of the current folder, which `python -m` puts before all others.

    A file jax.py or a folder numpy of the user would otherwise take the place of the package.
    """
    with contextlib.suppress(FileNotFoundError):  # The current folder may be deleted.
        if sys.path and sys.path[0] in ("", os.getcwd()):
            sys.path.append(sys.path.pop(0))


def main(argv: Sequence[str]) -> int:
    """Does what a command line asks for, and returns the exit code.

    Raises:
        UserError: if a flag, a field or a file is wrong.
    """
    rest = _parse_flags(argv)
    if (text := _information(rest)) is not None:
        print(text)
        return 0
    explain.check_rest(rest, FLAGS)
    _check_modes_of_flags()
    _check_score_flags()
    _check_reproduce_flags()
    _check_values()
    given = ProcessGroup(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value, HEARTBEAT_SECONDS.value)
    group = process_group(DISTRIBUTED.value, given)
    if group is None:
        return _run(argv, rest, lambda: None)
    if MODE.value != "train":
        raise UserError(f"--mode {MODE.value} is the work of one process; several only train")

    def join(report: Report) -> None:
        from veegan_jax.parallel import processes

        processes.join(group, report)

    return run_supervised(lambda report: reported(lambda: _run(argv, rest, lambda: join(report))), group)


def _check_modes_of_flags() -> None:
    """Checks that no flag is given that the mode does not know."""
    for name, modes in usage.FLAG_MODES.items():
        if FLAGS[name].value != FLAGS[name].default and MODE.value not in modes:
            known = " or ".join(filter(None, (", ".join(modes[:-1]), modes[-1])))
            raise UserError(f"--{name} is for --mode {known}, and --mode is {MODE.value}")


def _check_score_flags() -> None:
    """Checks that samples are given if they are scored, with one description of the real data."""
    if MODE.value != "score":
        return
    if SAMPLES.value is None:
        raise UserError("--mode score needs --samples FILE, the samples to score")
    if (REFERENCE.value is None) == (CONFIG.value is None and WORKDIR.value is None):
        raise UserError("--mode score needs either --reference DATA or --config CONFIG, the real data")


def _check_reproduce_flags() -> None:
    """Checks that what is reproduced is named once."""
    if MODE.value != "reproduce":
        return
    if (TABLE.value is None) == (CONFIG.value is None):
        raise UserError("--mode reproduce needs either --table N or --config CONFIG, what is computed")
    if BUDGET.value <= 0:
        raise UserError(f"--budget is {BUDGET.value:g}; it must be more than 0, as 0.1 for a tenth of the steps")


def _check_values() -> None:
    """Checks the values that absl does not check: numbers that are not finite, and the items of a list."""
    if REJECTION.value is not None and not 1 <= REJECTION.value <= 1000:
        raise UserError(f"--rejection is {REJECTION.value:g}; it must be {FLAGS['rejection'].parser.syntactic_help}")
    for item in FORMAT.value or [""]:
        if item not in usage.FORMATS:
            raise UserError(f"--format is {','.join(FORMAT.value)!r}; {suggestion(item, usage.FORMATS)}")


def parse(argv: Sequence[str]) -> tuple[ConfigDict | None, Path]:
    """Returns the config and the workdir of a command line, for programs that start several runs.

    Raises:
        UserError: if a flag, a field or a file is wrong.
    """
    rest = _parse_flags(argv)
    explain.check_rest(rest, FLAGS)
    return _config_and_workdir(argv, rest)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the flags, and returns the arguments that are none of them, as the fields of the config."""
    try:
        return FLAGS(argv, known_only=True)[1:]
    except Exception as error:
        raise UserError(explain.wrong_flag(error, FLAGS, argv)) from error


def _information(rest: Sequence[str]) -> str | None:
    """Returns what is printed instead of running anything; None if nothing of the kind is asked for."""
    if HELP.value:
        return usage.text(FLAGS)
    if VERSION.value:
        return f"veegan-jax {__version__}"
    if HELP_CONFIG.value is None:
        return None
    names = [name for name in (HELP_CONFIG.value, *rest) if name]
    if len(names) > 1:
        raise UserError(explain.stray_argument(names[1]))
    _import_jax()
    from veegan_jax.config.help import describe

    return describe("".join(names))


def _config_and_workdir(argv: Sequence[str], rest: Sequence[str]) -> tuple[ConfigDict | None, Path]:
    workdir = None if WORKDIR.value is None else local_path(WORKDIR.value, "--workdir")
    if MODE.value == "reproduce":
        workdir = workdir or Path("runs") / "reproduce"
    if CONFIG.value is None:
        if workdir or REFERENCE.value is not None:
            return None, workdir or Path()
        raise UserError("neither --config nor --workdir is given; try --config ring")
    file = config_file.find(CONFIG.value)
    _import_jax()
    from veegan_jax.config.plugins import joined, load_plugins

    load_plugins(joined(PLUGIN.value))
    config = config_file.read(file, rest, argv)
    config.plugins = joined([*PLUGIN.value, config.plugins])
    return config, workdir or config_file.usual_workdir(file)


def _comparisons(config: ConfigDict | None) -> dict[str, ConfigDict]:
    """Returns what --mode reproduce computes: configs, by the names that their runs' folders usually have."""
    if MODE.value != "reproduce":
        return {}
    if config is not None and CONFIG.value is not None:
        return {config_file.usual_workdir(config_file.find(CONFIG.value)).name: config}
    files = [config_file.find(name) for name in usage.TABLES[TABLE.value or 1]]
    return {config_file.usual_workdir(file).name: config_file.read(file, [], []) for file in files}


def _run(argv: Sequence[str], rest: Sequence[str], join: Callable[[], None]) -> int:
    """Does what the mode asks for, after joining the other processes, and returns the exit code."""
    config, workdir = _config_and_workdir(argv, rest)
    _import_jax()
    from veegan_jax.cli import commands
    from veegan_jax.cli.options import Options
    from veegan_jax.parallel import processes
    from veegan_jax.storage.caches import keep_programs

    options = Options(
        mode=MODE.value,
        config=config,
        workdir=workdir,
        step=STEP.value,
        num=NUM.value,
        seed=SAMPLE_SEED.value,
        row=ROW.value,
        samples=SAMPLES.value,
        reference=REFERENCE.value,
        comparisons=_comparisons(config),
        table=TABLE.value,
        budget=BUDGET.value,
        cells=CELLS.value,
        together=TOGETHER.value,
        rejection=REJECTION.value,
        outdir=OUTDIR.value,
        formats=tuple(dict.fromkeys(FORMAT.value)),
        inputs=INPUTS.value,
        replica=REPLICA.value,
        frames=FRAMES.value,
        beside=tuple(BESIDE.value),
        report=REPORT.value,
    )
    commands.set_environment(options)
    keep_programs()
    join()
    _find_devices()
    stopped_by = commands.COMMANDS[options.mode](options)
    if stopped_by is None:
        return 0
    if processes.is_primary():
        command = shlex.join([*usage.PROGRAM.split(), *argv[1:]])
        print(f"stopped by {stopped_by}; the run is saved. To resume:\n  {command}", file=sys.stderr)
    return EXIT_STOPPED


def _import_jax() -> None:
    """Imports JAX, without the checks of other people's code that variables of the environment may ask for.

    Raises:
        UserError: if a variable of the environment, which JAX reads as it is imported, has a wrong value.
    """
    try:
        import jax
    except ValueError as error:
        raise UserError(f"{error}; it is a variable of the environment: set it right, or unset it") from error
    for name, lenient in LENIENT.items():
        if name.upper() in os.environ:
            jax.config.update(name, lenient)


def _find_devices() -> None:
    import jax

    try:
        jax.local_devices()
    except Exception as error:  # RuntimeError, or AssertionError where JAX knows a platform that is not there
        given = " and ".join(
            f"{name} is {os.environ.get(name, '')!r}" for name in ("JAX_PLATFORMS", "JAX_NUM_CPU_DEVICES")
        )
        raise UserError(f"JAX finds no devices: {one_line(error)}; {given}: set them right, or unset them") from error


if __name__ == "__main__":
    run()
