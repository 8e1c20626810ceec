"""The versions and settings that bits depend on besides config and seed: which can be set, and what they are.

Every number that a run computes is a function of config, seed and what `versions` lists.
"""

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("veegan_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
# XLA's thread pool on a CPU otherwise has one thread for each core or simulated device, and how a product is split
# among threads changes its last bits.
THREADS = 4
# The first flag also keeps XLA from measuring which of its kernels is the fastest; the second keeps it from measuring
# the kernels of libraries.
DETERMINISTIC = "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0"


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
            split.
    """
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    kind = jax.default_backend()
    found |= {"python": platform.python_version(), "platform": kind, "device": jax.devices()[0].device_kind}
    if kind == "cpu":
        found |= {"processor": _processor(), "threads": os.environ.get("NPROC") or str(os.cpu_count())}
    shards = config.get("logical_shards") or config.get("devices") or jax.device_count()
    return found | {"XLA_FLAGS": os.environ.get("XLA_FLAGS", ""), "shards": str(shards)}


def _processor() -> str:
    """Returns the processor's name where Linux gives it: XLA compiles for that processor's instructions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
