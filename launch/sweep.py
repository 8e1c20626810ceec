"""Trains the rows of a comparison side by side: as processes of this machine, a SLURM array or a Kubernetes job.

    python -m launch.sweep --config configs/compare.py:grid
    python -m launch.sweep --config configs/compare.py:grid --slurm='--gpus-per-node=1 --time=2:00:00'
    python -m launch.sweep --config configs/compare.py:grid --kubernetes='grid --image=IMAGE --claim=runs --gpus=1'

All other arguments go to veegan_jax.main, as --workdir and --config.FIELD. A row is trained with all its seeds, in the
folder where the comparison itself would train it, to the same bits. On this machine one row is trained on each core of
its CPU, or on each GPU of CUDA_VISIBLE_DEVICES, unless --local=N says how many at once. Rows that are finished are
skipped, and interrupted rows are resumed.
At the end the comparison's own command reads all rows and writes the table.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from veegan_jax import main as command_line
from veegan_jax.cli.exit_codes import EXIT_ERROR, EXIT_STOPPED
from veegan_jax.config.convert import comparison
from veegan_jax.errors import UserError
from veegan_jax.experiments.cells import finished
from veegan_jax.parallel.cores import num_cpus

MAIN = [sys.executable, "-m", "veegan_jax.main"]
# The variables in which SLURM and Kubernetes tell an element of a job its number, which is that of its row.
INDICES = ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX")


class Cell(NamedTuple):
    """A row of the comparison: its number, its name, the file for its output, and whether the row is finished."""

    number: int
    name: str
    log: Path
    done: bool


def main(argv: Sequence[str]) -> int:
    """Does what the command line asks for, and returns the exit code."""
    options, rest = _parser().parse_known_args(argv)
    command = ["--config", options.config, *rest]
    config, workdir = command_line.parse(["sweep", *command])
    rows = comparison(config) if config else {}
    if not rows:
        raise UserError(f"--config {options.config} compares nothing; try configs/compare.py:grid")
    cells = [
        Cell(i, name, workdir / "logs" / f"{name}.log", finished(workdir / name, row) is not None)
        for i, (name, row) in enumerate(rows.items())
    ]
    if (index := _index(options)) is not None:
        return _run_one(cells, index, command, options.dry_run)
    if options.slurm is not None:
        todo = ",".join(str(cell.number) for cell in cells if not cell.done)
        array = ["sbatch", f"--array={todo}", *options.slurm, "launch/slurm.sbatch", options.config, *rest]
        return _submit(array if todo else [], [*MAIN, *command], options.dry_run)
    if options.kubernetes is not None:
        name, *flags = options.kubernetes or [""]
        k8s, run = [sys.executable, "-m", "launch.k8s"], ["--workdir", f"/runs/{name}", *rest]
        job = [*k8s, "sweep", name, options.config, f"--cells={len(cells)}", *flags, *rest]
        table = [*k8s, "gpu", f"{name}-table", options.config, "--hosts=1", "--gpus=0", *flags, *run]
        return _submit(job, table, options.dry_run)
    return _run_local(cells, command, options.local or _usual_workers(), options.dry_run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m launch.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, help="a comparison, as configs/compare.py:grid")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--local",
        type=_positive,
        nargs="?",
        const=0,
        metavar="N",
        help="train on this machine, N rows at once; by default one on each core of a CPU or on each GPU",
    )
    where.add_argument(
        "--slurm",
        type=shlex.split,
        nargs="?",
        const=[],
        metavar="FLAGS",
        help="submit a SLURM array; FLAGS are sbatch's",
    )
    where.add_argument(
        "--kubernetes",
        type=shlex.split,
        metavar="'NAME FLAGS'",
        help="submit an indexed job; NAME is the job's, FLAGS are launch.k8s's",
    )
    where.add_argument(
        "--cell", type=int, metavar="I", help=f"train row number I alone; by default {' or '.join(INDICES)}"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands instead")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _usual_workers() -> int:
    """Returns how many rows keep this machine busy: its cores, or where it has an accelerator the GPUs that are named.

    A row's own threads hardly use a second core, and less so while it compiles and measures.
    """
    # Another process asks, since JAX would keep the memory of a GPU from the rows.
    ask = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    if subprocess.run(ask, check=False, capture_output=True, text=True).stdout.strip() == "cpu":
        return num_cpus()
    return len(_gpus())


def _index(options: argparse.Namespace) -> int | None:
    """Returns the row that --cell or, without any such option, the environment of a job asks for; None for all rows."""
    found = [os.environ[name] for name in INDICES if name in os.environ]
    if options.cell is None and found and (options.local, options.slurm, options.kubernetes) == (None, None, None):
        return int(found[0])
    return options.cell


def _run_one(cells: Sequence[Cell], index: int, command: Sequence[str], dry_run: bool) -> int:
    """Replaces this process by that of one row, so that signals and the exit code are the row's own."""
    if not 0 <= index < len(cells):
        raise UserError(f"row {index} is none of the comparison's {len(cells)}, 0 to {len(cells) - 1}")
    process = _train(cells[index], command)
    if not dry_run:
        os.execv(process[0], process)
    _show(process)
    return 0


