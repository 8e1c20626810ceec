"""How a training step scales over devices, on paper and on simulated devices.

    python -m benchmarks.scaling paper      counts the FLOPs, bytes and all-reduces of the step as the TPU's compiler
                                            compiles it, and computes what to expect of TPU v5e slices and of eight
                                            H100s. It compiles ahead of time, and needs no TPU, but libtpu: pip install
                                            -e '.[tpu]'
    python -m benchmarks.scaling measure    times the step on 1, 2, 4 and 8 simulated devices of this machine's CPU
    python -m benchmarks.scaling shards     times what logical shards (config.logical_shards) cost on this machine's CPU

Each command prints Markdown. The data are noise of each data set's shape and type, since no time or size depends on
their content. docs/scaling.md shows the tables and explains them.
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

from configs import celeba, cifar10, grid_paper, ring, stacked_digits, stacked_mnist
from veegan_jax.config.build import build
from veegan_jax.data.readers.idx import FILES
from veegan_jax.parallel.devices import replicate
from veegan_jax.storage.versions import THREADS
from veegan_jax.train.compile import fused_step, initial_state, select_devices

# The share of its peak that a chip's matrix units are assumed to reach.
UTILISATION = 0.5
# The cycles per second of a v5e chip: its four units of 128×128 multiplications and additions reach its peak at this
# rate.
CLOCK = 1.5e9
# The numbers of simulated devices that are measured.
DEVICES = (1, 2, 4, 8)
# The configs that are measured, with the number of steps in a timed call.
MEASURED = {"ring": 200, "stacked_digits": 50, "stacked_mnist": 2}
# The TPU's library would otherwise ask the host of a TPU for these.
WITHOUT_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class StepCost(NamedTuple):
    """What one device does in one step.

    Attributes:
        flops: floating-setting operations.
        traffic: bytes that the program's operations read and write.
        fixed_traffic: the part of `traffic` that does not depend on the batch: state and gradients.
        reduced: bytes of each all-reduce.
    """

    flops: float
    traffic: float
    fixed_traffic: float
    reduced: tuple[int, ...]


class Slice(NamedTuple):
    """Chips that train together.

    Attributes:
        chips: the number of chips.
        peak: FLOP/s of one chip's matrix units, in the precision in which JAX multiplies float32.
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
# whole pod, since only its axes wrap around. An all-reduce travels along both axes and back, at one microsecond a hop.
# float32 is multiplied in one pass of bfloat16 on a TPU, and in TF32 on a GPU.
V5E = {"peak": 197e12, "memory": 819e9}
SLICES = {
    "v5e-1": Slice(1, network=math.inf, latency=0.0, **V5E),
    "v5e-8": Slice(8, network=100e9, latency=2 * (1 + 3) * 1e-6, **V5E),
    "v5e-32": Slice(32, network=100e9, latency=2 * (3 + 7) * 1e-6, **V5E),
    "v5e-256": Slice(256, network=200e9, latency=2 * (8 + 8) * 1e-6, **V5E),
    "8 H100": Slice(8, peak=494e12, memory=3.35e12, network=450e9, latency=2 * 7 * 1e-6),
}

SEVERAL = [name for name, chips in SLICES.items() if chips.chips > 1]


class StepTime(NamedTuple):
    """The seconds of a step's computation, and of its all-reduces."""

    compute: float
    network: float

    @property
    def without_overlap(self) -> float:
        """The seconds of a step in which no all-reduce overlaps with computation."""
        return self.compute + self.network

    @property
    def with_overlap(self) -> float:
        """The seconds of a step in which all all-reduces overlap with computation."""
        return max(self.compute, self.network)


def roofline(cost: StepCost, chips: Slice, share: float = 1.0) -> StepTime:
    """Returns the time of a step by the roofline model.

    Args:
        cost: the cost of a step on one device with the whole batch.
        chips: the chips that the step runs on.
        share: the part of that batch that each chip has.
    """
    flops, traffic = cost.flops * share, cost.fixed_traffic + (cost.traffic - cost.fixed_traffic) * share
    compute = max(flops / (UTILISATION * chips.peak), traffic / chips.memory)
    if chips.chips == 1:
        return StepTime(compute, 0.0)
    sent = 2 * (chips.chips - 1) / chips.chips * sum(cost.reduced)
    return StepTime(compute, sent / chips.network + len(cost.reduced) * chips.latency)


