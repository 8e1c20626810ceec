"""Times the training step beside its peers, and against this machine's ceilings: make bench

    python -m benchmarks.bench [--workloads ring celeba] [--rounds 5] [--out bench]

The product's step is its own, compiled from the config. The peers, one file each in `benchmarks/peers`, take the same
step: tests/test_peers.py holds their losses and updates equal to the product's. Those in PyTorch need `pip install -e
'.[bench]'`. Each form has a process of its own, and each round goes over all of them, so that a noisy moment meets them
all. The folder then has `bench.json`, `bench.md` and `bench.png`.
"""

import argparse
import importlib.metadata
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import jax
from tabulate import tabulate

from benchmarks.worker import COPY_BYTES, MATMUL_SIDE, PYTORCH, Setting, Worker
from benchmarks.workloads import WORKLOADS, config_of

# The workloads that are timed by default, in about a quarter of an hour of two idle cores.
DEFAULT = ("grid_paper", "ring", "compare_grid", "stacked_digits", "stacked_mnist", "stacked_mnist_1")
# The workloads whose whole training is timed too: four periods of their measuring and saving take two minutes at most.
TRAINED = ("grid_paper", "ring", "stacked_digits")
# Other settings of the product's step: fields of the config, and numbers of simulated devices.
AXES: Mapping[str, Mapping[str, Any]] = {
    "5 seeds": {"fields": (("num_seeds", 5),)},
    "32 seeds": {"fields": (("num_seeds", 32),)},
    "2 devices": {"devices": 2},
    "4 devices": {"devices": 4},
    "8 devices": {"devices": 8},
    "bfloat16": {"fields": (("dtype", "bfloat16"),)},
}
CEILINGS = {form: Setting("", form) for form in ("matmul", "copy")}
# The seconds of one form's turn in a round, and the most that a form may take to compile.
TURN, LIMIT = 0.5, 240.0


def settings_of(name: str, axes: bool) -> dict[str, Setting]:
    """Returns what is timed of a workload, by the label of its row."""
    workload, torch = WORKLOADS[name], version("torch")
    peers = [form for form in workload.peers if torch or form not in PYTORCH]
    chosen = {"product": Setting(name), **{form: Setting(name, form) for form in peers}}
    if not axes:
        return chosen
    batch = workload.make().batch_size
    fitting = {label: given for label, given in AXES.items() if batch % (given.get("devices", 1) * 2) == 0}
    return {**chosen, **{f"product, {label}": Setting(name, **given) for label, given in fitting.items()}}


def time_rounds(settings: Mapping[str, Setting], rounds: int) -> dict[str, dict[str, Any]]:
    """Returns, for each setting, what its process said of its start and of each round; or why it could not start."""
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        workers, calls = {}, {}
        for label, setting in settings.items():
            say(f"{setting.workload} {label}: starts")
            try:
                workers[label] = Worker(setting, LIMIT)
            except RuntimeError as error:
                found[label] = {"failed": str(error)}
                continue
            stack.callback(workers[label].close)
            warm = workers[label].take()
            started = workers[label].started
            calls[label] = max(1, round(TURN / warm["seconds"] / started.get("steps_of_call", 1)))
            found[label] = {**started, "rounds": []}
        for _ in range(rounds):
            for label, worker in workers.items():
                found[label]["rounds"].append(worker.take(calls[label]))
    return found


def summarise(setting: Setting, found: Mapping[str, Any], peers: Mapping[str, float]) -> dict[str, Any]:
    """Returns the figures of one row: medians and spreads over the rounds, and the ratio to the fastest peer."""
    if "failed" in found:
        return dict(found)
    seconds = [taken["seconds"] for taken in found["rounds"]]
    median, fields = statistics.median(seconds), dict(setting.fields)
    replicas = fields.get("num_seeds", 1)
    batch = WORKLOADS[setting.workload].make().batch_size
    return {
        "ms_a_step": median * 1e3,
        "least_ms": min(seconds) * 1e3,
        "most_ms": max(seconds) * 1e3,
        "processor_ms": statistics.median(taken["processor"] for taken in found["rounds"]) * 1e3,
        "examples_per_second": batch * replicas / median,
        "compile_seconds": max(0.0, found["first_call"] - found["steps_of_call"] * median),
        "first_step_seconds": found["first_step"],
        "peak_megabytes": max(taken["peak_bytes"] for taken in found["rounds"]) / 1e6,
        **({"of_best_pytorch": median / min(peers.values())} if peers else {}),
    }


