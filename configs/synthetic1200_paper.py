"""VEEGAN on ten 700-D Gaussians in 1200-D, the authors' notebook nets and optimizer.

    python -m veegan_jax.main --config configs/synthetic1200_paper.py

Paper: 5.5 modes and 28.29 % high quality, by a rule that no real sample meets; see the calibrated columns.
"""

from ml_collections import ConfigDict

from configs import grid_paper


def get_config() -> ConfigDict:
    c = grid_paper.get_config()
    c.data = "synthetic1200"
    return c
