"""Research question 3, the tuning: four tries of one seed for each method, from which `rq3_methods` takes the best.

    python -m veegan_jax.main --config configs/questions/rq3_tries.py:DATA

DATA is ring, grid, synthetic1200 or stacked_digits. Every method gets the same tries: two learning rates, and two
values of one number more. That is the weight γ of the penalties, or Adam's b1, where there is no penalty. On the plane
γ is that of the rule of `configs/recipes` or four times that; elsewhere that with which the best recipe begins, or a
quarter of that.

Measured on all four (docs/results/trials.jsonl).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from configs import compare
from configs.questions import Row, both_players, recipe, with_rows
from configs.recipes import synthetic1200_best
from veegan_jax.config import base_config
from veegan_jax.errors import suggestion

METHODS = ("gan", "unrolled", "ali", "infogan", "pacgan2", "r3gan", "veegan")


class Data(NamedTuple):
    """What is asked on one data set.

    Attributes:
        common: returns the fields that all rows have.
        gamma: the smaller of the two weights of the penalties.
        steps: the number of training steps of a try.
        score: the score of which the smallest value is the best try.
    """

    common: Callable[[], ConfigDict]
    gamma: float
    steps: int
    score: str


def get_config(data: str = "grid") -> ConfigDict:
    rows = {f"{method}_try{number}": row for method in METHODS for number, row in enumerate(tries(method, data))}
    c = question(data, rows, num_steps=asked(data).steps, num_seeds=1)
    c.seed = 100  # Tries have seeds that no result has.
    return c


def question(data: str, rows: Mapping[str, Row], *, num_steps: int, num_seeds: int) -> ConfigDict:
    """Returns a comparison on some data, which is measured as the best recipes are."""
    c = asked(data).common()
    c.data = data
    c.num_steps, c.num_seeds = num_steps, num_seeds
    c.keep_latest = 1
    c.eval_every = c.save_every = num_steps // 2
    return with_rows(c, rows)


def asked(data: str) -> Data:
    """Returns what is asked on some data. Raises ValueError for data that are not in `DATA`."""
    if data not in DATA:
        raise ValueError(f"DATA is {data!r}; {suggestion(data, DATA)}")
    return DATA[data]


def tries(method: str, data: str) -> list[Row]:
    """Returns the four tries of a method, as the fields in which they differ from the common config."""
    own = recipe(method, data, **({"reconstruction_weight": 0.002} if method == "veegan" else {}))
    return [
        {**own, **change, **both_players(learning_rate=rate, **moment)}
        for rate in (1e-3, 3e-3)
        for change, moment in _second_numbers("penalty" in own, asked(data).gamma)
    ]


def _second_numbers(penalised: bool, gamma: float) -> list[tuple[Row, dict[str, float]]]:
    """Returns the two values of a method's second number: changes of its row, and of both its optimizers."""
    if penalised:
        return [({"penalty": {"r1": weight, "r2": weight}}, {}) for weight in (gamma, 4 * gamma)]
    return [({}, {"b1": b1}) for b1 in (0.5, 0.0)]


def _on_plane() -> ConfigDict:
    c, _ = compare.grid()
    c.latent_dim = 16
    c.eval_samples = 20_000
    return c


def _in_1200_dimensions() -> ConfigDict:
    """Returns smaller networks, and a smaller batch, than those of `synthetic1200_best`, on the same components."""
    c = synthetic1200_best.get_config()
    c.mlp.gen_hidden = c.mlp.rec_hidden = c.mlp.disc_hidden = (128, 128, 128)
    c.batch_size = 256
    c.ema_half_life = 128_000.0
    c.penalty = base_config().penalty
    c.eval_samples = 10_000
    return c


def _on_digits() -> ConfigDict:
    """Returns the networks, batch and updates of the demo, `configs/stacked_digits.py`."""
    c, _ = compare.DATA["stacked_digits"]()
    c.latent_dim = 32
    c.mlp.gen_hidden = c.mlp.rec_hidden = c.mlp.disc_hidden = (256, 256)
    c.ema_half_life = 32_000.0
    c.update_order = "alternating"
    for player in ("gen", "disc"):
        c.optim[player].b1, c.optim[player].b2 = 0.0, 0.99
    return c


DATA = {
    "ring": Data(_on_plane, 1 / 160, 3_000, "bin_kl"),
    "grid": Data(_on_plane, 16 / 160, 5_000, "bin_kl"),
    "synthetic1200": Data(_in_1200_dimensions, 0.5, 600, "bin_kl"),
    "stacked_digits": Data(_on_digits, 2.5, 1_500, "kl"),
}
