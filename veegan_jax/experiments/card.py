"""The README of a run's folder: what a stranger who finds the folder has to know."""

from pathlib import Path

from ml_collections import ConfigDict
from tabulate import tabulate

from veegan_jax.config.convert import read_json
from veegan_jax.evaluation.tables import beside_real
from veegan_jax.storage.files import write_atomically
from veegan_jax.storage.folder import DATA
from veegan_jax.storage.history import read_history

CARD = """# {method} on {data}

A run of veegan_jax that reached its last step, {step:,}. {seeds}

{scores}

All scores and how they are defined: `results.md`; the numbers: `results.json`. A page to look at is
`report.html`, which `--mode report` writes.

## How it was made

{facts}

`config.json` has every field.

## How to use it

```python
import veegan_jax

run = veegan_jax.load(".")  # this folder
x = run.sample(1000, seed=0)
```

```sh
veegan-jax --mode sample --workdir . --num 1000
veegan-jax --mode missing --workdir .
veegan-jax --mode report --workdir .
```
"""


def write_card(workdir: Path, config: ConfigDict) -> None:
    """Writes README.md into the folder of a finished run.

    Raises:
        UserError: if it cannot be written.
    """
    results = read_json(workdir / "results.json")
    facts = []
    for process in read_history(workdir):
        end = f"to {process['ended']}, step {process['to_step']:,}" if "ended" in process else "ended from outside"
        facts += [
            ("command", f"`{process['command']}`"),
            ("from", f"{process['began']}, step {process['from_step']:,}"),
        ]
        facts += [("", end), ("host", process["host"]), ("commit", process["commit"] or "not from a checkout")]
    if (workdir / DATA).exists():
        held = read_json(workdir / DATA)
        facts += [
            (f"data, {part}", f"{held[part]['num']:,}, SHA-256 {held[part]['digest']}")
            for part in ("train", "held_out")
        ]
        facts += [("data, path", f"`{held['path']}`")] if "path" in held else []
    facts += [(name, version) for name, version in results["versions"].items() if version]
    last = config.seed + config.num_seeds - 1
    text = CARD.format(
        method=config.objective,
        data=config.data,
        step=results["step"],
        seeds=f"Seed {config.seed}."
        if config.num_seeds == 1
        else f"Seeds {config.seed} to {last}, mean ± standard error.",
        scores=beside_real(results["replicas"], results["real"], results["samples"]),
        facts=tabulate(facts, ["what", "value"], tablefmt="github", disable_numparse=True),
    )
    write_atomically(workdir / "README.md", text)
