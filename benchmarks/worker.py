"""A process that takes steps of one workload in one form whenever it is asked, and says how long they took.

The numbers of devices and threads are fixed before JAX starts, and a process's memory and first step are its own. So
every form has a process of its own, and one of them works at a time.
"""

import dataclasses
import importlib
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.counts import compiled_step, count_step
from benchmarks.peers.naive_jax import NaiveJax
from benchmarks.workloads import WORKLOADS, config_of
from veegan_jax.config.build import Experiment, build
from veegan_jax.parallel.devices import replicate
from veegan_jax.train.compile import fused_step, initial_state, select_devices
from veegan_jax.train.feed import Batches

# The forms in PyTorch: whether they are compiled, and whether images are laid out with channels last.
PYTORCH = {
    "pytorch": (False, False),
    "pytorch_channels_last": (False, True),
    "pytorch_compiled": (True, False),
    "pytorch_compiled_channels_last": (True, True),
}
# The side of the square matrices, and the bytes of the array, by which the machine's ceilings are timed.
MATMUL_SIDE, COPY_BYTES = 2048, 2**28


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a process times.

    Attributes:
        workload: a key of `WORKLOADS`; empty for the machine's ceilings.
        form: 'product', 'naive_jax', a key of `PYTORCH`, 'costs', 'matmul' or 'copy'.
        fields: the fields in which the config differs from the workload's, by path: `(('num_seeds', 5), …)`.
        devices: the number of simulated devices.
        threads: the number of threads of XLA's pool; 0 for XLA's own choice, the number of cores or of devices.
    """

    workload: str
    form: str = "product"
    fields: tuple[tuple[str, Any], ...] = ()
    devices: int = 1
    threads: int = 0


class Worker:
    """A process that serves one setting.

    Attributes:
        setting: what it times.
        started: what the process said after its first call; see `serve`.

    Raises:
        RuntimeError: if the process ends, or its first call takes longer than `limit` seconds.
    """

    def __init__(self, setting: Setting, limit: float = 600.0):
        self.setting = setting
        environment = {**os.environ, **({"NPROC": str(setting.threads)} if setting.threads else {})}
        environment["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # so that compilation is timed
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", json.dumps(dataclasses.asdict(setting)), str(time.time())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], limit)[0]:
            self._process.kill()
            self._process.communicate()
            raise RuntimeError(f"the first call took more than {limit:.0f} s")
        self.started: dict[str, float] = self._read()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"the process ended with code {self._process.wait()}")
        answer: dict[str, float] = json.loads(line)
        return answer

    def take(self, calls: int = 1) -> dict[str, float]:
        """Lets the process make some calls; returns the seconds and the processor's seconds of a step, and its peak."""
        assert self._process.stdin
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def experiment_of(setting: Setting, folder: Path) -> Experiment:
    """Builds what a setting times; images of noise are written to a folder."""
    config = config_of(setting.workload, folder)
    config.devices = setting.devices
    config.update_from_flattened_dict(dict(setting.fields))
    return build(config)


def make_run(setting: Setting) -> tuple[Callable[[int], Any], int]:
    """Returns a function that makes a number of calls and waits for them, and the number of steps in a call."""
    if setting.form in CEILINGS:
        return CEILINGS[setting.form](), 1
    with tempfile.TemporaryDirectory() as folder:
        experiment, steps = experiment_of(setting, Path(folder)), WORKLOADS[setting.workload].steps
    if setting.form == "product":
        return product(experiment, steps), steps
    state = initial_state(experiment)
    if setting.form == "naive_jax":
        peer: Any = NaiveJax(experiment, state)
    else:
        compiled, channels_last = PYTORCH[setting.form]
        pytorch = importlib.import_module("benchmarks.peers.pytorch")
        peer = pytorch.PyTorch(experiment, state, compiled=compiled, channels_last=channels_last)
    return lambda calls: peer.run(calls * steps), steps


def product(experiment: Experiment, steps: int) -> Callable[[int], None]:
    """Returns a function that makes a number of calls of the product's own fused step."""
    devices = select_devices(experiment.config)
    call = fused_step(experiment, devices, steps)
    state: Any = replicate(initial_state(experiment), devices)
    batches = Batches(experiment.source, experiment.config.batch_size, devices, 0)

    def run(calls: int) -> None:
        nonlocal state
        for _ in range(calls):
            state, scalars = call(state, batches.take(steps))
            if len(devices) > 1:  # calls that queue on simulated devices can lock up
                jax.block_until_ready(scalars)
        jax.block_until_ready(state)

    return run


def _matmul() -> Callable[[int], Any]:
    a = jax.random.normal(jax.random.key(0), (MATMUL_SIDE, MATMUL_SIDE))
    multiply = jax.jit(jnp.matmul)
    return lambda calls: [multiply(a, a).block_until_ready() for _ in range(calls)]


def _copy() -> Callable[[int], Any]:
    a = jnp.ones(COPY_BYTES // 4)
    negative = jax.jit(jnp.negative)
    return lambda calls: [negative(a).block_until_ready() for _ in range(calls)]


CEILINGS: dict[str, Callable[[], Callable[[int], Any]]] = {"matmul": _matmul, "copy": _copy}


def costs(setting: Setting) -> dict[str, float]:
    """Returns what XLA says of the compiled step, and what a count by hand says."""
    with tempfile.TemporaryDirectory() as folder:
        experiment = experiment_of(setting, Path(folder))
    compiled = compiled_step(experiment, select_devices(experiment.config), WORKLOADS[setting.workload].steps)
    found, memory = compiled.cost_analysis(), compiled.memory_analysis()
    return {
        "xla_flops": found["flops"],
        "xla_traffic_bytes": found["bytes accessed"],
        "xla_argument_bytes": memory.argument_size_in_bytes,
        "xla_temporary_bytes": memory.temp_size_in_bytes,
        "xla_unaliased_bytes": memory.output_size_in_bytes - memory.alias_size_in_bytes,
        **{f"hand_{name}": value for name, value in count_step(experiment)._asdict().items()},
    }


def peak_bytes() -> int:
    """Returns the most memory that this process has held.

    Linux counts it from the start of the program. `getrusage`, for other systems, counts the parent's peak too.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(setting: Setting, began: float) -> None:
    """Answers every number of calls on standard input with the seconds of their steps.

    The first answer, which is not asked for, is that of the first call, compilation included: `first_call`, its
    seconds, and `first_step`, the seconds from the start of the process until it has ended.
    """
    jax.config.update("jax_num_cpu_devices", setting.devices)
    if setting.form == "costs":
        print(json.dumps(costs(setting)), flush=True)
        return
    run, steps = make_run(setting)
    start = time.perf_counter()
    run(1)
    first = {"first_call": time.perf_counter() - start, "first_step": time.time() - began, "steps_of_call": steps}
    print(json.dumps(first), flush=True)
    for line in sys.stdin:
        calls = int(line)
        start, busy = time.perf_counter(), time.process_time()
        run(calls)
        seconds, processor = time.perf_counter() - start, time.process_time() - busy
        answer = {
            "seconds": seconds / calls / steps,
            "processor": processor / calls / steps,
            "peak_bytes": peak_bytes(),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    # JSON has lists for tuples.
    changed = tuple((field, tuple(value) if isinstance(value, list) else value) for field, value in given["fields"])
    serve(Setting(**{**given, "fields": changed}), float(sys.argv[2]))
