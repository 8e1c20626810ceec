"""Launch scripts: what a dry run shows, what they do with processes of this machine, and that manifests are valid."""

import contextlib
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

import launch.k8s
from tests.helpers import ROOT

LAUNCH = ROOT / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
AWKWARD = "--config.images.path=a 'b' \"c\" $d"


def script(name, *arguments, **environment):
    return subprocess.run(
        ["bash", LAUNCH / name, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def k8s(*arguments):
    """Runs launch/k8s.py in this process; the result is that of `subprocess.run` with captured text."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = launch.k8s.main(arguments)
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def commands(output):
    """The commands that a dry run prints, as the shell would read them."""
    return [shlex.split(line[2:]) for line in output.splitlines() if line.startswith("+ ")]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_pass_shellcheck(path):
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not shellcheck:
        pytest.skip("shellcheck is not installed")
    result = subprocess.run([shellcheck, "--shell=bash", path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_image_passes_hadolint_and_installs_extras_that_exist():
    path = LAUNCH / "kubernetes" / "Dockerfile"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (asked,) = re.findall(r'"\.\[(.*)\]"', path.read_text())
    for accelerator in ("cuda", "tpu"):
        assert set(asked.replace("${EXTRA}", accelerator).split(",")) <= set(extras)
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not hadolint:
        pytest.skip("hadolint is not installed")
    result = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_missing_arguments_print_the_usage(path):
    result = script(path.name)
    assert result.returncode == 2
    assert f"launch/{path.name} " in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("name", "before"), [("local.sh", ["2"]), ("slurm.sbatch", []), ("tpu_vm.sh", []), ("tpu_vm.sh", ["mine", "zone"])]
)
def test_a_flag_in_an_arguments_place_starts_nothing(name, before, tmp_path):
    """A command that is meant as a dry run must start nothing."""
    for command in ("python", "srun", "gcloud"):
        executable(tmp_path / command, "#!/bin/sh\ntouch " + shlex.quote(str(tmp_path / "started")))
    given = (*before, "--dry-run", "v6e-8", "configs/ring.py", "more")
    result = script(name, *given, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", PYTHON="python")
    assert (result.returncode, result.stdout) == (2, "")
    assert f"launch/{name} " in result.stderr
    assert not (tmp_path / "started").exists()


# Cloud TPU VMs


def test_tpu_dry_run_shows_every_command_and_runs_none(tmp_path):
    given = ("us-central1-a", "v5litepod-32", "configs/ring.py", "--dry-run", "--config.seed=3", AWKWARD)
    result = subprocess.run(
        [LAUNCH / "tpu_vm.sh", "mine", *given], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []
    shown = commands(result.stdout)
    assert shlex.join(shown[0]) == (
        "gcloud compute tpus tpu-vm create mine --zone us-central1-a --accelerator-type v5litepod-32 "
        "--version v2-alpha-tpuv5-lite"
    )
    remote = {line[-1]: line[line.index("--worker") + 1] for line in shown if "--command" in line}
    (train,) = (command for command in remote if "veegan_jax.main" in command)
    assert remote[train] == "all"
    assert shlex.split(train)[-6:] == [
        *("--config", "configs/ring.py", "--workdir", "runs/mine", "--config.seed=3", AWKWARD)
    ]
    assert "--distributed" in train
    assert any(
        "pip install -e '.[tpu,report,tfds]'" in command and worker == "all" for command, worker in remote.items()
    )
    assert shown[-1] == ["mv", "runs/.fetching/runs/mine", "runs/mine"]
    assert "tpu-vm delete mine --zone us-central1-a" in result.stdout.splitlines()[-1]


def test_tpu_spot_and_delete(tmp_path):
    result = script("tpu_vm.sh", "mine", "zone", "v6e-8", "c.py", "--spot", "--dry-run", "--delete")
    shown = commands(result.stdout)
    assert shown[0][-3:] == ["--version", "v2-alpha-tpuv6e", "--spot"]
    assert shlex.join(shown[-1]) == "gcloud compute tpus tpu-vm delete mine --zone zone --quiet"
    assert "the VM is left" not in result.stdout


# The cloud is a folder: the VM is its folder vm, the VM's state the file state. Setting up installs nothing, and
# training runs the file program.
GCLOUD = """#!/usr/bin/env bash
set -eu
cd "$CLOUD"
echo "$4" >>calls
case $4 in
  describe) cat state ;;
  create) mkdir vm && echo READY >state ;;
  delete) rm -rf vm state ;;
  scp)
    [ -d vm ] || exit 1
    from=$5 to=$6
    [ "${from#*:}" = "$from" ] && from=$HERE/$from || from=vm/${from#*:}
    [ "${to#*:}" = "$to" ] && to=$HERE/$to || to=vm/${to#*:}
    cp "$from" "$to" ;;
  ssh)
    [ -d vm ] || exit 1
    case ${*: -1} in
      *uv\\ venv*) mkdir -p vm/veegan_jax/.venv/bin && cp program vm/veegan_jax/.venv/bin/python ;;
      *--user\\ uv*) mkdir -p vm/veegan_jax && tar -xzf vm/source.tar.gz -C vm/veegan_jax ;;
      *) cd vm && HOME=$PWD exec bash -c "${*: -1}" ;;
    esac ;;
