"""VEEGAN on stacked digits, 1000 modes: the demo, which is the best recipe with smaller networks and fewer steps.

    python -m veegan_jax.main --config configs/stacked_digits.py

Expected: TODO
"""

from ml_collections import ConfigDict

from configs.recipes import stacked_digits_best


def get_config() -> ConfigDict:
    c = stacked_digits_best.get_config()
    c.mlp.gen_hidden = c.mlp.rec_hidden = c.mlp.disc_hidden = (256, 256)
    for player in ("gen", "disc"):
        c.optim[player].learning_rate = 2e-3
    c.ema_half_life = 32_000.0
    c.num_steps = 3_000
    c.eval_every = c.save_every = 1_000
    return c
