"""R3GAN's loss (Huang et al., NeurIPS 2024): a GAN on pairs of generated and real examples, with R1 and R2 penalties.

    python -m veegan_jax.main --config configs/r3gan.py          on stacked digits
    python -m veegan_jax.main --config configs/r3gan.py:DATA     DATA as in configs/compare.py

Expected on stacked digits, over the three seeds of the row `r3gan` of configs/compare.py, of which this run is the
first (docs/results): 1,000 ± 0 modes, reverse KL 0.1523 ± 0.006868, after 1,000 steps.
"""

from ml_collections import ConfigDict

from configs import compare
from veegan_jax.config.convert import comparison


def get_config(data: str = "stacked_digits") -> ConfigDict:
    c = comparison(compare.get_config(data))["r3gan"]
    c.num_seeds = 1
    return c
