"""Launch scripts: what a dry run would do."""

import subprocess

from tests.helpers import ROOT


def call(*arguments):
    return subprocess.run([ROOT / "launch" / "tpu_vm.sh", *arguments], capture_output=True, text=True, check=False)


def test_dry_run_shows_every_command_and_runs_none():
    result = call("mine", "us-central1-a", "v5litepod-8", "configs/ring.py", "--dry-run", "--config.seed=3")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith(
        "+ gcloud compute tpus tpu-vm create mine --zone us-central1-a --accelerator-type v5lite"
    )
    assert any("pip install -e '.[tpu]'" in line for line in lines)
    assert any("veegan_jax.main --config configs/ring.py --workdir runs/mine --config.seed=3" in line for line in lines)
    assert "delete mine --zone us-central1-a" in lines[-1]


def test_missing_arguments_print_the_usage():
    result = call("mine")
    assert result.returncode == 2
    assert "NAME ZONE TYPE CONFIG" in result.stderr
