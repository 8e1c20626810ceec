"""The paper's research questions, each a comparison on the grid: docs/questions.md has the answers."""

from typing import Any

from ml_collections import ConfigDict

from configs import compare

Row = dict[str, Any]


def comparison(rows: dict[str, Row], *, num_steps: int, num_seeds: int) -> ConfigDict:
    """Returns a comparison on the grid with 16 latents, whose rows differ from the common config in these fields."""
    c, _ = compare.grid()
    c.latent_dim = 16
    c.num_steps = num_steps
    c.eval_every = c.save_every = num_steps // 5
    c.num_seeds = num_seeds
    c.keep_latest = 5  # models are measured at each checkpoint
    with c.unlocked():
        c.compare = ConfigDict(rows)
    return c


def recipe(method: str, **options: float | str) -> Row:
    """Returns a method's row of `configs/compare.py:grid`, with some options of its objective changed."""
    row: Row = compare.grid()[1][method]
    objective = row["objective"]
    return {**row, objective: {**row.get(objective, {}), **options}}
