"""PacGAN (Lin et al., NeurIPS 2018): a GAN whose discriminator judges two examples at once.

python -m veegan_jax.main --config configs/pacgan.py          on stacked digits
python -m veegan_jax.main --config configs/pacgan.py:DATA     DATA as in configs/compare.py, whose row this is
"""

from ml_collections import ConfigDict

from configs import compare
from veegan_jax.config.convert import comparison


def get_config(data: str = "stacked_digits") -> ConfigDict:
    c = comparison(compare.get_config(data))["pacgan2"]
    c.num_seeds = 1
    return c
