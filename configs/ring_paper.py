"""VEEGAN on the ring, the authors' notebook: python -m veegan_jax.main --config configs/ring_paper.py

Paper: 8 modes and 52.9 % high quality.
"""

from ml_collections import ConfigDict

from configs import grid_paper


def get_config() -> ConfigDict:
    c = grid_paper.get_config()
    c.data = "ring"
    return c
