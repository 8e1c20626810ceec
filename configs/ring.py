"""VEEGAN on the ring, a quick recipe: python -m veegan_jax.main --config configs/ring.py"""

from ml_collections import ConfigDict

from veegan_jax.config import base_config


def get_config() -> ConfigDict:
    c = base_config()
    c.data = "ring"
    return c
