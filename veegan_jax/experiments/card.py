"""The README of a run's folder: what a stranger who finds the folder has to know."""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from tabulate import tabulate

from veegan_jax.config.convert import effective, read_json
from veegan_jax.config.fields import defaults, leaves
from veegan_jax.evaluation.tables import beside_real
from veegan_jax.storage.files import write_atomically
from veegan_jax.storage.folder import DATA
from veegan_jax.storage.history import read_history

CARD = """# {name} on {data}

A run of veegan_jax that reached its last step, {step:,}. {seeds}

{scores}

## What is here

{files}

## How it was made

{facts}

## Config

{fields}

`config.json` has every field, and is a config itself.

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

# What a run writes, in the order in which a stranger should look.
FILES = {
    "results.md": "all scores, beside published figures, and how they are defined",
    "results.json": "the numbers behind it",
    "report.html": "a page to look at; `--mode report` writes it",
    "pictures": "samples at each measurement, reconstructions, and the scores over the steps",
    "metrics.jsonl": "losses and scores by step",
    "metrics.csv": "the same for a spreadsheet",
    "tensorboard": "the same for `tensorboard --logdir .`",
    "wandb": "the same for Weights & Biases",
    "checkpoints": "the model: the latest steps, and the best",
    "samples": "the samples behind `pictures/samples_over_time.png`",
    "config.json": "every field of the run",
    "data.json": "what the data held",
    "log.txt": "what was printed",
    "history.jsonl": "which processes trained it",
}


def changed_fields(config: ConfigDict) -> str:
    """Returns the fields that differ from the defaults, with these, as a Markdown table."""
    changed = [(name, value, usual) for name, value, usual in _fields(config) if value != usual]
    return tabulate(changed, ["field", "value", "default"], tablefmt="github", disable_numparse=True)


def fields_table(config: ConfigDict) -> str:
    """Returns all fields of a run as Markdown: first those that differ from the defaults, and then the others."""
    same = [(name, value) for name, value, usual in _fields(config) if value == usual]
    others = tabulate(same, ["field", "value"], tablefmt="github", disable_numparse=True)
    return f"Fields that differ from the defaults:\n\n{changed_fields(config)}\n\nThe others:\n\n{others}"


def _files(workdir: Path) -> list[tuple[str, str]]:
    """Returns the name and the content of what is in the folder, or as `report.html` comes later."""
    there = [name for name in FILES if (workdir / name).exists() or name == "report.html"]
    return [(f"`{name}{'/' * (workdir / name).is_dir()}`", FILES[name]) for name in there]


def _fields(config: ConfigDict) -> list[tuple[str, str, str]]:
    """Returns the name, the value and the default of each field that a run depends on, as texts."""
    usual = {name: _text(value) for name, value in leaves(json.loads(json.dumps(defaults())))}
    return [(f"`{name}`", _text(value), usual[name]) for name, value in leaves(effective(config))]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("|", "\\|")


def write_card(workdir: Path, name: str, config: ConfigDict) -> None:
    """Writes README.md into the folder of a finished run.

    Args:
        workdir: the folder.
        name: what tables and pictures call the model.
        config: the config of the run.

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
        name=name,
        data=config.data,
        step=results["step"],
        seeds=f"Seed {config.seed}."
        if config.num_seeds == 1
        else f"Seeds {config.seed} to {last}, mean ± standard error.",
        scores=beside_real(results["replicas"], results["real"], results["samples"]),
        files=tabulate(_files(workdir), ["file", "content"], tablefmt="github", disable_numparse=True),
        fields=changed_fields(config),
        facts=tabulate(facts, ["what", "value"], tablefmt="github", disable_numparse=True),
    )
    write_atomically(workdir / "README.md", text)