def _train(cell: Cell, command: Sequence[str]) -> list[str]:
    return [*MAIN, *command, "--row", cell.name]


def _show(process: Sequence[str]) -> None:
    print("+ " + shlex.join(process), flush=True)


def _submit(process: Sequence[str], table: Sequence[str], dry_run: bool) -> int:
    """Hands the rows to a scheduler, and prints the command by which a person gets the table in the end."""
    if process:
        _show(process)
    code = subprocess.run(process, check=False).returncode if process and not dry_run else 0
    if code == 0:
        print(f"when all rows are finished, for the table:\n  {shlex.join(table)}")
    return code


def _run_local(cells: Sequence[Cell], command: Sequence[str], workers: int, dry_run: bool) -> int:
    todo = [cell for cell in cells if not cell.done]
    for cell in cells:
        if cell.done:
            print(f"{cell.name}: finished before", flush=True)
    if dry_run:
        for cell in todo:
            _show(_train(cell, command))
        _show([*MAIN, *command])
        return 0
    pool = Pool(command, workers)
    failed = pool.run(todo)
    if failed:
        print(f"\n{len(failed)} of {len(cells)} rows failed; the same command tries them again:", file=sys.stderr)
        for cell, reason in failed:
            print(f"  {cell.name}: {reason} ({cell.log})", file=sys.stderr)
        return EXIT_ERROR
    if pool.stopped:
        print("stopped; the rows are saved, and the same command resumes them", file=sys.stderr)
        return EXIT_STOPPED
    return subprocess.run([*MAIN, *command], check=False).returncode


class Pool:
    """Trains rows, some at a time. After SIGTERM or Ctrl-C, which are passed on to the rows, no more are started.

    Attributes:
        stopped: whether a signal has come.
    """

    def __init__(self, command: Sequence[str], workers: int):
        self._command, self._slots = command, list(range(workers))
        self._running: dict[Cell, tuple[int, subprocess.Popen[bytes]]] = {}
        self.stopped = False

    def run(self, cells: Sequence[Cell]) -> list[tuple[Cell, str]]:
        """Trains the rows, and returns those that failed, each with its reason."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        waiting, failed = list(cells), []
        while self._running or (waiting and not self.stopped):
            while waiting and self._slots and not self.stopped:
                self._start(waiting.pop(0))
            time.sleep(0.1)
            for cell, (slot, process) in list(self._running.items()):
                if (code := process.poll()) is not None:
                    del self._running[cell]
                    self._slots.append(slot)
                    if code == 0:
                        print(f"{cell.name}: done", flush=True)
                    elif self.stopped and code in (EXIT_STOPPED, -signal.SIGTERM):
                        pass  # SIGTERM ends a row that does not train yet, or no longer does: there is nothing to save.
                    elif code == EXIT_STOPPED:
                        waiting.append(cell)  # somebody stopped this row alone
                    else:
                        failed.append((cell, _reason(cell, code)))
                        print(f"{cell.name}: failed", flush=True)
        return failed

    def _start(self, cell: Cell) -> None:
        slot = self._slots.pop(0)
        cell.log.parent.mkdir(parents=True, exist_ok=True)
        print(f"{cell.name}: started, {cell.log}", flush=True)
        with cell.log.open("ab") as log:
            # The row gets a session of its own, so that a terminal's Ctrl-C reaches this process alone, which passes it
            # on once.
            process = subprocess.Popen(
                _train(cell, self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
                env={**os.environ, **_devices(slot)},
            )
        self._running[cell] = slot, process
        if self.stopped:  # The signal came while the row was being started, and did not reach it.
            process.terminate()

    def _stop(self, number: int, frame: Any) -> None:
        self.stopped = True
        for _, process in self._running.values():
            process.terminate()


def _devices(slot: int) -> dict[str, str]:
    """Returns the variables that give a process one of CUDA_VISIBLE_DEVICES=0,1,…; without these all see all GPUs."""
    gpus = _gpus()
    return {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if len(gpus) > 1 else {}


def _gpus() -> list[str]:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")


def _end_with_parent() -> None:
    """Lets Linux send this process a SIGTERM when its parent has ended, even if the parent was killed."""
    if sys.platform == "linux":
        import ctypes

        parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGTERM)


def _reason(cell: Cell, code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = [line for line in cell.log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return f"exit code {code}: {(errors or lines or ['no output'])[-1].removeprefix('error: ')}"


def run() -> None:
    """Runs the program and exits."""
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_ERROR)


if __name__ == "__main__":
    run()
