"""Research question 3, the tuning: four tries of one seed for each method, from which `rq3_methods` takes the best.

    python -m veegan_jax.main --config configs/questions/rq3_tries.py:DATA

DATA is ring or grid. Every method gets the same tries: two learning rates, and two values of one number more. That is
the weight γ of the penalties, by the rule of `configs/recipes` and four times that; or Adam's b1, where there is no
penalty.

Measured on both (docs/results/trials.jsonl).
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from configs.questions import Row, comparison, recipe
from veegan_jax.errors import suggestion

# The mean squared distance of the data from their mean, and the number of training steps of a try.
DATA: dict[str, tuple[float, int]] = {"ring": (1.0, 3_000), "grid": (16.0, 5_000)}
METHODS = ("gan", "unrolled", "ali", "infogan", "pacgan2", "r3gan", "veegan")


def get_config(data: str = "grid") -> ConfigDict:
    rows = {f"{method}_try{number}": row for method in METHODS for number, row in enumerate(tries(method, data))}
    c = question(data, rows, num_steps=steps(data), num_seeds=1)
    c.seed = 100  # Tries have seeds that no result has.
    return c


def question(data: str, rows: Mapping[str, Row], *, num_steps: int, num_seeds: int) -> ConfigDict:
    """Returns a comparison on some data, which is measured as the best recipes are."""
    c = comparison(dict(rows), num_steps=num_steps, num_seeds=num_seeds)
    c.data = data
    c.eval_samples = 20_000
    c.keep_latest = 1
    c.eval_every = c.save_every = num_steps // 2
    return c


def steps(data: str) -> int:
    """Returns how many training steps a try has. Raises ValueError for data that are not in `DATA`."""
    if data not in DATA:
        raise ValueError(f"DATA is {data!r}; {suggestion(data, DATA)}")
    return DATA[data][1]


def tries(method: str, data: str) -> list[Row]:
    """Returns the four tries of a method, as the fields in which they differ from the common config."""
    own = recipe(method, **({"reconstruction_weight": 0.002} if method == "veegan" else {}))
    return [
        {**own, **change, "optim": _both({"learning_rate": rate, **moment})}
        for rate in (1e-3, 3e-3)
        for change, moment in _second_numbers("penalty" in own, DATA[data][0] / 160)
    ]


def _second_numbers(penalised: bool, gamma: float) -> list[tuple[Row, dict[str, float]]]:
    """Returns the two values of a method's second number: changes of its row, and of both its optimizers."""
    if penalised:
        return [({"penalty": {"r1": weight, "r2": weight}}, {}) for weight in (gamma, 4 * gamma)]
    return [({}, {"b1": b1}) for b1 in (0.5, 0.0)]


def _both(fields: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {player: dict(fields) for player in ("gen", "disc")}
