"""All methods on one data set, same nets, budget and seeds: --config configs/compare.py:grid

    python -m veegan_jax.main --config configs/compare.py:DATA

DATA is ring, grid, synthetic1200, stacked_digits, stacked_mnist or cifar10. One table: methods and real data, beside
the published figures.
"""

from ml_collections import ConfigDict

from veegan_jax.config import base_config

# The methods as their papers have them.
METHODS = {
    "gan": {"objective": "gan"},
    "unrolled": {"objective": "gan", "unroll": 5},
    "ali": {"objective": "ali"},
    "bigan": {"objective": "bigan"},
    "infogan": {"objective": "infogan"},
    "aae": {"objective": "aae"},
    "pacgan2": {"objective": "gan", "packing": 2},
    "r3gan": {"objective": "gan", "gan": {"adversarial_loss": "relativistic"}, "penalty": {"r1": 0.1, "r2": 0.1}},
    "veegan": {"objective": "veegan"},
    "veegan_data_ae": {"objective": "veegan_data_ae"},
}


def get_config(data: str) -> ConfigDict:
    c = base_config()
    c.data = data
    c.latent_dim = 8
    c.mlp.gen_hidden = c.mlp.rec_hidden = c.mlp.disc_hidden = (128, 128)
    c.infogan.categories = 0
    c.batch_size = 256
    c.num_steps = 10_000
    c.num_seeds = 3
    c.ema_half_life = 128_000.0
    c.eval_every = 5_000
    c.save_every = 5_000
    with c.unlocked():
        c.compare = ConfigDict(METHODS)
    return c
