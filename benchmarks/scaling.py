"""How the step scales over devices, on paper and on simulated ones.

    python -m benchmarks.scaling paper      FLOPs, bytes and all-reduces of the step as the TPU's compiler makes it, and
                                            what they make of TPU v5e slices and of eight H100s; pip install -e '.[tpu]'
                                            first. It compiles ahead of time for a TPU that need not be there.
    python -m benchmarks.scaling measure    the step on 1, 2, 4 and 8 simulated devices of this machine's CPU
    python -m benchmarks.scaling shards     what logical shards (config.logical_shards) cost on this machine's CPU

All print Markdown. Data are noise of each set's shape and type, as no time or size depends on what is in it.
"""

import argparse
import gzip
import itertools
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import topologies
from ml_collections import ConfigDict
from tabulate import tabulate

from benchmarks.stacked_mnist_step import laxs_gradients
from configs import celeba, cifar10, grid_paper, ring, stacked_digits, stacked_mnist
from veegan_jax.config.build import build
from veegan_jax.data.readers.idx import FILES
from veegan_jax.parallel.devices import replicate
from veegan_jax.storage.versions import THREADS
from veegan_jax.train.compile import fused_step, initial_state, select_devices

# The share of its peak that a chip's matrix units are taken to reach.
UTILISATION = 0.5
# Cycles a second of a v5e chip: four units of 128×128 multiplications and additions reach its peak at this.
CLOCK = 1.5e9
# How many simulated devices are measured, and the steps of a call that is timed.
DEVICES = (1, 2, 4, 8)
MEASURED = {"ring": 200, "stacked_digits": 50, "stacked_mnist": 2}
# What the TPU's library would otherwise ask a TPU's host.
TPU_ABSENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class Count(NamedTuple):
    """What one device does in one step.

    Attributes:
        flops: floating-point operations.
        traffic: bytes that the program's operations read and write.
        fixed: those of them that do not depend on the batch: of the state, and of the gradients.
        reduced: bytes of each all-reduce.
    """

    flops: float
    traffic: float
    fixed: float
    reduced: tuple[int, ...]


class Slice(NamedTuple):
    """Chips that train together.

    Attributes:
        chips: how many.
        peak: FLOP/s of one chip's matrix units, in the precision that JAX multiplies float32 in.
        memory: bytes/s of one chip's memory.
        network: bytes/s that one chip sends to its neighbours in an all-reduce.
        latency: seconds of an all-reduce of nothing.
    """

    chips: int
    peak: float
    memory: float
    network: float
    latency: float


# A v5e chip has four links of 50 GB/s each way. Two of them make a ring of any slice; all four make two rings of the
# pod, whose axes alone wrap around. An all-reduce goes along both axes and back, a microsecond a hop. float32 is
# multiplied in one pass of bfloat16 on a TPU, and in TF32 on a GPU.
V5E = {"peak": 197e12, "memory": 819e9}
SLICES = {
    "v5e-1": Slice(1, network=math.inf, latency=0.0, **V5E),
    "v5e-8": Slice(8, network=100e9, latency=2 * (1 + 3) * 1e-6, **V5E),
    "v5e-32": Slice(32, network=100e9, latency=2 * (3 + 7) * 1e-6, **V5E),
    "v5e-256": Slice(256, network=200e9, latency=2 * (8 + 8) * 1e-6, **V5E),
    "8 H100": Slice(8, peak=494e12, memory=3.35e12, network=450e9, latency=2 * 7 * 1e-6),
}

SEVERAL = [name for name, chips in SLICES.items() if chips.chips > 1]


class Times(NamedTuple):
    """Of a step, in seconds: of its computation, and of its all-reduces."""

    compute: float
    network: float

    @property
    def apart(self) -> float:
        """Where no all-reduce overlaps with computation."""
        return self.compute + self.network

    @property
    def overlapped(self) -> float:
        """Where all do."""
        return max(self.compute, self.network)


def times(count: Count, chips: Slice, share: float = 1.0) -> Times:
    """A roofline of the step.

    Args:
        count: of a device with the whole batch.
        chips: that it runs on.
        share: of that batch that each chip has.
    """
    flops, traffic = count.flops * share, count.fixed + (count.traffic - count.fixed) * share
    compute = max(flops / (UTILISATION * chips.peak), traffic / chips.memory)
    if chips.chips == 1:
        return Times(compute, 0.0)
    sent = 2 * (chips.chips - 1) / chips.chips * sum(count.reduced)
    return Times(compute, sent / chips.network + len(count.reduced) * chips.latency)


