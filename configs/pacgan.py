"""PacGAN (Lin et al., NeurIPS 2018): a GAN whose discriminator judges two examples together.

    python -m veegan_jax.main --config configs/pacgan.py          on stacked digits
    python -m veegan_jax.main --config configs/pacgan.py:DATA     DATA as in configs/compare.py

Expected on stacked digits, over the three seeds of the row `pacgan2` of configs/compare.py, of which this run is the
first (docs/results): 991.3 ± 3.844 modes, reverse KL 0.326 ± 0.01167, after 1,000 steps.
"""

from ml_collections import ConfigDict

from configs import compare
from veegan_jax.config.convert import comparison


def get_config(data: str = "stacked_digits") -> ConfigDict:
    c = comparison(compare.get_config(data))["pacgan2"]
    c.num_seeds = 1
    return c