def measure(name: str, rounds: int, axes: bool) -> dict[str, Any]:
    """Measures a workload: its forms, its costs, and the machine's ceilings in the same rounds."""
    settings = settings_of(name, axes)
    timed = time_rounds({**settings, **CEILINGS}, rounds)
    ceilings = {form: statistics.median(t["seconds"] for t in timed.pop(form)["rounds"]) for form in CEILINGS}
    medians = {
        label: statistics.median(t["seconds"] for t in timed[label]["rounds"])
        for label, setting in settings.items()
        if setting.form in PYTORCH and "rounds" in timed[label]
    }
    costs = Worker(Setting(name, "costs")).started
    return {
        "ceiling_flops": 2 * MATMUL_SIDE**3 / ceilings["matmul"],
        "ceiling_bytes": 2 * COPY_BYTES / ceilings["copy"],
        "costs": costs,
        "rows": {label: summarise(setting, timed[label], medians) for label, setting in settings.items()},
        **({"training": train(name)} if name in TRAINED else {}),
    }


def train(name: str) -> dict[str, float]:
    """Trains as a user does, and returns the steps a second of one period of logging, measuring, drawing and saving.

    A row is written when its step has been measured, perhaps while the next steps are computed. The period is the third
    of four: nothing is compiled any more, and the rows at its two ends come equally late.
    """
    from veegan_jax.experiments import run
    from veegan_jax.storage.logs import RunLog

    say(f"{name}: trains")
    times: dict[int, float] = {}
    write = RunLog.write

    def timed_write(self: RunLog, step: int, row: Any) -> None:
        write(self, step, row)
        times[step] = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(RunLog, "write", timed_write):
        config = config_of(name, Path(folder))
        period = config.eval_every
        config.num_steps, config.devices = 4 * period, 1
        start = time.perf_counter()
        run.train(config, Path(folder) / "run")
        whole = time.perf_counter() - start
    seconds = times[3 * period] - times[2 * period]
    return {"steps": period, "seconds": seconds, "steps_per_second": period / seconds, "whole_run_seconds": whole}


def say(line: str) -> None:
    """Prints a line of progress."""
    print(line, file=sys.stderr, flush=True)


def table(results: Mapping[str, Any]) -> str:
    """Returns the results as tables in Markdown, one for each workload."""
    parts = [f"{results['machine']}\n"]
    for name, found in results["workloads"].items():
        costs, flops = found["costs"], found["costs"]["hand_flops"]
        rows = []
        for label, row in found["rows"].items():
            if "failed" in row:
                rows.append([label, row["failed"]])
                continue
            replicas = dict(settings_of(name, True).get(label, Setting(name)).fields).get("num_seeds", 1)
            share = flops * replicas / (row["ms_a_step"] / 1e3) / found["ceiling_flops"]
            rows.append(
                [
                    label,
                    f"{row['ms_a_step']:.3g} ({row['least_ms']:.3g}–{row['most_ms']:.3g})",
                    f"{row['of_best_pytorch']:.2f}" if "of_best_pytorch" in row else "–",
                    f"{row['examples_per_second']:,.0f}",
                    f"{100 * share:.0f} %",
                    f"{row['compile_seconds']:.1f}",
                    f"{row['first_step_seconds']:.1f}",
                    f"{row['peak_megabytes']:,.0f}",
                ]
            )
        parts.append(f"## {name}\n")
        parts.append(tabulate(rows, HEADINGS, "github", disable_numparse=True, colalign=["left"] + ["right"] * 7))
        parts.append("\n" + about(found, costs))
    return "\n".join(parts)


HEADINGS = (
    "form", "ms a step (least–most)", "of PyTorch's best", "examples/s", "of the matmul ceiling", "compilation, s",
    "first step, s", "peak of the process, MB",
)  # fmt: skip


