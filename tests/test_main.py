"""The command line: train, stop, resume, measure.

Commands run in forks of a process that has imported the project, but for those that are killed or stopped by a signal,
whose disk is full, or that may not use programs that others compiled: these are processes of their own.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

import veegan_jax
from tests.fork_server import ForkServer
from tests.helpers import ROOT, slow
from veegan_jax.config.build import build
from veegan_jax.config.convert import from_effective
from veegan_jax.storage.checkpoint import read_checkpoint
from veegan_jax.storage.folder import stored_config
from veegan_jax.train.compile import abstract_state

SMALL = [
    "--config.mlp.gen_hidden=(16, 16)",
    "--config.mlp.rec_hidden=(16, 16)",
    "--config.mlp.disc_hidden=(16,)",
    "--config.batch_size=32",
    "--config.steps_per_call=10",
    "--config.log_every=20",
    "--config.eval_every=100",
    "--config.eval_samples=200",
    "--noreport",
]


def command(*arguments, config="ring"):
    chosen = [] if config is None else [f"--config={ROOT / 'configs' / config}.py"]
    return [sys.executable, "-m", "veegan_jax.main", *chosen, *arguments]


def environment(*, cache=True):
    """Returns the environment of a user's process, which may use programs that others compiled."""
    ours = {"XLA_FLAGS"} if cache else {"XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    return {**inherited, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def _fork_server(tmp_path_factory):
    """Lets `call` fork: importing takes half of the time of a small run."""
    with closing(ForkServer(tmp_path_factory.mktemp("forks"), environment())) as server:
        call.server = server
        yield


def call(*arguments, config="ring", cwd=None, cache=True, prefix=()):
    """Runs a command, in a fork if it may use the programs in the cache, and else in a process of its own."""
    if cache:
        _, _, module, *given = command(*arguments, config=config)
        return call.server(module, given, cwd=cwd or Path.cwd(), env=environment())
    return subprocess.run(
        [*prefix, *command(*arguments, config=config)],
        capture_output=True,
        text=True,
        env=environment(cache=False),
        cwd=cwd,
        timeout=300,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def train(workdir, *arguments, steps=200, every=50, **options):
    sizes = (f"--config.num_steps={steps}", f"--config.save_every={every}")
    return call(*SMALL, *sizes, f"--workdir={workdir}", *arguments, **options)


def checkpoint(workdir, step):
    experiment = build(from_effective(stored_config(workdir)))
    return read_checkpoint(experiment, workdir, abstract_state(experiment), step)


def saved_steps(workdir):
    """The steps of whole checkpoints: Orbax gives a folder its number last."""
    return sorted(int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal())


def digests(workdir, step):
    """The digests of every array of a checkpoint: two runs have the same exactly if they have the same bits."""
    return checkpoint(workdir, step).meta["digests"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    workdir = tmp_path_factory.mktemp("whole")
    result = train(workdir)
    assert result.returncode == 0, result.stderr
    return workdir, result


def test_training_shows_and_writes_everything(whole):
    workdir, result = whole
    assert re.search(r"step 100/200  [\d.]+ steps/s  \d\d:\d\d left  d .*  disc .*  gen ", result.stderr)
    assert re.search(r"step 100: modes ↑ \d, \(K\+1\)-bin KL \(nats\) ↓ ", result.stderr)
    assert "examples [2] from" in result.stderr
    for row in ("veegan, step 200", "real data"):
        assert f"\n{row} " in result.stdout
        assert f"\n| {row} " in (workdir / "results.md").read_text()
    assert result.stdout.splitlines()[-1].endswith(f": {workdir}/results.md")
    assert "veegan (paper)" in (workdir / "results.md").read_text()
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(20, 201, 20))
    assert {"loss/disc", "loss/gen", "d", "modes", "kl", "prior_gap", "reconstruction"} <= set(rows[-1])
    assert json.loads((workdir / "config.json").read_text())["num_steps"] == 200
    for name in ("samples_00000100", "samples_00000200", "samples_over_time", "reconstructions", "curves"):
        assert (workdir / "pictures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert list((workdir / "tensorboard").glob("events.*"))
    results = json.loads((workdir / "results.json").read_text())
    assert results["real"]["modes"] == 8
    assert results["step"] == 200


def test_tensorboard_events_read_back(whole):
    from tensorboardX.proto import event_pb2
    from tensorboardX.record_writer import RecordWriter  # noqa: F401  # the format's own package writes and reads

    (events,) = (whole[0] / "tensorboard").glob("events.*")
    data, found, position = events.read_bytes(), [], 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 8], "little")
        event = event_pb2.Event.FromString(data[position + 12 : position + 12 + length])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        position += 16 + length
    rows = [json.loads(line) for line in (whole[0] / "metrics.jsonl").read_text().splitlines()]
    scalars = {(step, tag): value for step, tag, value in found if tag == "losses/gen"}
    assert scalars == {(row["step"], "losses/gen"): pytest.approx(row["loss/gen"], rel=1e-6) for row in rows}


@pytest.mark.parametrize("steps_per_call", [slow(1), 10, slow(50)])
def test_same_bits_rerun_and_however_steps_are_fused(whole, tmp_path, steps_per_call):
    result = train(tmp_path, f"--config.steps_per_call={steps_per_call}", cache=False)
    assert result.returncode == 0, result.stderr
    assert digests(tmp_path, 200) == digests(whole[0], 200)


def test_finished_run_is_left_as_it_is(whole):
    workdir, _ = whole
    before = digests(workdir, 200)
    result = train(workdir)
    assert result.returncode == 0, result.stderr
    assert "resuming at step 200" in result.stderr
    assert "veegan, step 200" in result.stdout
    assert digests(workdir, 200) == before


STEPS = 2000
LONG = ("--config.eval_every=500", f"--config.num_steps={STEPS}", "--config.save_every=500")


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("long")
    result = finish(workdir)
    assert result.returncode == 0, result.stderr
    return workdir


def finish(workdir):
    return call(*SMALL, *LONG, f"--workdir={workdir}")


def start(workdir):
    return subprocess.Popen(
        command(*SMALL, *LONG, f"--workdir={workdir}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        stdin=subprocess.DEVNULL,
    )


def wait_for_step(process, step):
    """Reads the log until it is past `step`."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if (match := re.match(r"step (\d+)/", line)) and int(match[1]) >= step:
            return
    pytest.fail(f"never came to step {step}: {lines}")


@pytest.mark.parametrize("number", [signal.SIGTERM, slow(signal.SIGINT)])
def test_stopped_by_a_signal_and_resumed(long_run, tmp_path, number):
    process = start(tmp_path)
    wait_for_step(process, 700)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 75, stderr
    assert f"{signal.Signals(number).name}: stopping after the call in progress, of at most " in stderr
    assert f"stopped by {signal.Signals(number).name}; the run is saved. To resume:" in stderr
    assert f"--workdir={tmp_path}" in stderr
    assert "Traceback" not in stderr
    saved = saved_steps(tmp_path)[-1]
    assert 700 <= saved < STEPS
    result = finish(tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"resuming at step {saved:,}" in result.stderr
    assert digests(tmp_path, STEPS) == digests(long_run, STEPS)
    assert_rows_are_whole(tmp_path, long_run)


def assert_rows_are_whole(workdir, reference):
    """One row for each step, none torn or doubled, and the same numbers but for the speed."""

    def rows(folder):
        read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{name: value for name, value in row.items() if name != "steps_per_second"} for row in read]

    assert rows(workdir) == rows(reference)


@pytest.mark.slow  # Kills at moments that the tests of a kill in a save, in measuring and in drawing do not choose.
@pytest.mark.parametrize("after", [40, 620, 1500])
def test_killed_and_resumed(long_run, tmp_path, after):
    process = start(tmp_path)
    wait_for_step(process, after)
    process.kill()
    process.communicate(timeout=60)
    result = finish(tmp_path)
    assert result.returncode == 0, result.stderr
    assert digests(tmp_path, STEPS) == digests(long_run, STEPS)
    assert_rows_are_whole(tmp_path, long_run)


def test_killed_in_a_save_and_resumed(long_run, tmp_path):
    process = start(tmp_path)
    folder = tmp_path / "checkpoints"
    deadline = time.monotonic() + 120
    while not (folder.exists() and any("tmp" in path.name for path in folder.iterdir())):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.kill()
    process.communicate(timeout=60)
    result = finish(tmp_path)
    assert result.returncode == 0, result.stderr
    assert digests(tmp_path, STEPS) == digests(long_run, STEPS)


def test_damaged_checkpoint_is_named_and_training_goes_on_to_the_same_bits(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    for file in (tmp_path / "checkpoints" / "200" / "state").rglob("d/*"):
        file.write_bytes(file.read_bytes()[:20])
    loaded = call("--mode=evaluate", f"--workdir={tmp_path}", config=None)
    assert loaded.returncode == 0, loaded.stderr
    assert "warning: " in loaded.stderr
    assert "checkpoints/200 is damaged" in loaded.stderr
    assert "Traceback" not in loaded.stderr
    assert "veegan, step 150" in loaded.stdout
    resumed = train(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming at step 150" in resumed.stderr
    assert (tmp_path / "damaged" / "200.0").is_dir()
    assert digests(tmp_path, 200) == digests(whole[0], 200)


def test_more_steps_go_on_where_no_schedule_depends_on_them(tmp_path):
    constant = ("--config.optim.gen.schedule=constant", "--config.optim.disc.schedule=constant")
    for steps in (50, 100):
        result = train(tmp_path, *constant, steps=steps)
        assert result.returncode == 0, result.stderr
    assert "resuming at step 50" in result.stderr
    refused = train(tmp_path, steps=150)  # With a cosine schedule it would be another run.
    assert refused.returncode == 2
    assert "config.optim.gen.schedule: 'cosine', but the run has 'constant'" in refused.stderr


def test_several_seeds_have_their_own_bits_and_a_standard_error(whole, tmp_path):
    result = train(tmp_path, "--config.num_seeds=3")
    assert result.returncode == 0, result.stderr
    many, one = checkpoint(tmp_path, 200).state, checkpoint(whole[0], 200).state
    chex.assert_trees_all_equal(jax.tree.map(lambda leaf: leaf[:1], many), one)
    assert "±" in result.stdout
    assert "seeds 0 to 2, mean ± standard error" in (tmp_path / "results.md").read_text()
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    replicas = [replica["kl"] for replica in json.loads((tmp_path / "results.json").read_text())["replicas"]]
    assert row["kl"] == pytest.approx(np.mean(replicas))
    assert row["kl/se"] == pytest.approx(np.std(replicas, ddof=1) / 3**0.5)


def test_default_workdir_is_named_after_the_config(tmp_path):
    result = call(*SMALL, "--config.num_steps=10", "--config.save_every=10", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "runs" / "ring" / "results.md").exists()


def test_the_json_of_a_run_is_its_config_and_names_its_folder(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "runs" / "mine")
    file = "--config=runs/mine/config.json"
    measured = call(file, "--config.eval_samples=100", "--mode=evaluate", config=None, cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    assert "100 samples a row" in (tmp_path / "runs" / "mine" / "evaluation_step200.md").read_text()
    refused = call(file, "--config.mlp.gen_hidden=(8,)", config=None, cwd=tmp_path)
    assert refused.returncode == 2
    assert "--workdir runs/mine holds another run, which differs in 1 fields" in refused.stderr
    assert "config.mlp.gen_hidden: [8], but the run has [16, 16]" in refused.stderr


def test_evaluate_sample_and_reconstruct(whole):
    workdir, trained = whole
    measured = call("--mode=evaluate", f"--workdir={workdir}", config=None)
    assert measured.returncode == 0, measured.stderr
    table, _, named = measured.stdout.strip().rpartition("\n\n")
    assert trained.stdout.startswith(f"{table}\n")  # Training ended with this table.
    assert (workdir / "evaluation_step200.md").read_text() == (workdir / "results.md").read_text()
    assert named.endswith(f": {workdir}/evaluation_step200.md")
    best = call("--mode=evaluate", f"--workdir={workdir}", "--step=best", config=None)
    assert best.returncode == 0, best.stderr
    assert re.search(r"^step best is \d+: its \(K\+1\)-bin KL is [\d.]+$", best.stderr, flags=re.MULTILINE)

    sampled = call("--mode=sample", f"--workdir={workdir}", "--num=30", "--sample_seed=4", config=None)
    assert sampled.returncode == 0, sampled.stderr
    arrays, picture = (Path(line) for line in sampled.stdout.split())
    run = veegan_jax.load(workdir)
    np.testing.assert_allclose(np.load(arrays)["samples"], run.sample(30, seed=4), rtol=1e-5, atol=1e-6)
    assert picture.read_bytes().startswith(b"\x89PNG")

    reconstructed = call("--mode=reconstruct", f"--workdir={workdir}", "--num=20", config=None)
    assert reconstructed.returncode == 0, reconstructed.stderr
    assert "RMS of x − G(F(x)) over 20 held-out examples" in reconstructed.stdout


def test_debug_shows_the_traceback(tmp_path):
    result = call("--config.seed=-1", "--debug", cwd=tmp_path)
    assert result.returncode != 0
    assert "Traceback" in result.stderr


def test_workdir_of_another_run_is_refused_and_the_fields_are_listed(whole):
    result = train(whole[0], "--config.batch_size=64", "--config.veegan.reconstructor_std=0.7")
    assert result.returncode == 2
    assert "holds another run, which differs in 2 fields" in result.stderr
    assert "config.batch_size: 64, but the run has 32" in result.stderr
    assert "config.veegan.reconstructor_std: 0.7, but the run has 0.5" in result.stderr


def test_disk_that_takes_no_more_is_one_line_and_training_goes_on_when_it_does(whole, tmp_path):
    """No file may be longer than 8 kB, which is an error of the same kind as a full disk."""
    result = train(tmp_path, prefix=("bash", "-c", 'ulimit -f 8; exec "$@"', "bash"), cache=False)
    assert result.returncode == 2
    assert "could not be written" in result.stderr
    assert "Mend the disk" in result.stderr
    assert "Traceback" not in result.stderr
    assert train(tmp_path).returncode == 0
    assert digests(tmp_path, 200) == digests(whole[0], 200)


def test_divergence_stops_at_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    constant = ("--config.optim.gen.schedule=constant", "--config.optim.disc.schedule=constant")
    result = train(tmp_path, *constant, "--config.optim.gen.learning_rate=1e30", steps=400)
    assert result.returncode == 2
    assert re.search(
        r"error: (loss/\w+|d) is (nan|inf|-inf) at step \d+; stopped, and nothing was saved", result.stderr
    )
    assert "Traceback" not in result.stderr
    assert saved_steps(tmp_path) == []
    assert (tmp_path / "metrics.jsonl").read_text() == ""