esac
"""


def tpu_run(tmp_path, program, *arguments):
    cloud, here = tmp_path / "cloud", tmp_path / "here"
    executable(cloud / "program", f"#!/usr/bin/env bash\n{program}")
    executable(tmp_path / "bin" / "gcloud", GCLOUD)
    shutil.copytree(LAUNCH, here / "launch")
    for git in (["init"], ["add", "."], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "--message=t"]):
        subprocess.run(["git", *git], cwd=here, check=True, capture_output=True)
    result = subprocess.run(
        [LAUNCH / "tpu_vm.sh", "mine", "zone", "v5litepod-8", "configs/ring.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=here,
        timeout=120,
        env={
            **os.environ,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "CLOUD": str(cloud),
            "HERE": str(here),
        },
    )
    return result, here / "runs", (cloud / "calls").read_text().split()


needs_flock = pytest.mark.skipif(not shutil.which("flock"), reason="TPU VMs have flock, this machine has not")


@needs_flock
def test_a_tpu_run_is_resumed_after_exit_75_and_fetched_and_the_vm_deleted(tmp_path):
    program = "mkdir -p runs/mine; echo step >>runs/mine/steps; [ $(wc -l <runs/mine/steps) = 2 ] || exit 75"
    result, runs, calls = tpu_run(tmp_path, program, "--delete")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (runs / "mine" / "steps").read_text() == "step\nstep\n"
    assert (runs / "mine.before" / "steps").read_text() == "step\n"
    assert not list(runs.glob(".fetching*"))
    assert (calls.count("create"), calls[-1]) == (1, "delete")


@needs_flock
def test_a_tpu_vm_that_is_preempted_is_replaced_and_gets_what_was_fetched(tmp_path):
    # The first call stops and is fetched; the second loses its VM; the third, on another, has what the first had.
    program = """mkdir -p runs/mine; echo step >>runs/mine/steps
    echo call >>"$CLOUD/trained"
    case $(wc -l <"$CLOUD/trained") in
      1) exit 75 ;;
      2) echo PREEMPTED >"$CLOUD/state"; mv "$CLOUD/vm" "$CLOUD/gone"; exit 255 ;;
    esac"""
    result, runs, calls = tpu_run(tmp_path, program)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (runs / "mine" / "steps").read_text() == "step\nstep\n"
    assert (calls.count("create"), calls.count("delete")) == (2, 1)
    assert "the VM is left" in result.stdout


@needs_flock
def test_a_tpu_run_that_a_person_has_to_mend_is_not_tried_again(tmp_path):
    result, _, calls = tpu_run(tmp_path, "echo called >>$CLOUD/trained; echo error: no such field >&2; exit 2")
    assert result.returncode == 2
    assert "error: no such field" in result.stdout
    assert (tmp_path / "cloud" / "trained").read_text() == "called\n"
    assert "delete" not in calls


@needs_flock
def test_a_detached_command_outlives_its_caller_and_is_followed_again(tmp_path):
    stem, command = tmp_path / "run", "echo started; sleep 2; echo ended; exit 75"
    first = subprocess.Popen([LAUNCH / "detached.sh", stem, "bash", "-c", command], stdout=subprocess.DEVNULL)
    while not (tmp_path / "run.pid").exists():
        time.sleep(0.05)
    first.kill()
    first.wait()
    again = script("detached.sh", stem, "echo", "second")
    assert (again.returncode, again.stdout) == (75, "started\nended\n")
    after = script("detached.sh", stem, "echo", "second")
    assert (after.returncode, after.stdout) == (0, "second\n")


@needs_flock
def test_the_end_of_a_detached_command_that_nobody_saw_is_reported_once(tmp_path):
    subprocess.run([LAUNCH / "detached.sh", tmp_path / "run", "true"], check=True)
    (tmp_path / "run.code").write_text("2\n")
    assert script("detached.sh", tmp_path / "run", "true").returncode == 2
    assert script("detached.sh", tmp_path / "run", "true").returncode == 0


# Processes of this machine

# A stand-in for Python: it prints what it is given, saves on SIGTERM, and fails if its number is FAIL.
PROGRAM = """#!/usr/bin/env bash
case $1 in -c) exec python3 "$@" ;; esac
trap 'echo saved; exit 75' TERM
echo "$JAX_PROCESS_ID of $JAX_NUM_PROCESSES at $JAX_COORDINATOR_ADDRESS, $JAX_NUM_CPU_DEVICES devices: ${*: -1}"
[ "${FAIL:-}" != "$JAX_PROCESS_ID" ] || exit 76
for ((i = 0; i < ${TENTHS:-1}; i++)); do sleep 0.1; done
"""


@pytest.fixture
def program(tmp_path):
    return str(executable(tmp_path / "program", PROGRAM))


def test_local_dry_run_shows_each_process():
    shown = commands(script("local.sh", "2", "configs/ring.py", "--devices=3", "--dry-run", AWKWARD).stdout)
    assert len(shown) == 2
    for number, command in enumerate(shown):
        assert command[:3] == ["env", "JAX_PLATFORMS=cpu", "JAX_NUM_CPU_DEVICES=3"]
        assert command[3].startswith("JAX_COORDINATOR_ADDRESS=127.0.0.1:")
        assert command[4:6] == ["JAX_NUM_PROCESSES=2", f"JAX_PROCESS_ID={number}"]
        assert command[6:] == ["python", "-m", "veegan_jax.main", "--config", "configs/ring.py", AWKWARD]


def test_the_number_of_local_processes_must_be_a_number():
    for bad in ("0", "two", "-1", ""):
        assert script("local.sh", bad, "configs/ring.py").returncode == 2


def test_local_processes_share_a_coordinator_and_number_their_lines(program):
    result = script("local.sh", "2", "configs/ring.py", "--devices=2", AWKWARD, PYTHON=program)
    assert result.returncode == 0, result.stderr
    lines = sorted(result.stdout.splitlines())
    addresses = {line.split(" at ")[1].partition(",")[0] for line in lines}
    assert len(addresses) == 1
    assert [line[:10] for line in lines] == ["[0] 0 of 2", "[1] 1 of 2"]
    assert all(line.endswith(f"2 devices: {AWKWARD}") for line in lines)


def test_local_processes_end_when_one_has_died(program):
    started = time.monotonic()
    result = script("local.sh", "2", "configs/ring.py", PYTHON=program, FAIL="1", TENTHS="600", GRACE="1")
    assert result.returncode == 76
    assert "process 1 ended with exit code 76" in result.stderr
    assert time.monotonic() - started < 20


HEED_CTRL_C = "import os, signal as s, sys; s.signal(s.SIGINT, s.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_local_processes_are_all_stopped_by_a_signal(program, tmp_path, number):
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(
            # A shell cannot trap what is ignored when it starts, as Ctrl-C is where these tests run in the background.
            [sys.executable, "-c", HEED_CTRL_C, LAUNCH / "local.sh", "3", "configs/ring.py"],
            stdout=out,
            env={**os.environ, "PYTHON": program, "TENTHS": "600"},
        )
        while (tmp_path / "out").read_text().count("devices") < 3:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(timeout=30) == 75
    assert (tmp_path / "out").read_text().count("saved") == 3


# SLURM


def test_slurm_dry_run_needs_no_slurm():
    (command,) = commands(script("slurm.sbatch", "configs/ring.py", "--dry-run", AWKWARD).stdout)
    assert command[0] == "srun"
    assert command[-6:] == ["-m", "veegan_jax.main", "--distributed", "--config", "configs/ring.py", AWKWARD]
    (row,) = commands(script("slurm.sbatch", "c.py", "--dry-run", SLURM_ARRAY_TASK_ID="3").stdout)
    assert row[-4:] == ["-m", "launch.sweep", "--config", "c.py"]


def test_slurm_wants_a_task_for_each_gpu():
    result = script("slurm.sbatch", "c.py", "--dry-run", SLURM_GPUS_ON_NODE="8", SLURM_TASKS_PER_NODE="1(x2)")
    assert result.returncode == 2
    assert result.stderr.endswith("add --ntasks-per-node=8\n")
    assert script("slurm.sbatch", "c.py", "--dry-run", SLURM_GPUS_ON_NODE="8", SLURM_TASKS_PER_NODE="8(x2)").stdout


@pytest.mark.parametrize(
    ("code", "state", "restarts", "requeued"),
    [
        (0, "RUNNING", 0, False),
        (1, "RUNNING", 0, False),
        (2, "RUNNING", 0, False),
        (75, "RUNNING", 0, True),
        (76, "RUNNING", 7, True),
        (137, "RUNNING", 0, True),
        (75, "COMPLETING", 0, False),  # after scancel, or a preemption, which SLURM itself requeues
        (76, "RUNNING", 100, False),
    ],
)
def test_slurm_requeues_what_can_be_resumed(tmp_path, code, state, restarts, requeued):
    executable(tmp_path / "bin" / "srun", f"#!/bin/sh\nexit {code}\n")
    executable(tmp_path / "bin" / "squeue", f"#!/bin/sh\necho {state}\n")
    executable(tmp_path / "bin" / "scontrol", f'#!/bin/sh\necho "$@" >{tmp_path}/requeued\n')
    slurm = {"SLURM_JOB_ID": "12", "SLURM_JOB_NAME": "x", "SLURM_RESTART_COUNT": str(restarts)}
    result = script("slurm.sbatch", "c.py", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", **slurm)
    assert result.returncode == code
    assert (tmp_path / "requeued").exists() == requeued
    assert not requeued or (tmp_path / "requeued").read_text() == "requeue 12\n"
    assert Path("slurm/x-12").is_dir()


# Kubernetes

# The schema of the fields in use, by JobSet's API reference (v1alpha2).
TEXT, COUNT = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}
METADATA = {"name": TEXT, "annotations": {"type": "object", "additionalProperties": TEXT}}


def fields(properties, *required):
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}


JOBSET = fields(
    {
        "apiVersion": {"const": "jobset.x-k8s.io/v1alpha2"},
        "kind": {"const": "JobSet"},
        "metadata": fields(METADATA, "name"),
        "spec": fields(
            {
                "failurePolicy": fields(
                    {
                        "maxRestarts": COUNT,
                        "rules": {
                            "type": "array",
                            "items": fields(
                                {
                                    "name": {"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
                                    "action": {
                                        "enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]
                                    },
                                    "onJobFailureReasons": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "enum": [
                                                *("BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes"),
                                                *("MaxFailedIndexesExceeded", "PodFailurePolicy"),
                                            ]
                                        },
                                    },
                                },
                                *("name", "action"),
                            ),
                        },
                    }
                ),
                "replicatedJobs": {
                    "type": "array",
                    "minItems": 1,
                    "items": fields(
                        {"name": TEXT, "replicas": COUNT, "template": fields({"spec": {"type": "object"}}, "spec")},
                        *("name", "template"),
                    ),
                },
            },
            "replicatedJobs",
        ),
    },
    *("apiVersion", "kind", "metadata", "spec"),
)
PLACE = ("--image=registry/veegan_jax:1", "--claim=runs")
KINDS = {
    "tpu": ("--topology=4x8", "--hosts=8", "--chips=4"),
    "gpu": ("--hosts=2", "--gpus=8"),
    "sweep": ("--cells=10", "--gpus=1"),
}


def manifest(kind, *arguments):
    result = k8s(kind, "mine", "configs/ring.py", *PLACE, *KINDS[kind], "--dry-run", *arguments)
    assert result.returncode == 0, result.stderr
    return yaml.safe_load(result.stdout)


def job_of(kind, manifest):
    """The job of a manifest, after checks that the job and the JobSet around it are valid."""
    if kind == "sweep":
        job = manifest
    else:
        jsonschema.Draft202012Validator(JOBSET).validate(manifest)
        (replicated,) = manifest["spec"]["replicatedJobs"]
        name = f"{manifest['metadata']['name']}-{replicated['name']}-0"
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, **replicated["template"]}
    kubernetes_validate.validate(job, "1.33", strict=True)
    return job


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_manifests_are_valid_and_run_the_command(kind):
    job = job_of(kind, manifest(kind, "--config.seed", "3", AWKWARD))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    program = {"tpu": ["veegan_jax.main", "--distributed"], "gpu": ["veegan_jax.main"], "sweep": ["launch.sweep"]}
    run = ["--config", "configs/ring.py", "--workdir", "/runs/mine", "--config.seed", "3", AWKWARD]
    assert container["command"] == ["python", "-m", *program[kind], *run]
    volumes = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in job["spec"]["template"]["spec"]["volumes"]}
    assert [(m["mountPath"], volumes[m["name"]]) for m in container["volumeMounts"]] == [("/runs", "runs")]


def test_the_schemas_refuse_wrong_fields():
    jobset = manifest("gpu")
    jobset["spec"]["failurePolicy"]["maxRestart"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxRestart"):
        job_of("gpu", jobset)
    job = manifest("sweep")
    job["spec"]["template"]["spec"]["restartPolice"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError, match="restartPolice"):
        job_of("sweep", job)


@pytest.mark.parametrize("kind", ["tpu", "gpu"])
def test_a_jobset_restarts_all_pods_unless_a_person_has_to_mend_the_run(kind):
    jobset = manifest(kind)
    job = job_of(kind, jobset)["spec"]
    assert job["backoffLimit"] == 0  # a failing pod fails its job, which restarts the set
    (rule,) = job["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2])
    policy = jobset["spec"]["failurePolicy"]
    assert policy["maxRestarts"] > 0
    (rule,) = policy["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])


def test_a_jobset_for_gpus_gives_each_pod_its_number_and_the_address_of_the_first():
    jobset = manifest("gpu")
    job = job_of("gpu", jobset)["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 2, 2)
    (container,) = job["template"]["spec"]["containers"]
    environment = {variable["name"]: variable for variable in container["env"]}
    # <jobset>-<replicatedJob>-<job>-<pod>.<jobset>
    assert environment["JAX_COORDINATOR_ADDRESS"]["value"] == "mine-train-0-0.mine:8476"
    assert environment["JAX_NUM_PROCESSES"]["value"] == "2"
    index = environment["JAX_PROCESS_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert index == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}


def test_a_jobset_for_tpus_asks_for_the_slice():
    pod = job_of("tpu", manifest("tpu"))["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x8",
    }
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": 4}


def test_a_failing_row_of_a_sweep_ends_no_other():
    job = job_of("sweep", manifest("sweep"))["spec"]
    assert (job["completionMode"], job["completions"]) == ("Indexed", 10)
    assert job["podFailurePolicy"]["rules"][0]["action"] == "FailIndex"
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2]
    assert job["backoffLimitPerIndex"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpu"], "required: name, config, --image, --claim, --hosts, --gpus"),
        (["gpu", "Mine", "c.py", *PLACE, *KINDS["gpu"]], "'Mine' is not a name"),
        (["gpu", "m" * 41, "c.py", *PLACE, *KINDS["gpu"]], "is not a name of at most 40"),
        (["gpu", "m", "c.py", "--image=a b", "--claim=runs", *KINDS["gpu"]], "'a b' is not the name of an image"),
        (["gpu", "m", "c.py", *PLACE, "--hosts=two", "--gpus=1"], "'two' is not a number"),
        (["tpu", "m", "c.py", *PLACE, "--topology=8", "--hosts=1", "--chips=8"], "'8' is not a topology, as 4x8"),
    ],
)
def test_wrong_options_of_kubernetes_are_named(arguments, message):
    result = k8s(*arguments, "--dry-run")
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stdout == ""
