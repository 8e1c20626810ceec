"""The user's cache of compiled programs: it saves time, changes no bit, and whatever is wrong with it ends no run."""

import logging
import os
import resource
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from veegan_jax.storage import caches
from veegan_jax.storage.caches import keep_programs

pytestmark = pytest.mark.filterwarnings("default:Error .* persistent compilation cache entry")
SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs", "jax_enable_compilation_cache")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A user's cache of this test's own, in a process that keeps no programs yet."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setenv("VEEGAN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    jax.config.update("jax_compilation_cache_dir", None)
    reset_cache()
    yield tmp_path / "cache"
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


def run(name):
    """Compiles a program as a new process does, runs it, and returns its bytes."""

    def program(x):
        return jnp.cumsum(jnp.tanh(x @ x)) / jnp.sum(jnp.exp(x))

    program.__name__ = name  # A warning is shown once for each program.
    jax.clear_caches()
    return np.asarray(jax.jit(program)(jax.random.normal(jax.random.key(0), (32, 32)))).tobytes()


def kept(name):
    return list(Path(jax.config.jax_compilation_cache_dir).glob(f"jit_{name}-*"))


def test_bits_are_the_same_cold_warm_and_without_a_cache(cache):
    without = run("same")
    keep_programs()
    cold = run("same")
    (entry,) = kept("same")
    before = entry.read_bytes()
    assert run("same") == cold == without
    assert entry.read_bytes() == before
    assert entry.parent.parent == cache / "programs"
    assert entry.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "zeros"])
def test_a_damaged_program_is_compiled_again_and_replaced(cache, damage, caplog):
    keep_programs()
    name, whole = f"damaged_{damage}", run(f"damaged_{damage}")
    (entry,) = kept(name)
    good = entry.read_bytes()
    middle = len(good) // 2
    flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    bad = {"cut": good[:middle], "empty": b"", "flipped": flipped, "zeros": bytes(len(good))}[damage]
    entry.write_bytes(bad)
    with caplog.at_level(logging.WARNING, "veegan_jax"):
        assert run(name) == whole
    assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [
        f"compiled programs in {entry.parent} are damaged, and compiled again"
    ]
    assert entry.read_bytes() != bad
    assert run(name) == whole
    assert len(caplog.records) == 1


def test_a_full_disk_is_one_warning_and_leaves_no_half_program(cache, caplog):
    without = run("full")
    keep_programs()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with caplog.at_level(logging.WARNING, "veegan_jax"):
            assert run("full") == without
            run("full_too")
            run("full")  # This warning has the words of the first one.
        messages = [record.getMessage() for record in caplog.records]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(messages) == 1
    assert "are not kept: OSError" in messages[0]
    assert "File too large" in messages[0]
    assert kept("full") == kept("full_too") == []


def test_a_folder_that_cannot_be_made_is_one_warning(cache, caplog):
    cache.write_text("a file")
    keep_programs()
    assert caplog.messages == [
        f"compiled programs are not kept: {cache}/programs/{caches.machine_digest()}: Not a directory"
    ]
    assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.parametrize("setting", ["jax_compilation_cache_dir", "jax_enable_compilation_cache"])
def test_settings_of_jax_come_first(cache, tmp_path, setting):
    value = {"jax_compilation_cache_dir": str(tmp_path / "own"), "jax_enable_compilation_cache": False}[setting]
    jax.config.update(setting, value)
    keep_programs()
    assert getattr(jax.config, setting) == value
    assert not cache.exists()


def test_other_threads_and_processors_have_other_programs(cache, monkeypatch):
    monkeypatch.setenv("NPROC", "1")
    one = caches.machine_digest()
    monkeypatch.setenv("NPROC", "2")
    assert caches.machine_digest() != one
    monkeypatch.setattr(caches, "cpu_instructions", lambda: "another")
    monkeypatch.setenv("NPROC", "1")
    assert caches.machine_digest() != one


def test_the_programs_that_were_not_used_for_long_are_removed(cache, monkeypatch):
    monkeypatch.setattr(caches, "MOST_BYTES", 250)
    folder = cache / "programs" / "another machine"
    folder.mkdir(parents=True)
    for age, name in enumerate(["new", "used", "old"]):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    os.utime(folder / "used", (1e9 + 1, 1e9 - 5))
    keep_programs()
    assert sorted(path.name for path in folder.iterdir()) == ["new", "used"]
