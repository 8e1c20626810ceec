"""Several simulated devices, strict promotion, and no warning unnoticed, in every test."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # One for the session, its workers and the processes they start: most of the time of a tiny run is compilation.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache = tempfile.mkdtemp(prefix="veegan_jax_tests_")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)

if "VEEGAN_CACHE_DIR" not in os.environ:
    os.environ["VEEGAN_CACHE_DIR"] = _classifiers = tempfile.mkdtemp(prefix="veegan_jax_classifiers_")
    atexit.register(shutil.rmtree, _classifiers, ignore_errors=True)

# LLVM's optimisation is half of the compile time of programs that run once. (The processes of test_main.py optimise.)
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax
import optax
import pytest

from tests.fork_server import ForkServer

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a test writes lands in its own folder, whatever default it leaves unset."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


@pytest.fixture(autouse=True)
def _compiled_programs_are_let_go() -> Iterator[None]:
    """Before they take all memory maps that Linux grants a process, 65,530: those of a run are thousands."""
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
