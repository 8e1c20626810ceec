"""VEEGAN on the ring, the best recipe.

python -m veegan_jax.main --config configs/recipes/ring_best.py
"""

from ml_collections import ConfigDict

from configs.recipes import best_on_plane


def get_config() -> ConfigDict:
    c = best_on_plane("ring", spread=1.0)
    c.num_steps = 30_000
    return c
