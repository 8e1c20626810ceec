"""Times how a step's time and memory grow: python -m benchmarks.growth [--rounds 5] [--out runs/growth]

Each curve changes one thing of the config of the ring or of the grid: the batch, the latents, the widths, the seeds, or
the size of the data. The folder then has `growth.json` and `growth.png`. Times are medians of rounds that go over all
points of a curve, and memory is that of the compiled program, for each seed.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.worker import Setting, Worker


class Curve(NamedTuple):
    """What grows, and over which values.

    Attributes:
        workload: the config that is changed.
        values: the values on the axis.
        fields: Returns the fields of a value, by path.
    """

    workload: str
    values: Sequence[int]
    fields: Callable[[int], Mapping[str, Any]]


def _widths(width: int) -> dict[str, Any]:
    return {f"mlp.{net}_hidden": (width, width) for net in ("gen", "rec", "disc")}


CURVES = {
    "batch": Curve("ring", (64, 256, 1024, 4096), lambda n: {"batch_size": n}),
    "latents": Curve("ring", (8, 32, 128, 512), lambda n: {"latent_dim": n}),
    "width": Curve("ring", (64, 128, 256, 512), _widths),
    "seeds": Curve("ring", (1, 2, 4, 8), lambda n: {"num_seeds": n}),
    "modes of the data": Curve("grid_paper", (25, 2_500, 250_000), lambda n: {"grid.side": round(n**0.5)}),
}


def measure(curve: Curve, rounds: int) -> list[dict[str, float]]:
    """Returns the time and the memory of a step at each value."""
    points = {n: tuple(curve.fields(n).items()) for n in curve.values}
    with ExitStack() as stack:
        workers = {n: Worker(Setting(curve.workload, fields=fields)) for n, fields in points.items()}
        for worker in workers.values():
            stack.callback(worker.close)
            worker.take()
        taken = [{n: worker.take()["seconds"] for n, worker in workers.items()} for _ in range(rounds)]
    rows = []
    for n, fields in points.items():
        seconds = statistics.median(of_round[n] for of_round in taken)
        rows.append({"value": n, "ms_a_step": seconds * 1e3, **costs(curve.workload, dict(fields))})
    return rows


def costs(workload: str, fields: Mapping[str, Any]) -> dict[str, float]:
    """Returns the memory and the products of a step; replicas, which share no program, cost as much as single runs."""
    seeds, others = fields.get("num_seeds", 1), {name: value for name, value in fields.items() if name != "num_seeds"}
    found = Worker(Setting(workload, "costs", tuple(others.items()))).started
    memory = sum(found[f"xla_{kind}_bytes"] for kind in ("argument", "temporary", "unaliased"))
    return {"megabytes": seeds * memory / 1e6, "flops": seeds * found["hand_flops"]}


def draw(curves: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Draws the time and the memory of a step along each curve, and dotted lines of growth in proportion."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(curves), figsize=(3.2 * len(curves), 6), layout="constrained", squeeze=False)
    for column, (name, rows) in zip(axes.T, curves.items(), strict=True):
        values = [row["value"] for row in rows]
        for axis, quantity, label in zip(column, ("ms_a_step", "megabytes"), ("ms a step", "MB"), strict=True):
            axis.loglog(values, [row[quantity] for row in rows], "o-")
            axis.loglog(values, [rows[-1][quantity] * n / values[-1] for n in values], ":", color="grey")
            axis.set(xlabel=name, ylabel=label)
            axis.set_xticks(values, [f"{n:,}" for n in values])
            axis.minorticks_off()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measures the curves, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", nargs="+", choices=CURVES, default=list(CURVES), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/growth"))
    flags = parser.parse_args()
    flags.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in flags.curves:
        found[name] = measure(CURVES[name], flags.rounds)
        print(name, *(f"{row['value']}: {row['ms_a_step']:.3g} ms, {row['megabytes']:.3g} MB" for row in found[name]))
        (flags.out / "growth.json").write_text(json.dumps(found, indent=1))
    draw(found, flags.out / "growth.png")


if __name__ == "__main__":
    main()
