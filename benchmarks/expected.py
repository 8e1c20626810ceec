"""What each config gives, as far as it was measured: python -m benchmarks.expected > docs/configs.md

The page is made of the configs' docstrings, of the cells in docs/results/cells, and of docs/results/memory.json.

    python -m benchmarks.expected --memory ring grid_best     measures the memory of a short run of these configs
    python -m benchmarks.expected --curves                    draws docs/results/expected.png from the cells
"""

import argparse
import ast
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.questions import CELLS
from veegan_jax.cli.config_file import CONFIGS
from veegan_jax.evaluation.curves import Curve, mean_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEMORY = Path("docs/results/memory.json")
PICTURE = Path("docs/results/expected.png")
# Cells whose seconds are those of two machines.
MIXED = {"grid_best"}
# A short run has one measurement, which can need more memory than a step.
STEPS = 50
# A paragraph of a config's docstring that begins with one of these says what the config gives.
BEGINNINGS = ("Expected", "Measured", "Not measured")
HEAD = f"""# Configs

<!-- Made by `python -m benchmarks.expected > docs/configs.md`; tests/test_expected.py holds it. -->

Each config of this project, and what it gives as far as that was measured; [results](results/README.md) has the tables.
`--config` takes the name. *Time* is that of all steps of one cell, without compiling and measuring, from `seconds` of
the [cells](results/cells), on shared machines, those of a GPU beside 3 to 10 other runs; where there is *no cell*,
the column before it may have the time of a single run. *Memory* is the largest that the process had in {STEPS} steps
and one measurement on a CPU (`python -m benchmarks.expected --memory NAME`). What a GPU needs was not measured.

"""
CURVES = """
## Expected curves

    python -m benchmarks.expected --curves

![modes, quality, d and the loss of the discriminator over the steps, for four data sets](results/expected.png)

Means of five seeds with standard errors, from the cells. Where yours are worse, see
[why](troubleshooting.md#why-is-my-training-bad). The last row but one is d divided by K: 1.42 where F knows nothing of
z, 0.92 where it recovers z. The last row has penalties in it, and two critics in the best recipes; the steps of
stacked_mnist_small_best that are drawn are without penalties.
"""


class Curves(NamedTuple):
    """The curves of one config: the folder of its cells, the names of their files, and how a legend calls them."""

    folder: str
    files: str
    label: str


# The columns of the picture: configs with curves of at least three points, by data.
COLUMNS = {
    "ring": [
        Curves("ring_best", "veegan.*", "ring_best"),
        Curves("table1-ring", "veegan.*", "the paper's settings"),
        Curves("table1-ring", "gan.*", "GAN, the same settings"),
    ],
    "grid": [
        Curves("grid_best", "veegan.*", "grid_best"),
        Curves("table1-grid", "veegan.*", "the paper's settings"),
        Curves("table1-grid", "gan.*", "GAN, the same settings"),
    ],
    "stacked digits": [Curves("stacked_digits_best", "veegan.*", "stacked_digits_best")],
    "stacked MNIST": [
        Curves("stacked_mnist_best", "veegan.*", "stacked_mnist_best"),
        Curves("stacked_mnist_small_best", "veegan.*", "stacked_mnist_small_best"),
    ],
}
# The rows of the picture: the scores, of which the first that a curve has is drawn, and the label of the axis.
ROWS = [
    (("modes",), "modes"),
    (("high_quality", "kl"), "high quality (%), or reverse KL"),
    (("d",), "d / K"),
    (("loss/disc",), "loss of the discriminator"),
]


def configs() -> Iterator[tuple[str, list[str]]]:
    """Yields the path of each config, as `configs/ring.py`, and the paragraphs of its docstring."""
    for file in sorted(CONFIGS.rglob("*.py"), key=lambda file: (len(file.relative_to(CONFIGS).parts), file)):
        if file.stem != "__init__":
            docstring = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
            yield f"configs/{file.relative_to(CONFIGS).as_posix()}", docstring.split("\n\n")


