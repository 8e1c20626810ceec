"""Logs trials: a JSON line for each run of some folders, with the fields that it changes and the scores it reached.

    python -m benchmarks.trials FOLDER … >> docs/results/trials.jsonl

Every run counts, also one that diverged or was stopped: its line has the last step that was measured. The README of
docs/results says what the trials were for.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from veegan_jax.config.convert import read_json
from veegan_jax.config.fields import defaults, leaves

# The scores of a line; the run's own results have more.
SCORES = (
    "modes",
    "high_quality",
    "calibrated_modes",
    "calibrated_high_quality",
    "kl",
    "excess_kl",
    "bin_kl",
    "precision",
    "recall",
    "reconstruction",
    "classifier_fid",
)
# Fields that change neither what is trained nor what is measured.
APART = ("log_every", "eval_every", "save_every", "keep_latest", "keep_best", "seed_mapping", "num_steps", "seed")


def main(folders: list[str]) -> None:
    """Prints the lines of all runs within some folders."""
    for folder in folders:
        for file in sorted(Path(folder).rglob("config.json")):
            for line in trials(file.parent):
                print(json.dumps(line, ensure_ascii=False))


def trials(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the line of a run, if it was measured at all or has diverged."""
    config, log = read_json(folder / "config.json"), folder / "metrics.jsonl"
    # A row of a comparison that is not begun has no log.
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    measured = [row for row in rows if any(name in row for name in SCORES)]
    diverged = folder / "diverged.json"
    if not measured and not diverged.exists():
        return
    last = measured[-1] if measured else {}
    usual = dict(leaves(defaults()))
    changed = {path: value for path, value in leaves(config) if value != _plain(usual.get(path)) and path not in APART}
    yield {
        "trial": folder.name,
        "seed": config["seed"],
        "step": last.get("step", 0),
        "of": config["num_steps"],
        **{name: float(f"{last[name]:.5g}") for name in SCORES if name in last},
        **(read_json(diverged) if diverged.exists() else {}),
        "changed": changed,
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


if __name__ == "__main__":
    main(sys.argv[1:])
