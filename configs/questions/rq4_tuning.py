"""Research question 4: does VEEGAN need no tuning? Each method's main weight over four decades, on the grid.

    python -m veegan_jax.main --config configs/questions/rq4_tuning.py

VEEGAN reconstructs noise and `veegan_data_ae` data, so the two rows of the same weight also compare these.
"""

from ml_collections import ConfigDict

from configs.questions import Row, comparison, recipe

DECADES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def get_config() -> ConfigDict:
    rows: dict[str, Row] = {}
    for weight in DECADES:
        rows[f"veegan_{weight:g}"] = recipe("veegan", reconstruction_weight=weight)
        rows[f"veegan_data_ae_{weight:g}"] = recipe("veegan_data_ae", reconstruction_weight=weight)
        rows[f"infogan_{weight:g}"] = recipe("infogan", information_weight=weight)
        rows[f"aae_{weight:g}"] = recipe("aae", reconstruction_weight=weight)
        # A GAN with penalties has no weight but theirs, which is 0.1 in the recipe: the decades around it.
        gamma = 10 * weight
        rows[f"r3gan_{gamma:g}"] = {**recipe("r3gan"), "penalty": {"r1": gamma, "r2": gamma}}
    return comparison(rows, num_steps=5_000, num_seeds=3)
