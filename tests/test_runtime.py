"""What is pinned before JAX makes its devices, and what is written down of them."""

import os
import subprocess
import sys

import jax
import pytest

from tests.test_main import environment
from veegan_jax.storage import versions


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("NPROC", "XLA_FLAGS"):
        monkeypatch.setenv(name, "")  # so that what the test sets is undone
        monkeypatch.delenv(name)


def test_a_plain_run_changes_nothing():
    versions.set_xla_env(logical_shards=0, deterministic=False)
    assert "NPROC" not in os.environ
    assert "XLA_FLAGS" not in os.environ


def test_shards_want_as_many_threads_everywhere_and_the_user_has_the_last_word(monkeypatch):
    versions.set_xla_env(logical_shards=8, deterministic=False)
    assert os.environ["NPROC"] == str(versions.THREADS)
    monkeypatch.setenv("NPROC", "7")
    versions.set_xla_env(logical_shards=8, deterministic=False)
    assert os.environ["NPROC"] == "7"


def test_flags_for_gpus_are_added_once_to_those_there_are(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    for _ in range(2):
        versions.set_xla_env(logical_shards=0, deterministic=True)
    assert os.environ["XLA_FLAGS"] == f"--xla_dump_to=x {versions.DETERMINISTIC}"


def test_what_bits_depend_on_is_listed(monkeypatch):
    monkeypatch.setenv("NPROC", "5")
    found = versions.versions({"logical_shards": 8, "devices": 2})
    assert (found["shards"], found["threads"], found["jax"]) == ("8", "5", jax.__version__)
    assert {"jaxlib", "python", "platform", "processor", "XLA_FLAGS"} <= set(found)
    assert versions.versions({"devices": 2})["shards"] == "2"
    several = {"devices": 2, "num_seeds": 3, "logical_shards": 0}
    assert versions.versions({**several, "seed_mapping": "side_by_side"})["shards"] == "1"
    assert versions.versions({**several, "seed_mapping": "vmap"})["seeds"] == "vmap"
    assert "seeds" not in versions.versions({**several, "seed_mapping": "map"})
    assert versions.versions({})["shards"] == "4"


def test_the_pin_comes_in_time_and_xla_knows_the_flags():
    """XLA reads both when it makes its devices, which importing everything has not done yet."""
    script = """
import os, jax, veegan_jax.main
from pathlib import Path
from veegan_jax.storage import versions
versions.set_xla_env(8, True)
jax.block_until_ready(jax.numpy.ones((256, 256)) @ jax.numpy.ones((256, 256)))
names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
print(sum("XLAEigen" in name for name in names))
"""
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    assert int(found.stdout) == versions.THREADS