def enough(count: Count, chips: Slice, efficiency: float = 0.9) -> float:
    """How many times a device's batch must grow for weak scaling of this efficiency with no all-reduce overlapped."""
    compute = times(count, chips).network * efficiency / (1 - efficiency)
    by_products = compute * UTILISATION * chips.peak / count.flops
    by_traffic = (compute * chips.memory - count.fixed) / (count.traffic - count.fixed)
    return max(0.0, min(by_products, by_traffic))


def reductions(program: str) -> tuple[int, ...]:
    """The bytes of each all-reduce of a compiled program, given as text."""

    def size(bits: str, dimensions: str) -> int:
        return int(bits) // 8 * math.prod(int(n) for n in dimensions.split(",") if n)

    types = re.findall(r" = (.*?) all-reduce\(", program)
    return tuple(sum(size(*array) for array in re.findall(r"[a-z](\d+)\[([\d,]*)\]", kind)) for kind in types)


def nbytes(tree: Any) -> int:
    """Of all arrays that have a dtype of numpy's: the key is left out."""
    arrays = [a for a in jax.tree.leaves(tree) if isinstance(a.dtype, np.dtype)]
    return sum(a.size * a.dtype.itemsize for a in arrays)


def experiments(folder: Path) -> dict[str, ConfigDict]:
    """The configs by name, of data made in a folder."""
    found = {"ring": ring, "grid_paper": grid_paper, "stacked_digits": stacked_digits}
    images = {"stacked_mnist": stacked_mnist, "cifar10": cifar10, "celeba": celeba}
    configs = {name: module.get_config() for name, module in {**found, **images}.items()}
    large = configs["resnet_cifar10"] = cifar10.get_config()
    large.model, large.resnet.base_width, large.gen_updates = "resnet", 128, 1
    paths = write_noise(folder)
    for config in configs.values():
        if config.data in paths:
            config[config.data].path = paths[config.data]
    return configs


def write_noise(folder: Path) -> dict[str, str]:
    """Files of noise that sources of images read, by the source's name."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(FILES):
        shape, labels = (60, 28, 28), np.arange(60, dtype=np.uint8) % 10
        array = labels if i % 2 else rng.integers(0, 256, shape, dtype=np.uint8)
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        (folder / name).write_bytes(gzip.compress(header + array.tobytes()))
    photographs, labels = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), np.arange(60, dtype=np.uint8) % 10
    np.savez(folder / "cifar10.npz", x_train=photographs, y_train=labels, x_test=photographs, y_test=labels)
    np.save(folder / "celeba.npy", rng.integers(0, 256, (60, 64, 64, 3), dtype=np.uint8))
    paths = {"stacked_mnist": folder, "cifar10": folder / "cifar10.npz", "celeba": folder / "celeba.npy"}
    return {name: str(path) for name, path in paths.items()}


def compiled_for_tpu(config: ConfigDict, chips: str = "v5e:2x4") -> tuple[Any, Any]:
    """The step of the config's batch on each chip, compiled; and the shapes of the state."""
    devices = topologies.get_topology_desc(platform="tpu", topology_name=chips).devices
    config = config.copy_and_resolve_references()
    config.batch_size *= len(devices)
    config.parallel = "shard_map"  # the same program as pmap's, and lowered for devices that are not there
    experiment = build(config)
    state = jax.eval_shape(lambda: initial_state(experiment))
    arrays = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), experiment.source.train)
    with laxs_gradients():  # which are the accelerators'
        traced = jax.jit(fused_step(experiment, devices, 1), donate_argnums=0).trace(state, arrays)
    return traced.lower(lowering_platforms=("tpu",)).compile(), state


