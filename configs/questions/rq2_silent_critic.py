"""Research question 2: does d still teach the generator when the discriminator says nothing? VEEGAN on the grid.

    python -m veegan_jax.main --config configs/questions/rq2_silent_critic.py

The loss is the paper's, whose generator minimises the raw logit and d with equal weights, and one discriminator that
sees pairs. Rows differ in how that discriminator learns; `d_alone` drowns it by a weight of a million on d.

Expected: the table of question 2 in docs/questions.md.
"""

from ml_collections import ConfigDict

from configs.questions import Row, comparison


def get_config() -> ConfigDict:
    rows: dict[str, Row] = {
        "usual": {},
        "frozen": {"optim": {"disc": {"learning_rate": 1e-12}}},
        "slow": {"optim": {"disc": {"learning_rate": 3e-5}}},
        "weak": {"mlp": {"disc_hidden": (8,)}},
        "strong": {"disc_updates": 5},
        "d_alone": {"veegan": {"reconstruction_weight": 1e6}},
        "no_d": {"veegan": {"reconstruction_loss": "none"}},
    }
    return comparison(rows, num_steps=3_000, num_seeds=3)