def about(found: Mapping[str, Any], costs: Mapping[str, float]) -> str:
    """Returns the sentences below a workload's table."""
    hand = sum(costs[f"hand_{kind}_bytes"] for kind in ("state", "gradient", "activation", "data"))
    xla = sum(costs[f"xla_{kind}_bytes"] for kind in ("argument", "temporary", "unaliased"))
    lines = [
        f"A step has {costs['hand_flops'] / 1e9:.3g} GFLOP of products by hand, {costs['xla_flops'] / 1e9:.3g} by XLA. "
        f"The program holds {xla / 1e6:.3g} MB, and state, gradients, activations and data by hand {hand / 1e6:.3g} "
        f"MB. In the same rounds a product of {MATMUL_SIDE}² matrices ran at {found['ceiling_flops'] / 1e9:.0f} "
        f"GFLOP/s, and a copy through memory at {found['ceiling_bytes'] / 1e9:.1f} GB/s, which a step that fits in the "
        "processor's cache can exceed."
    ]
    if "training" in found:
        training = found["training"]
        lines.append(
            f"Whole training, with its logging, measuring, pictures and checkpoints: "
            f"{training['steps_per_second']:.0f} steps/s over {training['steps']:,} steps."
        )
    return " ".join(lines) + "\n"


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draws each workload's ratios to the fastest form in PyTorch, and the rooflines of the product's steps."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (bars, roof) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    ceilings = []
    for i, (name, found) in enumerate(results["workloads"].items()):
        rows, costs = found["rows"], found["costs"]
        shown = {label: row for label, row in rows.items() if "of_best_pytorch" in row and ", " not in label}
        for j, (label, row) in enumerate(shown.items()):
            bars.barh(
                i + 0.8 * j / len(shown), row["of_best_pytorch"], 0.75 / len(shown), color=f"C{FORMS.index(label)}"
            )
        speed = costs["hand_flops"] / (rows["product"]["ms_a_step"] / 1e3)
        point = costs["hand_flops"] / costs["xla_traffic_bytes"], speed / 1e9
        roof.plot(*point, "o", label=name)
        ceilings.append((found["ceiling_flops"], found["ceiling_bytes"]))
    bars.set_yticks([i + 0.3 for i in range(len(results["workloads"]))], results["workloads"])
    for form in FORMS:
        bars.barh(0, 0, color=f"C{FORMS.index(form)}", label=form)
    bars.axvline(1, color="black", linewidth=0.5)
    bars.set_xlabel("time of a step, of PyTorch's best form")
    bars.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    flops, traffic = (statistics.median(kind) for kind in zip(*ceilings, strict=True))
    intensities = [2**i for i in range(-2, 8)]
    roof.plot(intensities, [min(flops, i * traffic) / 1e9 for i in intensities], color="black")
    roof.set(xscale="log", yscale="log", xlabel="FLOP a byte of XLA's traffic", ylabel="GFLOP/s")
    roof.legend()
    figure.savefig(path, dpi=150)


FORMS = ("product", "naive_jax", *PYTORCH)


def version(package: str) -> str:
    """Returns the version of a package, or nothing where it is not installed."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return ""


def machine() -> str:
    """Returns what the figures depend on besides the code."""
    names = ("jax", "jaxlib", "flax", "torch")
    versions = [f"{name} {version(name)}" for name in names if version(name)]
    return f"{platform.machine()}, {len(jax.devices())} × {jax.devices()[0].device_kind}, {', '.join(versions)}"


def main() -> None:
    """Measures the workloads that are asked for, and writes the results after each of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=DEFAULT, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--axes", action="store_true", help="times several seeds, devices and bfloat16 too")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    flags = parser.parse_args()
    if not version("torch"):
        say("PyTorch is not installed, so that its forms are left out: pip install -e '.[bench]'")
    flags.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"machine": machine(), "workloads": {}}
    for name in flags.workloads:
        results["workloads"][name] = measure(name, flags.rounds, flags.axes)
        (flags.out / "bench.json").write_text(json.dumps(results, indent=1))
        (flags.out / "bench.md").write_text(table(results))
        draw(results, flags.out / "bench.png")
    print(table(results))


if __name__ == "__main__":
    main()