def counted(config: ConfigDict) -> tuple[Count, list[str]]:
    """The count of a config's step, and its row of the table."""
    compiled, state = compiled_for_tpu(config)
    cost, memory, program = compiled.cost_analysis(), compiled.memory_analysis(), compiled.as_text()
    gradients = config.disc_updates * nbytes(state.params["disc"])
    gradients += config.gen_updates * (nbytes(state.params) - nbytes(state.params["disc"]))
    count = Count(cost["flops"], cost["bytes accessed"], 2 * (nbytes(state) + gradients), reductions(program))
    cycles = sum(int(n) for n in re.findall(r'"estimated_cycles":"(\d+)"', program))
    figures = (
        config.batch_size,
        nbytes(state.params) / 4e6,
        nbytes(state.opt_state) / 1e6,
        nbytes(state.ema) / 1e6,
        (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e6,
        count.flops / 1e9,
        count.traffic / 1e6,
        len(count.reduced),
        gradients / 1e6,
        (sum(count.reduced) - gradients) / 1e3,
        times(count, SLICES["v5e-1"]).compute * 1e3,
        cycles / CLOCK * 1e3,
    )
    return count, [f"{figure:.3g}" if figure < 1000 else f"{figure:,.0f}" for figure in figures]


COUNTED = (
    "batch a device", "parameters, M", "optimizer, MB", "EMA, MB", "memory, MB", "GFLOP", "traffic, MB", "all-reduces",
    "gradients, MB", "other, kB", "roofline, ms", "compiler's, ms",
)  # fmt: skip


def expected(count: Count, config: ConfigDict) -> list[str]:
    """The efficiencies of weak scaling, the batch that is enough, and those of strong scaling, on all SEVERAL slices.

    In per cent, of each first with no all-reduce overlapped, then with all; '–' where the batch does not divide.
    """

    def cell(chips: Slice, share: float) -> str:
        alone, each = times(count, chips._replace(chips=1)).compute, times(count, chips, share)
        low, high = (100 * share * alone / time for time in (each.apart, each.overlapped))
        return f"{low:.0f}–{high:.0f}"

    several = [SLICES[name] for name in SEVERAL]
    sizes = [f"{enough(count, chips) * config.batch_size:.0f}" for chips in several]
    strong = [
        "–" if config.batch_size % (chips.chips * config.packing) else cell(chips, 1 / chips.chips) for chips in several
    ]
    return [cell(chips, 1.0) for chips in several] + sizes + strong


def paper(names: Sequence[str]) -> None:
    """Counts the steps of configs, and prints what follows."""
    for name, value in TPU_ABSENT.items():
        os.environ.setdefault(name, value)
    jax.config.update("jax_platforms", "cpu")  # the TPU's library compiles and must not look for a TPU
    rows, outlook = [], []
    with tempfile.TemporaryDirectory() as folder:
        configs = experiments(Path(folder))
        for name in names or configs:
            count, row = counted(configs[name])
            rows.append([name, *row])
            outlook.append([name, *expected(count, configs[name])])
            print(f"compiled {name}", file=sys.stderr, flush=True)
    kinds = ("weak %", "90 % at", "strong %")
    table(rows, "", *COUNTED)
    table(outlook, "", *(f"{kind}, {name}" for kind in kinds for name in SEVERAL))


def table(rows: Sequence[Sequence[str]], *headers: str) -> None:
    """Prints Markdown."""
    print(tabulate(rows, headers, "github", disable_numparse=True, colalign=["left"] + ["right"] * len(rows[0][1:])))
    print(flush=True)


class Point(NamedTuple):
    """Where a step is timed.

    Attributes:
        devices: how many.
        batch: of all devices together.
        shards: logical ones; 0 for plain data parallelism.
        threads: of XLA's pool; 0 for as many as there are cores or devices.
    """

    devices: int
    batch: int
    shards: int = 0
    threads: int = 0


def serve(name: str, point: Point) -> None:
    """Compiles a config's step for a point, and for every line that it reads times one call."""
    jax.config.update("jax_num_cpu_devices", point.devices)
    with tempfile.TemporaryDirectory() as folder:
        config = experiments(Path(folder))[name]
        config.batch_size, config.logical_shards = point.batch, point.shards
        experiment = build(config)
    chosen, steps = select_devices(config), MEASURED[name]
    call = fused_step(experiment, chosen, steps)
    state: Any = replicate(initial_state(experiment), chosen)
    arrays = replicate(jax.tree.map(jax.numpy.asarray, experiment.source.train), chosen)
    for _ in itertools.chain([None], sys.stdin):  # the first call compiles
        start = time.perf_counter()
        state, _ = jax.block_until_ready(call(state, arrays))  # calls that queue on simulated devices can lock up
        print((time.perf_counter() - start) / steps, flush=True)


class Worker:
    """A process of its own that serves one point: devices and threads are fixed before JAX starts."""

    def __init__(self, name: str, point: Point):
        command = [sys.executable, "-m", "benchmarks.scaling", "serve", name, *map(str, point)]
        environment = {**os.environ, **({"NPROC": str(point.threads)} if point.threads else {})}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._read()

    def _read(self) -> float:
        assert self._process.stdout
        return float(self._process.stdout.readline())

    def seconds(self) -> float:
        """Of a step, over one call."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def measure(names: Sequence[str], rounds: int) -> None:
    """Times steps of configs on 1, 2, 4 and 8 devices, round by round, so that a noisy moment hits them all."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        batches = {name: config.batch_size for name, config in experiments(Path(folder)).items()}
    for name in names or MEASURED:
        whole = batches[name]
        weak = {n: whole * n // max(DEVICES) for n in DEVICES}
        pairs = {*weak.items(), *((1, batch) for batch in weak.values()), *((n, whole) for n in DEVICES)}
        seconds = timed(name, [Point(*pair) for pair in sorted(pairs)], rounds)
        for kind, chosen in (("weak", weak), ("strong", dict.fromkeys(DEVICES, whole))):
            cells = [cell(seconds[Point(n, batch)], seconds[Point(1, batch)]) for n, batch in chosen.items()]
            rows.append([f"{name}, {kind}: {chosen[1]} {'a device' if kind == 'weak' else 'in all'}", *cells])
            print(rows[-1], file=sys.stderr, flush=True)
    table(rows, "ms a step (ratio)", *(f"{n} device{'s' * (n > 1)}" for n in DEVICES))


def shards(names: Sequence[str], rounds: int) -> None:
    """Times what logical shards cost on one device, and what the thread pool that they want does."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        batches = {name: config.batch_size for name, config in experiments(Path(folder)).items()}
    for name in names or MEASURED:
        plain = Point(1, batches[name])
        points = {"plain": plain, "its threads": plain._replace(threads=THREADS)}
        points |= {f"{n} shards": plain._replace(threads=THREADS, shards=n) for n in (4, 8)}
        seconds = timed(name, list(points.values()), rounds)
        rows.append([name, *(cell(seconds[point], seconds[plain]) for point in points.values())])
    table(rows, "ms a step (ratio)", "plain", f"plain, {THREADS} threads", "4 shards", "8 shards")


def cell(seconds: Sequence[float], alone: Sequence[float]) -> str:
    """The median of times in ms, and the median of their ratios to those of the same rounds on one device."""
    ratio = statistics.median(a / b for a, b in zip(seconds, alone, strict=True))
    return f"{statistics.median(seconds) * 1e3:.3g} ({ratio:.2f})"


def timed(name: str, points: Sequence[Point], rounds: int) -> dict[Point, list[float]]:
    """The seconds of a step at each point, round by round."""
    with ExitStack() as stack:
        workers = {}
        for point in points:
            workers[point] = Worker(name, point)
            stack.callback(workers[point].close)
            print(f"compiled {name}, {point}", file=sys.stderr, flush=True)
        measured = [{point: worker.seconds() for point, worker in workers.items()} for _ in range(rounds)]
    return {point: [one[point] for one in measured] for point in points}


def main() -> None:
    """Prints the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("paper").add_argument("names", nargs="*", help="configs; all when left out")
    for command in ("measure", "shards"):
        measured = commands.add_parser(command)
        measured.add_argument("names", nargs="*", help=f"of {', '.join(MEASURED)}; all when left out")
        measured.add_argument("--rounds", type=int, default=7)
    server = commands.add_parser("serve", help="what measure runs in its processes")
    server.add_argument("name")
    for argument in Point._fields:
        server.add_argument(argument, type=int)
    flags = parser.parse_args()
    match flags.command:
        case "paper":
            paper(flags.names)
        case "measure":
            measure(flags.names, flags.rounds)
        case "shards":
            shards(flags.names, flags.rounds)
        case _:
            serve(flags.name, Point(*(getattr(flags, field) for field in Point._fields)))


if __name__ == "__main__":
    main()
