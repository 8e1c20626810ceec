"""VEEGAN on ten 700-D Gaussians in 1200-D, with the networks and the optimizer of the authors' notebook.

    python -m veegan_jax.main --config configs/synthetic1200_paper.py

Expected (docs/results): 1 mode, 6.88 % high quality, reverse KL 0.1051, after 100,000 steps; by the calibrated rule no
mode. Paper: 5.5 modes and 28.29 %, by a rule that no real sample meets.
"""

from ml_collections import ConfigDict

from configs import grid_paper


def get_config() -> ConfigDict:
    c = grid_paper.get_config()
    c.data = "synthetic1200"
    return c
