"""What each part of the recipe of stacked digits buys: the demo's recipe, and what is left of it without one part.

    python -m veegan_jax.main --config configs/questions/ablations.py

Expected: the last table of docs/questions.md.
"""

from ml_collections import ConfigDict

from configs import stacked_digits
from configs.questions import Row, both_players, with_rows


def get_config() -> ConfigDict:
    c = stacked_digits.get_config()
    c.num_seeds = 3
    c.keep_latest = 1
    rows: dict[str, Row] = {
        "whole": {},
        # A GAN whose critic sees x alone: neither F nor a critic of pairs.
        "no_reconstructor": {"objective": "gan", "gan": {"adversarial_loss": "relativistic"}},
        # F learns as before, and the critic of pairs stays, but G is not asked to keep z recoverable.
        "no_d": {"veegan": {"reconstruction_loss": "none"}},
        "contrastive_d": {"veegan": {"reconstruction_loss": "contrastive"}},
        "ten_times_the_weight_of_d": {"veegan": {"reconstruction_weight": 0.02}},
        "no_x_critic": {"veegan": {"x_critic": 0.0}},
        "no_relativistic_loss": {"veegan": {"adversarial_loss": "nonsaturating"}},
        "no_penalties": {"penalty": {"r1": 0.0, "r2": 0.0}},
        "no_r2": {"penalty": {"r2": 0.0}},
        "simultaneous_updates": {"update_order": "simultaneous"},
        "usual_adam": both_players(b1=0.5, b2=0.999),
        "constant_rate": both_players(schedule="constant"),
        "no_average": {"ema_half_life": 0.0},
    }
    return with_rows(c, rows)
