"""The paper's research questions, each a comparison, most of them on the grid: docs/questions.md has the answers."""

from collections.abc import Mapping
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
    return with_rows(c, rows)


def with_rows(c: ConfigDict, rows: Mapping[str, Row]) -> ConfigDict:
    """Returns the comparison of these rows, which differ from the common config in these fields."""
    with c.unlocked():
        c.compare = ConfigDict(dict(rows))
    return c


def recipe(method: str, data: str = "grid", **options: float | str) -> Row:
    """Returns a method's row of `configs/compare.py:DATA`, with some options of its objective changed."""
    row: Row = compare.DATA[data]()[1][method]
    objective = row["objective"]
    return {**row, objective: {**row.get(objective, {}), **options}}


def both_players(**fields: float | str) -> Row:
    """Returns the fields that set these options of both optimizers."""
    return {"optim": {player: dict(fields) for player in ("gen", "disc")}}
