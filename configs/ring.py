"""VEEGAN on the ring, a quick recipe: python -m veegan_jax.main --config configs/ring.py

The authors' recipe (configs/ring_paper.py) needs 100,000 steps. What makes this one fast: a discriminator with two
hidden layers, the non-saturating loss, a reconstruction term that does not drown the critic, and less reconstructor
noise.
"""

from ml_collections import ConfigDict

from veegan_jax.config.fields import base_config


def get_config() -> ConfigDict:
    c = base_config()
    c.data = "ring"
    c.latent_dim = 8
    c.mlp.disc_hidden = (128, 128)
    c.veegan.adversarial_loss = "nonsaturating"
    c.veegan.reconstruction_weight = 0.1
    c.veegan.reconstructor_std = 0.5
    for player in ("gen", "disc"):
        c.optim[player].schedule = "cosine"
    c.batch_size = 256
    c.num_steps = 8_000
    c.ema_half_life = 128_000.0
    c.eval_every = 1_000
    c.save_every = 1_000
    return c
