"""Research question 1: does the reconstructor reduce mode collapse? VEEGAN on the grid, with d and without it.

    python -m veegan_jax.main --config configs/questions/rq1_collapse.py

Three critics, each with three methods: with the loss d; with d's gradient cut from the generator, so that F still
learns to infer; and without a reconstructor.

Expected: the table of question 1 in docs/questions.md.
"""

from ml_collections import ConfigDict

from configs.questions import Row, comparison, recipe

METHODS: dict[str, Row] = {
    "d": recipe("veegan", reconstruction_weight=0.002),
    "d_cut_from_gen": recipe("veegan", reconstruction_weight=0.002, reconstruction_loss="none"),
    "no_rec": recipe("r3gan"),
}
CRITICS: dict[str, Row] = {
    "weak": {"mlp": {"disc_hidden": (16, 16)}},
    "usual": {},
    "strong": {"disc_updates": 3},
}


def get_config() -> ConfigDict:
    rows = {
        f"{critic}_critic_{method}": {**fields, **changes}
        for critic, changes in CRITICS.items()
        for method, fields in METHODS.items()
    }
    # VEEGAN's weak critics of pairs and of x have 930 parameters together, and this one of x alone has 925.
    rows["weak_critic_no_rec_925"] = {**METHODS["no_rec"], "mlp": {"disc_hidden": (28, 28)}}
    return comparison(rows, num_steps=5_000, num_seeds=5)
