"""The worth of each part of the grid's recipes, with one seed and 4,000 steps a row.

    python -m veegan_jax.main --config configs/grid_ablations.py

Expected: the table of docs/compare.md.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import compare


def get_config() -> ConfigDict:
    c, recipes = compare.grid()
    c.num_steps = c.eval_every = 4_000
    with c.unlocked():
        c.compare = ConfigDict(
            {
                "r3gan": recipes["r3gan"],
                "r3gan_two_layers": {**recipes["r3gan"], "mlp": dict.fromkeys(HIDDEN, (128, 128))},
                "r3gan_lr_1e-3": {**recipes["r3gan"], "optim": players(1e-3, 1e-3)},
                "r3gan_lr_5e-3": {**recipes["r3gan"], "optim": players(5e-3, 5e-3)},
                "r3gan_gamma_1e-2": {**recipes["r3gan"], "penalty": {"r1": 0.01, "r2": 0.01}},
                "pacgan2": recipes["pacgan2"],
                "pacgan2_nonsaturating": {"objective": "gan", "packing": 2},
                **{row: recipes[row] for row in JOINT},
                **{f"{row}_no_x_critic": without_x_critic(recipes[row], row) for row in JOINT},
                "veegan_unrolled": {**recipes["veegan"], "unroll": 1},
                "unrolled": recipes["unrolled"],
                "unrolled_two": {**recipes["unrolled"], "unroll": 2},
                "unrolled_five": {**recipes["unrolled"], "unroll": 5},
                "unrolled_five_slower": {**recipes["unrolled"], "unroll": 5, "optim": players(3e-3, 6e-4)},
                "unrolled_five_own_loss": {"objective": "gan", "unroll": 5, "optim": players(1e-3, 3e-4)},
            }
        )
    return c


HIDDEN = ("gen_hidden", "rec_hidden", "disc_hidden")
JOINT = ("ali", "bigan", "veegan")


def players(gen: float, disc: float) -> dict[str, Any]:
    """Returns the fields that set the two learning rates."""
    return {"gen": {"learning_rate": gen}, "disc": {"learning_rate": disc}}


def without_x_critic(recipe: dict[str, Any], objective: str) -> dict[str, Any]:
    """Returns the recipe of a joint method without the critic of x alone."""
    return {**recipe, objective: {**recipe[objective], "x_critic": 0.0}}
