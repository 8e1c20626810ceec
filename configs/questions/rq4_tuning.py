"""Research question 4: does VEEGAN need no tuning? Each method's main weight over four decades, on the grid.

    python -m veegan_jax.main --config configs/questions/rq4_tuning.py

VEEGAN reconstructs noise and `veegan_data_ae` data, so the two rows of the same weight also compare these.

Expected: the table of question 4 in docs/questions.md.
"""

from ml_collections import ConfigDict

from configs.questions import Row, comparison, recipe

EXPONENTS = (-4, -3, -2, -1, 0)


def get_config() -> ConfigDict:
    rows: dict[str, Row] = {}
    for exponent in EXPONENTS:
        weight = 10.0**exponent
        rows[f"veegan_1e{exponent}"] = recipe("veegan", reconstruction_weight=weight)
        rows[f"veegan_data_ae_1e{exponent}"] = recipe("veegan_data_ae", reconstruction_weight=weight)
        rows[f"infogan_1e{exponent}"] = recipe("infogan", information_weight=weight)
        rows[f"aae_1e{exponent}"] = recipe("aae", reconstruction_weight=weight)
        # A GAN with penalties has no weight but theirs, which is 0.1 in the recipe: the decades around it.
        rows[f"r3gan_1e{exponent + 1}"] = {**recipe("r3gan"), "penalty": {"r1": 10 * weight, "r2": 10 * weight}}
    return comparison(rows, num_steps=5_000, num_seeds=3)