def batch_growth(cost: StepCost, chips: Slice, efficiency: float = 0.9) -> float:
    """Returns by what factor a device's batch must grow for this efficiency of weak scaling without any overlap."""
    compute = roofline(cost, chips).network * efficiency / (1 - efficiency)
    by_products = compute * UTILISATION * chips.peak / cost.flops
    by_traffic = (compute * chips.memory - cost.fixed_traffic) / (cost.traffic - cost.fixed_traffic)
    return max(0.0, min(by_products, by_traffic))


def all_reduce_bytes(program: str) -> tuple[int, ...]:
    """Returns the bytes of each all-reduce of a compiled program, given as text."""

    def size(bits: str, dimensions: str) -> int:
        return int(bits) // 8 * math.prod(int(n) for n in dimensions.split(",") if n)

    types = re.findall(r" = (.*?) all-reduce\(", program)
    return tuple(sum(size(*array) for array in re.findall(r"[a-z](\d+)\[([\d,]*)\]", kind)) for kind in types)


def nbytes(tree: Any) -> int:
    """Returns the bytes of all arrays of a tree, without those whose dtype numpy lacks: keys."""
    arrays = [a for a in jax.tree.leaves(tree) if isinstance(a.dtype, np.dtype)]
    return sum(a.size * a.dtype.itemsize for a in arrays)


def configs_with_noise(folder: Path) -> dict[str, ConfigDict]:
    """Returns the configs by name, with data of noise that is written to a folder."""
    on_arrays = {"ring": ring, "grid_paper": grid_paper, "stacked_digits": stacked_digits}
    images = {"stacked_mnist": stacked_mnist, "cifar10": cifar10, "celeba": celeba}
    configs = {name: module.get_config() for name, module in {**on_arrays, **images}.items()}
    large = configs["resnet_cifar10"] = cifar10.get_config()
    large.model, large.resnet.base_width, large.gen_updates = "resnet", 128, 1
    paths = write_noise(folder)
    for config in configs.values():
        if config.data in paths:
            config[config.data].path = paths[config.data]
    return configs


def write_noise(folder: Path) -> dict[str, str]:
    """Writes files of noise that sources of images read; returns their paths by the source's name."""
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
    """Returns the compiled step, with the config's batch on each chip, and the shapes of the state."""
    devices = topologies.get_topology_desc(platform="tpu", topology_name=chips).devices
    config = config.copy_and_resolve_references()
    config.batch_size *= len(devices)
    config.parallel = "shard_map"  # pmap gives the same program, but cannot be lowered for absent devices
    experiment = build(config)
    state = jax.eval_shape(lambda: initial_state(experiment))
    arrays = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), experiment.source.train)
    traced = jax.jit(fused_step(experiment, devices, 1), donate_argnums=0).trace(state, arrays)
    return traced.lower(lowering_platforms=("tpu",)).compile(), state


