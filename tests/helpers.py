"""Small runs that take no time, of every entry of the registries."""

import itertools
from pathlib import Path

from ml_collections import ConfigDict

from veegan_jax.config import base_config
from veegan_jax.data import SOURCES
from veegan_jax.models import MODELS
from veegan_jax.objectives import OBJECTIVES

ROOT = Path(__file__).resolve().parent.parent
COMBINATIONS = list(itertools.product(sorted(OBJECTIVES), sorted(MODELS), sorted(SOURCES)))


def tiny(objective: str = "veegan", model: str = "mlp", data: str = "ring", **fields: object) -> ConfigDict:
    """A config of small nets, batches and budgets."""
    c = base_config()
    c.objective, c.model, c.data = objective, model, data
    c.latent_dim, c.noise_dim = 3, 2
    c.mlp.gen_hidden = c.mlp.rec_hidden = (8, 8)
    c.mlp.disc_hidden = (8,)
    c.batch_size, c.num_steps, c.steps_per_call = 16, 8, 2
    c.devices = 1
    c.log_every, c.eval_every, c.save_every, c.eval_samples = 2, 4, 4, 64
    c.ema_half_life = 64.0
    c.update(fields)
    return c
