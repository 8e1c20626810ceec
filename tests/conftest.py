"""Several simulated devices, strict promotion, and no warning unnoticed, in every test."""

import atexit
import gc
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

# A tiny run spends most of its time in compilation. Compiled programs are kept in the user's cache: for the workers of
# a session, the processes that they start, and the next session. JAX's keys tell programs, flags and versions apart.
MOST_BYTES = 2 * 2**30


def _programs() -> Path:
    """Returns the folder of compiled programs; one that has grown large, or is of another version, is removed."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "veegan_jax"
    folder = home / f"tests-jaxlib-{importlib.metadata.version('jaxlib')}"
    for other in home.glob("tests-*"):
        if other != folder or sum(file.stat().st_size for file in other.glob("*")) > MOST_BYTES:
            shutil.rmtree(other, ignore_errors=True)
    return folder


if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_programs())
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

if "VEEGAN_CACHE_DIR" not in os.environ:
    os.environ["VEEGAN_CACHE_DIR"] = _classifiers = tempfile.mkdtemp(prefix="veegan_jax_classifiers_")
    atexit.register(shutil.rmtree, _classifiers, ignore_errors=True)

# LLVM's optimisation is half of the compile time of programs that run once. (The processes of test_main.py optimise.)
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

# Tracing makes many objects that live long, so that frequent collections cost a twentieth of the time of all tests.
gc.set_threshold(50_000)

import jax
import optax
import pytest

from tests.fork_server import ForkServer

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Gives each test a folder of its own, so that whatever it writes by default lands there."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


@pytest.fixture(autouse=True)
def _compiled_programs_are_freed() -> Iterator[None]:
    """Frees compiled programs before they use up the 65,530 memory maps that Linux grants a process."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > 20_000:
        jax.clear_caches()


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Runs commands as processes with four devices do, in a tenth of the time."""
    folder, ours = tmp_path_factory.mktemp("fork_server"), ("XLA_FLAGS", "VEEGAN_DATA_DIR", "VEEGAN_INCEPTION")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4", "MPLCONFIGDIR": str(folder)}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    with closing(ForkServer(folder, environment)) as server:
        yield server


@pytest.fixture(autouse=True, scope="session")
def _lenient_optax() -> Iterator[None]:
    """Lets optax's Adam, and nothing else, off strict promotion: it raises a float to an integer power."""
    strict = optax.tree.bias_correction

    def lenient(*args: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return strict(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optax.tree, "bias_correction", lenient)
        yield