def page() -> str:
    """Returns docs/configs.md."""
    lines = ["| config | what it is | what it gives | time | memory |", "| --- | --- | --- | --- | --- |"]
    memory = json.loads(MEMORY.read_text()) if MEMORY.exists() else {}
    for path, paragraphs in configs():
        name = Path(path).stem
        given = [" ".join(text.split()) for text in paragraphs if text.startswith(BEGINNINGS)]
        needed = memory.get(name)
        cells = [
            f"`{path}`",
            " ".join(paragraphs[0].split()),
            " ".join(given),
            "not measured" if name in MIXED else times(name) or "no cell",
            f"{needed['mib'] / 1024:.2f} GiB" if needed else "not measured",
        ]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return HEAD + "\n".join(lines) + "\n" + CURVES


def times(name: str) -> str:
    """Returns how long the cells of a config took, by device and number of seeds at once; empty if there are none."""
    found: dict[tuple[str, int], list[float]] = {}
    for file in sorted([*CELLS.glob(f"{name}/*.json"), *CELLS.glob(f"{name}-*/*.json")]):
        cell = json.loads(file.read_text())
        if cell["seconds"] is not None:
            device = "CPU" if cell["versions"]["device"] == "cpu" else cell["versions"]["device"]
            found.setdefault((device, len(cell["seeds"])), []).append(cell["seconds"])
    texts = []
    for (device, seeds), seconds in found.items():
        low, high = min(seconds), max(seconds)
        span = f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
        texts.append(f"{span} s for {'a seed' if seeds == 1 else f'{seeds} seeds at once'}, {device}")
    return "; ".join(texts)


def measure_memory(name: str) -> dict[str, float | str]:
    """Runs a config for a moment in a process of its own, and returns the most memory that it had, in MiB."""
    fields = {"num_steps": STEPS, "eval_every": STEPS, "save_every": STEPS, "steps_per_call": STEPS, "num_seeds": 1}
    given = [f"--config.{field}={value}" for field, value in fields.items()]
    measured = "import resource; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "veegan_jax.main", "--config", name, f"--workdir={folder}/run", *given]
        # A process between this one and the run has no other children, so that their largest is the run's.
        program = f"import subprocess; subprocess.run({command!r}, check=True); {measured}"
        shown = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    kib = int(shown.split()[-1])
    return {"mib": round(kib / 1024), "steps": STEPS, "platform": f"{platform.system()} {platform.machine()}"}


def read_curves(wanted: Curves) -> Curve:
    """Returns the mean curve of the cells."""
    cells = [json.loads(file.read_text()) for file in sorted((CELLS / wanted.folder).glob(f"{wanted.files}.json"))]
    latents = cells[0]["config"]["latent_dim"]
    mean = dict(mean_curve([cell["curve"] for cell in cells]))
    for name in ("d", "d/se"):
        if name in mean:
            mean[name] = [None if value is None else value / latents for value in mean[name]]
    return mean


def draw(columns: Mapping[str, Sequence[Curves]]) -> "Figure":
    """Draws the scores and losses of configs over the steps, one column for each data set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 11), layout="constrained")
    grid = figure.subplots(len(ROWS), len(columns), squeeze=False, sharex="col")
    for (title, wanted), axes in zip(columns.items(), grid.T, strict=True):
        for each in wanted:
            curve = read_curves(each)
            steps = np.asarray(curve["step"], float)
            for (names, _), axis in zip(ROWS, axes, strict=True):
                if name := next((name for name in names if name in curve), None):
                    mean = np.asarray(curve[name], float)
                    error = np.asarray(curve.get(f"{name}/se", 0 * mean), float)
                    (line,) = axis.plot(steps, mean, "o-", markersize=3, label=each.label)
                    axis.fill_between(steps, mean - error, mean + error, alpha=0.2, color=line.get_color())
                else:
                    axis.plot([], [])  # Keeps the colour of each config the same in all rows.
        axes[0].set(title=title)
        axes[0].legend(fontsize="small")
        axes[-1].set(xlabel="step")
    for (_, label), axis in zip(ROWS, grid[:, 0], strict=True):
        axis.set(ylabel=label)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the page, or measures memory, or draws curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", nargs="+", metavar="NAME", help="measures the memory of these configs")
    parser.add_argument("--curves", action="store_true", help=f"draws {PICTURE}")
    given = parser.parse_args(argv)
    for name in given.memory or ():
        known = json.loads(MEMORY.read_text()) if MEMORY.exists() else {}
        known[name.partition(":")[0]] = measure_memory(name)
        MEMORY.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    if given.curves:
        draw(COLUMNS).savefig(PICTURE, dpi=80)
    if not (given.memory or given.curves):
        print(page(), end="")


if __name__ == "__main__":
    main()
