"""VEEGAN on the grid, the best recipe.

python -m veegan_jax.main --config configs/recipes/grid_best.py
"""

from ml_collections import ConfigDict

from configs.recipes import best_on_plane


def get_config() -> ConfigDict:
    return best_on_plane("grid", spread=16.0)