def compiled_cost(config: ConfigDict) -> tuple[StepCost, list[str]]:
    """Returns the cost of a config's step, and its row of the table (`COST_HEADINGS`)."""
    compiled, state = compiled_for_tpu(config)
    counts, memory, program = compiled.cost_analysis(), compiled.memory_analysis(), compiled.as_text()
    gradients = config.disc_updates * nbytes(state.params["disc"])
    gradients += config.gen_updates * (nbytes(state.params) - nbytes(state.params["disc"]))
    fixed_traffic = 2 * (nbytes(state) + gradients)
    cost = StepCost(counts["flops"], counts["bytes accessed"], fixed_traffic, all_reduce_bytes(program))
    cycles = sum(int(n) for n in re.findall(r'"estimated_cycles":"(\d+)"', program))
    figures = (
        config.batch_size,
        nbytes(state.params) / 4e6,
        nbytes(state.opt_state) / 1e6,
        nbytes(state.ema) / 1e6,
        (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e6,
        cost.flops / 1e9,
        cost.traffic / 1e6,
        len(cost.reduced),
        gradients / 1e6,
        (sum(cost.reduced) - gradients) / 1e3,
        roofline(cost, SLICES["v5e-1"]).compute * 1e3,
        cycles / CLOCK * 1e3,
    )
    return cost, [f"{figure:.3g}" if figure < 1000 else f"{figure:,.0f}" for figure in figures]


COST_HEADINGS = (
    "batch a device", "parameters, M", "optimizer, MB", "EMA, MB", "memory, MB", "GFLOP", "traffic, MB", "all-reduces",
    "gradients, MB", "other, kB", "roofline, ms", "compiler's, ms",
)  # fmt: skip


def efficiencies(cost: StepCost, config: ConfigDict) -> list[str]:
    """Returns the table's cells for `SEVERAL` slices: weak scaling, the batch for 90 % of it, and strong scaling.

    An efficiency is two per cents: first with no all-reduce overlapped, then with all. It is '–' where the batch does
    not divide.
    """

    def efficiency(chips: Slice, share: float) -> str:
        alone, each = roofline(cost, chips._replace(chips=1)).compute, roofline(cost, chips, share)
        low, high = (100 * share * alone / time for time in (each.without_overlap, each.with_overlap))
        return f"{low:.0f}–{high:.0f}"

    several = [SLICES[name] for name in SEVERAL]
    weak = [efficiency(chips, 1.0) for chips in several]
    batches = [f"{batch_growth(cost, chips) * config.batch_size:.0f}" for chips in several]
    strong = [
        "–" if config.batch_size % (chips.chips * config.packing) else efficiency(chips, 1 / chips.chips)
        for chips in several
    ]
    return weak + batches + strong


def paper(names: Sequence[str]) -> None:
    """Prints the costs of the configs' steps, and the efficiencies that follow from them."""
    for name, value in WITHOUT_TPU.items():
        os.environ.setdefault(name, value)
    jax.config.update("jax_platforms", "cpu")  # the TPU's library compiles, and must not look for a TPU
    costs, outlook = [], []
    with tempfile.TemporaryDirectory() as folder:
        configs = configs_with_noise(Path(folder))
        for name in names or configs:
            cost, row = compiled_cost(configs[name])
            costs.append([name, *row])
            outlook.append([name, *efficiencies(cost, configs[name])])
            print(f"compiled {name}", file=sys.stderr, flush=True)
    kinds = ("weak %", "90 % at", "strong %")
    print_table(costs, "", *COST_HEADINGS)
    print_table(outlook, "", *(f"{kind}, {name}" for kind in kinds for name in SEVERAL))


def print_table(rows: Sequence[Sequence[str]], *headings: str) -> None:
    """Prints a table in Markdown."""
    print(tabulate(rows, headings, "github", disable_numparse=True, colalign=["left"] + ["right"] * len(rows[0][1:])))
    print(flush=True)


class Setting(NamedTuple):
    """The circumstances in which a step is timed.

    Attributes:
        devices: the number of simulated devices.
        batch: the batch of all devices together.
        shards: the number of logical shards; 0 for plain data parallelism.
        threads: the threads of XLA's pool; 0 for XLA's own choice, the number of cores or of devices.
    """

    devices: int
    batch: int
    shards: int = 0
    threads: int = 0


def serve(name: str, setting: Setting) -> None:
    """Compiles a config's step, times one call for each line of standard input, and prints the seconds of a step."""
    jax.config.update("jax_num_cpu_devices", setting.devices)
    with tempfile.TemporaryDirectory() as folder:
        config = configs_with_noise(Path(folder))[name]
        config.batch_size, config.logical_shards = setting.batch, setting.shards
        experiment = build(config)
    devices, steps = select_devices(config), MEASURED[name]
    call = fused_step(experiment, devices, steps)
    state: Any = replicate(initial_state(experiment), devices)
    arrays = replicate(jax.tree.map(jax.numpy.asarray, experiment.source.train), devices)
    for _ in itertools.chain([None], sys.stdin):  # the first call compiles
        start = time.perf_counter()
        state, _ = jax.block_until_ready(call(state, arrays))  # calls that queue on simulated devices can lock up
        print((time.perf_counter() - start) / steps, flush=True)


class Worker:
    """A process that serves one setting, since the numbers of devices and threads are fixed before JAX starts."""

    def __init__(self, name: str, setting: Setting):
        command = [sys.executable, "-m", "benchmarks.scaling", "serve", name, *map(str, setting)]
        environment = {**os.environ, **({"NPROC": str(setting.threads)} if setting.threads else {})}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._read()

    def _read(self) -> float:
        assert self._process.stdout
        return float(self._process.stdout.readline())

    def seconds(self) -> float:
        """Returns the seconds of a step, over one call."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def batch_sizes() -> dict[str, int]:
    """Returns the configs' batch sizes, by name."""
    with tempfile.TemporaryDirectory() as folder:
        return {name: config.batch_size for name, config in configs_with_noise(Path(folder)).items()}


def measure(names: Sequence[str], rounds: int) -> None:
    """Prints the times of the configs' steps on 1, 2, 4 and 8 devices."""
    rows, batches = [], batch_sizes()
    for name in names or MEASURED:
        whole = batches[name]
        weak = {n: whole * n // max(DEVICES) for n in DEVICES}
        pairs = {*weak.items(), *((1, batch) for batch in weak.values()), *((n, whole) for n in DEVICES)}
        seconds = time_steps(name, [Setting(*pair) for pair in sorted(pairs)], rounds)
        for kind, chosen in (("weak", weak), ("strong", dict.fromkeys(DEVICES, whole))):
            cells = [median(seconds[Setting(n, batch)], seconds[Setting(1, batch)]) for n, batch in chosen.items()]
            rows.append([f"{name}, {kind}: {chosen[1]} {'a device' if kind == 'weak' else 'in all'}", *cells])
            print(rows[-1], file=sys.stderr, flush=True)
    print_table(rows, "ms a step (ratio)", *(f"{n} device{'s' * (n > 1)}" for n in DEVICES))


def shards(names: Sequence[str], rounds: int) -> None:
    """Prints what logical shards cost on one device, and what their fixed size of the thread pool costs alone."""
    rows, batches = [], batch_sizes()
    for name in names or MEASURED:
        plain = Setting(1, batches[name])
        settings = {"plain": plain, "plain, threads": plain._replace(threads=THREADS)}
        settings |= {f"{n} shards": plain._replace(threads=THREADS, shards=n) for n in (4, 8)}
        seconds = time_steps(name, list(settings.values()), rounds)
        rows.append([name, *(median(seconds[setting], seconds[plain]) for setting in settings.values())])
    print_table(rows, "ms a step (ratio)", "plain", f"plain, {THREADS} threads", "4 shards", "8 shards")


def median(seconds: Sequence[float], reference: Sequence[float]) -> str:
    """Returns the median of times, in ms, and the median of their ratios to a reference's times in the same rounds."""
    ratio = statistics.median(a / b for a, b in zip(seconds, reference, strict=True))
    return f"{statistics.median(seconds) * 1e3:.3g} ({ratio:.2f})"


def time_steps(name: str, settings: Sequence[Setting], rounds: int) -> dict[Setting, list[float]]:
    """Returns the seconds of a step in each setting, round by round, so that a noisy moment hits all settings alike."""
    with ExitStack() as stack:
        workers = {}
        for setting in settings:
            workers[setting] = Worker(name, setting)
            stack.callback(workers[setting].close)
            print(f"compiled {name}, {setting}", file=sys.stderr, flush=True)
        times = [{setting: worker.seconds() for setting, worker in workers.items()} for _ in range(rounds)]
    return {setting: [of_round[setting] for of_round in times] for setting in settings}


def main() -> None:
    """Parses the command line, and prints the tables that it asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("paper").add_argument("names", nargs="*", help="configs; all by default")
    for command in ("measure", "shards"):
        measured = commands.add_parser(command)
        measured.add_argument("names", nargs="*", help=f"of {', '.join(MEASURED)}; all by default")
        measured.add_argument("--rounds", type=int, default=7)
    server = commands.add_parser("serve", help="what measure and shards run in their processes")
    server.add_argument("name")
    for argument in Setting._fields:
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
            serve(flags.name, Setting(*(getattr(flags, field) for field in Setting._fields)))


if __name__ == "__main__":
    main()
