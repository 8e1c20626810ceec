"""Kills runs at random moments, some in a save, resumes them, and compares them with a run that is left alone.

python -m tests.soak.kill --trials 20

Prints one line for each trial, and exits with 1 if a run ends with other bits, rows or results than the run left alone.
"""

import argparse
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from veegan_jax.config.build import build
from veegan_jax.config.convert import from_effective
from veegan_jax.storage.checkpoint import read_checkpoint
from veegan_jax.storage.folder import stored_config
from veegan_jax.storage.logs import read_rows
from veegan_jax.train.compile import abstract_state

ROOT = Path(__file__).resolve().parents[2]
STEPS, SAVE_EVERY, LOG_EVERY = 2000, 100, 20
CONFIG = {
    "mlp.gen_hidden": (16, 16),
    "mlp.rec_hidden": (16, 16),
    "mlp.disc_hidden": (16,),
    "batch_size": 32,
    "steps_per_call": 10,
    "log_every": LOG_EVERY,
    "eval_every": 500,
    "eval_samples": 200,
    "num_steps": STEPS,
    "save_every": SAVE_EVERY,
}
KILLS = 3  # The largest number of kills of one run.


def main() -> None:
    """Prints a line for each trial and one at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="the seed of the moments")
    arguments = parser.parse_args()
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns of options that we set on purpose.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        finish(folder / "alone", folder)
        alone = outcome(folder / "alone")
        print(f"left alone: {len(alone['digests'])} arrays, {len(alone['rows'])} rows", flush=True)
        same = 0
        for trial in range(arguments.trials):
            workdir, rng = folder / str(trial), random.Random(f"{arguments.seed} {trial}")
            kills: list[str] = []
            while not kills:  # A run that ended before it was killed is not counted.
                shutil.rmtree(workdir, ignore_errors=True)
                moments = (kill(workdir, folder, rng, trial % 2 == 0) for _ in range(rng.randint(1, KILLS)))
                kills = [moment for moment in moments if moment]
            finish(workdir, folder)
            differing = [name for name, value in outcome(workdir).items() if value != alone[name]]
            same += not differing
            verdict = f"other {' and '.join(differing)}" if differing else "the same bits"
            print(f"trial {trial + 1}: killed {', '.join(kills)}: {verdict}", flush=True)
    print(f"{same} of {arguments.trials} runs end with the same bits")
    sys.exit(same < arguments.trials)


def start(workdir: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Starts or resumes the run in a process."""
    command = [sys.executable, "-m", "veegan_jax.main", f"--config={ROOT / 'configs' / 'ring.py'}"]
    overrides = [f"--config.{name}={value}" for name, value in CONFIG.items()]
    compiled = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [*command, *overrides, f"--workdir={workdir}"],
            env={"JAX_PLATFORMS": "cpu", **os.environ, **compiled, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )


def finish(workdir: Path, folder: Path) -> None:
    """Runs to the end, and exits if that fails."""
    if start(workdir, folder).wait():
        sys.exit(f"{workdir} did not finish:\n{(folder / 'log').read_text()}")


def kill(workdir: Path, folder: Path, rng: random.Random, in_save: bool) -> str:
    """Kills a run at a random moment, or in a random save; returns when, or an empty text if the run had ended."""
    left, process = unfinished(workdir), start(workdir, folder)
    if in_save:
        wait_for_save(process, workdir, rng.randint(1, STEPS // SAVE_EVERY // KILLS))
    else:
        number = rng.randint(len(read_rows(workdir)), STEPS // LOG_EVERY)
        while process.poll() is None and len(read_rows(workdir)) < number:
            time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.01))
    if process.poll() is not None:
        return ""
    process.kill()
    process.wait()
    rows = read_rows(workdir)
    return f"after step {rows[-1]['step'] if rows else 0}" + (" in a save" if unfinished(workdir) - left else "")


def unfinished(workdir: Path) -> set[str]:
    """Returns the saves that have begun and not ended."""
    return {path.name for path in (workdir / "checkpoints").glob("*tmp*")}


def wait_for_save(process: subprocess.Popen[bytes], workdir: Path, number: int) -> None:
    """Returns when save `number`, counted from now on, has begun, or when the process has ended."""
    before = unfinished(workdir)  # The last kill may have left some.
    while process.poll() is None and number:
        now = unfinished(workdir)
        number -= bool(now - before)
        before = now
        time.sleep(0.0005)


def outcome(workdir: Path) -> dict[str, Any]:
    """Returns what must not differ: the verified digests of all arrays, the rows without the speed, and the results."""
    experiment = build(from_effective(stored_config(workdir)))
    restored = read_checkpoint(experiment, workdir, abstract_state(experiment), STEPS)
    return {
        "digests": restored.meta["digests"],
        "rows": [{k: v for k, v in row.items() if k != "steps_per_second"} for row in read_rows(workdir)],
        "results": json.loads((workdir / "results.json").read_text()),
    }


if __name__ == "__main__":
    main()
