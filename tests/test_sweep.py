"""Sweeps: the rows of a comparison as processes that are stopped, killed, resumed, and read as one table."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers import ROOT

ROWS = {"gan": {"objective": "gan"}, "veegan": {}, "wide": {"objective": "gan", "mlp": {"gen_hidden": (16,)}}}
CONFIG = """
from ml_collections import ConfigDict

from veegan_jax.config.fields import base_config


def get_config():
    c = base_config()
    c.data = "ring"
    c.latent_dim = 2
    c.mlp.gen_hidden = c.mlp.rec_hidden = c.mlp.disc_hidden = (8,)
    c.batch_size, c.eval_samples, c.devices = 16, 64, 1
    c.num_steps = c.eval_every = 800
    c.steps_per_call = c.log_every = c.save_every = 20
    with c.unlocked():
        c.compare = ConfigDict({rows})
    return c
"""


@pytest.fixture
def config(tmp_path):
    return write(tmp_path, ROWS)


def write(folder, rows):
    path = folder / "tiny.py"
    path.write_text(CONFIG.replace("{rows}", repr(rows)))
    return path


def environment(**more):
    inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return {**inherited, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **more}


@pytest.fixture
def call(fork_server, tmp_path):
    """Runs a sweep, or another module, in a fork; the rows that a sweep starts are processes of their own."""

    def run(config, workdir, *arguments, module="launch.sweep", **more):
        given = [f"--config={config}", f"--workdir={workdir}", *arguments]
        return fork_server(module, given, cwd=tmp_path, env=environment(**more))

    return run


@contextmanager
def started(config, workdir, *arguments):
    command = [sys.executable, "-m", "launch.sweep", f"--config={config}", f"--workdir={workdir}", *arguments]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def shown(result):
    assert result.returncode == 0, result.stderr
    return [shlex.split(line[2:]) for line in result.stdout.splitlines() if line.startswith("+ ")]


def steps(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").glob("*") if path.name.isdigit())


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow  # Twelve real processes: only here are the rows of a sweep stopped and killed.
def test_a_sweep_that_is_stopped_and_killed_resumes_to_the_table_of_the_comparison(call, config, tmp_path):
    workdir = tmp_path / "sweep"
    # The sweep is stopped while it trains two rows at once: both are saved, and no other is started.
    with started(config, workdir, "--local=2") as process:
        wait_for(lambda: steps(workdir / "gan") and steps(workdir / "veegan"))
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "the same command resumes them" in errors
    assert not (workdir / "wide").exists()
    saved = {row: steps(workdir / row)[-1] for row in ("gan", "veegan")}

    # The sweep is killed: the rows that it had started save and end.
    with started(config, workdir, "--local=2") as process:
        wait_for(lambda: steps(workdir / "wide"))
        rows = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        assert rows
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in rows))

    whole = call(config, workdir, "--local=2")
    assert whole.returncode == 0, whole.stderr
    for row, step in saved.items():
        log = (workdir / "logs" / f"{row}.log").read_text()
        assert step == 800 or f"resuming at step {step}," in log
    assert re.search(r"\nwide +\d", whole.stdout)

    # The rows have the bits that the comparison alone would have given them.
    alone = call(config, tmp_path / "alone", module="veegan_jax.main")
    assert alone.returncode == 0, alone.stderr
    assert json.loads((workdir / "results.json").read_text()) == json.loads(
        (tmp_path / "alone" / "results.json").read_text()
    )

    again = call(config, workdir, "--dry-run")
    assert again.stdout.count("finished before") == 3
    assert [line[1:3] for line in shown(again)] == [["-m", "veegan_jax.main"]]  # the table alone


def test_a_sweep_that_is_stopped_before_its_rows_train_names_no_row_as_failed(config, tmp_path):
    workdir = tmp_path / "sweep"
    with started(config, workdir, "--local=2") as process:
        wait_for(lambda: (workdir / "logs" / "veegan.log").exists())
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, "failed" in errors) == (75, False), errors
    assert not list(workdir.glob("*/checkpoints"))


def test_rows_that_fail_are_named_with_reason_and_log_and_the_others_are_trained(call, tmp_path):
    workdir = tmp_path / "sweep"
    config = write(tmp_path, {"bad": {"batch_size": -1}, "good": {"num_steps": 20, "eval_every": 20}})
    result = call(config, workdir, "--local=2")
    assert result.returncode == 2
    log = workdir / "logs" / "bad.log"
    assert f"  bad: exit code 2: config.batch_size is -1; it must be at least 1 ({log})\n" in result.stderr
    assert "good: done" in result.stdout
    assert (workdir / "good" / "results.json").exists()
    assert not (workdir / "results.json").exists()


def test_one_row_is_chosen_by_an_option_or_by_the_index_of_a_job(call, config, tmp_path):
    by_option = shown(call(config, tmp_path / "w", "--cell=1", "--dry-run", "--config.seed=3"))
    assert by_option[0][-3:] == ["--config.seed=3", "--row", "veegan"]
    assert len(by_option) == 1
    (of_slurm,) = shown(call(config, tmp_path / "w", "--dry-run", SLURM_ARRAY_TASK_ID="0"))
    assert of_slurm[-1] == "gan"
    (of_kubernetes,) = shown(call(config, tmp_path / "w", "--dry-run", JOB_COMPLETION_INDEX="2"))
    assert of_kubernetes[-1] == "wide"


def test_schedulers_are_given_the_rows(call, fork_server, config, tmp_path):
    awkward = "--config.images.path=a 'b'"
    slurm = call(config, tmp_path / "w", "--slurm=--time=60 --gpus-per-node=1", "--dry-run", awkward)
    rest = [f"--workdir={tmp_path / 'w'}", awkward]
    array = ["sbatch", "--array=0,1,2", "--time=60", "--gpus-per-node=1", "launch/slurm.sbatch", str(config), *rest]
    assert shown(slurm) == [array]
    assert "veegan_jax.main --config" in slurm.stdout.splitlines()[-1]

    place = "--image=registry/image --claim=runs"
    given = ["--config", config, f"--kubernetes=mine {place}", "--dry-run"]
    kubernetes = fork_server("launch.sweep", given, cwd=tmp_path, env=environment())
    (job,) = shown(kubernetes)
    assert job[1:] == ["-m", "launch.k8s", "sweep", "mine", str(config), "--cells=3", *place.split()]
    for line in (shlex.join(job), kubernetes.stdout.splitlines()[-1]):
        _, _, module, *given = shlex.split(line)
        manifest = fork_server(module, [*given, "--dry-run"], cwd=tmp_path, env=environment())
        assert manifest.returncode == 0, manifest.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cell=3"], "error: row 3 is none of the comparison's 3, 0 to 2"),
        (["--local=0"], "'0' is not a positive number"),
        (["--config.batchsize=3"], "config.batchsize is no field"),
    ],
)
def test_wrong_options_are_named(call, config, tmp_path, arguments, message):
    result = call(config, tmp_path / "w", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "w").exists()


def test_a_config_that_compares_nothing_is_refused(call, tmp_path):
    result = call(ROOT / "configs" / "ring.py", tmp_path / "w")
    assert result.returncode == 2
    assert "compares nothing; try configs/compare.py:grid" in result.stderr
