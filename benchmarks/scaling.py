"""How a training step scales over devices, on paper and on simulated devices.

    python -m benchmarks.scaling paper      counts the FLOPs, bytes and all-reduces of the step as the TPU's compiler
                                            compiles it, and computes what to expect of TPU v5e slices and of eight
                                            H100s. It compiles ahead of time, and needs no TPU, but libtpu: pip install
                                            -e '.[tpu]'
    python -m benchmarks.scaling measure    times the step on 1, 2, 4 and 8 simulated devices of this machine's CPU
    python -m benchmarks.scaling shards     times what logical shards (config.logical_shards) cost on this machine's CPU

Each command prints Markdown. The images are noise of each data set's shape and type, since no time or size depends
on their content. docs/scaling.md shows the tables and explains them.
"""

import argparse
import math
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies
from ml_collections import ConfigDict
from tabulate import tabulate

from benchmarks.counts import nbytes
from benchmarks.worker import Setting, Worker
from benchmarks.workloads import WORKLOADS, config_of
from veegan_jax.config.build import build
from veegan_jax.storage.versions import THREADS
from veegan_jax.train.compile import fused_step, initial_state

# The share of its peak that a chip's matrix units are assumed to reach.
UTILISATION = 0.5
# The cycles per second of a v5e chip: its four units of 128×128 multiplications and additions reach its peak at this
# rate.
CLOCK = 1.5e9
# The numbers of simulated devices that are measured.
DEVICES = (1, 2, 4, 8)
# The workloads whose costs are counted, and those that are measured by default.
COUNTED = ("ring", "grid_paper", "stacked_digits", "stacked_mnist", "cifar10", "celeba", "resnet_cifar10")
MEASURED = ("ring", "stacked_digits", "stacked_mnist")
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
        for name in names or COUNTED:
            config = config_of(name, Path(folder))
            cost, row = compiled_cost(config)
            costs.append([name, *row])
            outlook.append([name, *efficiencies(cost, config)])
            print(f"compiled {name}", file=sys.stderr, flush=True)
    kinds = ("weak %", "90 % at", "strong %")
    print_table(costs, "", *COST_HEADINGS)
    print_table(outlook, "", *(f"{kind}, {name}" for kind in kinds for name in SEVERAL))


def print_table(rows: Sequence[Sequence[str]], *headings: str) -> None:
    """Prints a table in Markdown."""
    print(tabulate(rows, headings, "github", disable_numparse=True, colalign=["left"] + ["right"] * len(rows[0][1:])))
    print(flush=True)


def setting(name: str, devices: int, batch: int, shards: int = 0, threads: int = 0) -> Setting:
    """Returns the circumstances in which a step is timed.

    Args:
        name: a workload.
        devices: the number of simulated devices.
        batch: the batch of all devices together.
        shards: the number of logical shards; 0 for plain data parallelism.
        threads: the threads of XLA's pool; 0 for XLA's own choice, the number of cores or of devices.
    """
    return Setting(name, "product", (("batch_size", batch), ("logical_shards", shards)), devices, threads)


def batch_sizes() -> dict[str, int]:
    """Returns the configs' batch sizes, by name."""
    return {name: WORKLOADS[name].make().batch_size for name in MEASURED}


def measure(names: Sequence[str], rounds: int) -> None:
    """Prints the times of the configs' steps on 1, 2, 4 and 8 devices."""
    rows, batches = [], batch_sizes()
    for name in names or MEASURED:
        whole = batches[name]
        weak = {n: whole * n // max(DEVICES) for n in DEVICES}
        pairs = {*weak.items(), *((1, batch) for batch in weak.values()), *((n, whole) for n in DEVICES)}
        seconds = time_steps([setting(name, *pair) for pair in sorted(pairs)], rounds)
        for kind, chosen in (("weak", weak), ("strong", dict.fromkeys(DEVICES, whole))):
            timed = [(setting(name, n, batch), setting(name, 1, batch)) for n, batch in chosen.items()]
            cells = [median(seconds[several], seconds[one]) for several, one in timed]
            rows.append([f"{name}, {kind}: {chosen[1]} {'a device' if kind == 'weak' else 'in all'}", *cells])
            print(rows[-1], file=sys.stderr, flush=True)
    print_table(rows, "ms a step (ratio)", *(f"{n} device{'s' * (n > 1)}" for n in DEVICES))


def shards(names: Sequence[str], rounds: int) -> None:
    """Prints what logical shards cost on one device, and what their fixed size of the thread pool costs alone."""
    rows, batches = [], batch_sizes()
    for name in names or MEASURED:
        plain = setting(name, 1, batches[name])
        settings = [plain, *(setting(name, 1, batches[name], shards, THREADS) for shards in (0, 4, 8))]
        seconds = time_steps(settings, rounds)
        rows.append([name, *(median(seconds[each], seconds[plain]) for each in settings)])
    print_table(rows, "ms a step (ratio)", "plain", f"plain, {THREADS} threads", "4 shards", "8 shards")


def median(seconds: Sequence[float], reference: Sequence[float]) -> str:
    """Returns the median of times, in ms, and the median of their ratios to a reference's times in the same rounds."""
    ratio = statistics.median(a / b for a, b in zip(seconds, reference, strict=True))
    return f"{statistics.median(seconds) * 1e3:.3g} ({ratio:.2f})"


def time_steps(settings: Sequence[Setting], rounds: int) -> dict[Setting, list[float]]:
    """Returns the seconds of a step in each setting, round by round, so that a noisy moment hits all settings alike."""
    with ExitStack() as stack:
        workers = {}
        for each in settings:
            workers[each] = Worker(each)
            stack.callback(workers[each].close)
            print(f"compiled {each}", file=sys.stderr, flush=True)
        times = [{each: worker.take()["seconds"] for each, worker in workers.items()} for _ in range(rounds)]
    return {each: [of_round[each] for of_round in times] for each in settings}


def main() -> None:
    """Parses the command line, and prints the tables that it asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("paper").add_argument("names", nargs="*", help="configs; all by default")
    for command in ("measure", "shards"):
        measured = commands.add_parser(command)
        measured.add_argument("names", nargs="*", help=f"of {', '.join(MEASURED)}; all by default")
        measured.add_argument("--rounds", type=int, default=7)
    flags = parser.parse_args()
    match flags.command:
        case "paper":
            paper(flags.names)
        case "measure":
            measure(flags.names, flags.rounds)
        case _:
            shards(flags.names, flags.rounds)


if __name__ == "__main__":
    main()
