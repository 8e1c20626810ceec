"""The versions and settings that bits depend on besides config and seed: which can be set, and what they are.

Every number that a run computes is a function of config, seed and what `versions` lists.
"""

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from veegan_jax.config.check import NEEDED_SETTINGS
from veegan_jax.parallel.cores import num_cpus
from veegan_jax.train.compile import seed_mapping
from veegan_jax.version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
# XLA's thread pool on a CPU otherwise has one thread for each core or simulated device, and how a product is split
# among threads changes its last bits.
THREADS = 4
# The first flag also keeps XLA from measuring which of its kernels is the fastest; the second keeps it from measuring
# the kernels of libraries.
DETERMINISTIC = "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0"
# Settings of JAX that change numbers, and their usual values, however a setting came about.
_SETTINGS = {
    "jax_threefry_partitionable": True,
    "jax_threefry_gpu_kernel_lowering": False,
    "jax_random_seed_offset": 0,
    "jax_high_dynamic_range_gumbel": False,
    "jax_default_matmul_precision": None,
    "jax_allow_f16_reductions": True,
    "jax_softmax_custom_jvp": False,
    "jax_disable_most_optimizations": False,
    "jax_debug_nans": False,
    "jax_debug_infs": False,
}
# Any other variable of these libraries may change numbers too, of this version or a later one (but scikit-learn sets
# variables KMP_… itself when it is imported), …
_READ = re.compile(
    "(JAX|JAX2TF|FLAX|OPTAX|XLA|PJRT|NPY|CUBLAS|CUBLASLT|CUDNN|MIOPEN|ROCBLAS)_.*"
    "|(OMP|MKL|OPENBLAS|BLIS|VECLIB|DNNL|ONEDNN)_.*|TF_(XLA|CUDNN|CUBLAS|GPU|ENABLE|DISABLE|USE|DETERMINISTIC).*"
    "|LIBTPU_INIT_ARGS|NVIDIA_TF32_OVERRIDE|NCCL_(ALGO|PROTO|.*CHANNELS)"
)
# … except those that say where and how a program runs, keeps what it has compiled, and reports.
_HARMLESS = re.compile(
    "JAX_(PLATFORM.*|NUM_CPU_DEVICES|(CUDA|ROCM)_VISIBLE_DEVICES|NUM_PROCESSES|PROCESS_ID|LOCAL_DEVICE_IDS)"
    "|JAX_(COORDINATOR|CPU_GET|DUMP|NUMPY|SHARE|CHECK|TRANSFER|EXPLAIN|COMPILER_DETAILED)_.*"
    "|XLA_(FLAGS|.*CLIENT.*)|TF_(CPP_.*|GPU_ALLOCATOR|FORCE_GPU_ALLOW_GROWTH)"
    "|.*_(CACHE|LOG|LOGS|LOGGING|LOGINFO.*|LOGDEST.*|TRACEBACK|TRACEBACKS)(_.*)?|.*_(DEBUG|VERBOSE)"
)


def set_xla_env(logical_shards: int, deterministic: bool) -> None:
    """Sets the environment variables that a run asks for, before JAX makes its devices.

    Args:
        logical_shards: if more than 0, XLA's CPU thread pool gets `THREADS` threads, unless NPROC is set already.
        deterministic: whether `DETERMINISTIC` is added to XLA_FLAGS.
    """
    if logical_shards:
        os.environ.setdefault("NPROC", str(THREADS))
    if deterministic and DETERMINISTIC not in (flags := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC}".strip()


def versions(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the versions and the machine that a state's bits depend on, by name.

    Args:
        config: the run's fields; `logical_shards`, or else the number of devices, says into how many shards a batch is
            split. Seeds count only where they are batched, which no other form gives the bits of.
    """
    found = {"veegan_jax": __version__, **{name: importlib.metadata.version(name) for name in PACKAGES}}
    kind = jax.default_backend()
    found |= {"python": platform.python_version(), "platform": kind, "device": jax.devices()[0].device_kind}
    if kind == "cpu":
        found |= {"processor": _processor(), "threads": num_threads()}
    devices = config.get("devices") or jax.device_count()
    mapping = seed_mapping(config, devices) if "seed_mapping" in config else ""
    shards = config.get("logical_shards") or (1 if mapping == "side_by_side" else devices)
    found |= {"seeds": "vmap"} if mapping == "vmap" and config["num_seeds"] > 1 else {}
    return found | {"XLA_FLAGS": os.environ.get("XLA_FLAGS", ""), "shards": str(shards)} | unusual_settings()


def unusual_settings() -> dict[str, str]:
    """Returns the settings of JAX, and the variables of the environment, that change numbers and are not as usual.

    Variables are taken by the libraries that read them, so that one that this version does not know is named too.
    """
    found = jax.config.values
    unusual = {name: str(found[name]) for name, usual in _SETTINGS.items() if found.get(name, usual) != usual}
    return unusual | {name: value for name, value in sorted(os.environ.items()) if value and _may_matter(name)}


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Returns what has changed, as `jax 0.10.2 → 0.11.0, …`; empty if nothing has."""
    names = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    return ", ".join(f"{name} {then.get(name)} → {now.get(name)}" for name in names)


def changed_settings(then: Mapping[str, str]) -> str:
    """Returns which settings differ from those among the recorded `versions` of a checkpoint, as `differences` does."""
    recorded = {name: value for name, value in then.items() if name in _SETTINGS or _may_matter(name)}
    return differences(recorded, unusual_settings())


def _may_matter(variable: str) -> bool:
    """Returns whether a variable of the environment may change numbers, and is no setting that is looked up in JAX."""
    if variable in {name.upper() for name in (*_SETTINGS, *NEEDED_SETTINGS)}:
        return False
    return bool(_READ.fullmatch(variable)) and not _HARMLESS.fullmatch(variable)


def num_threads() -> str:
    """Returns the size of XLA's thread pool on a CPU."""
    return os.environ.get("NPROC") or str(num_cpus())


def cpu_instructions() -> str:
    """Returns the processor and, where Linux lists them, the sets of instructions that it has."""
    return f"{platform.machine()} {_processor()} {_cpu_info('flags') or _cpu_info('Features')}"


def _processor() -> str:
    """Returns the processor's name where Linux gives it: XLA compiles for that processor's instructions."""
    return _cpu_info("model name") or platform.machine()


def _cpu_info(name: str) -> str:
    """Returns what Linux says of the first core under this name; empty where it says nothing."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8", errors="replace").splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")
