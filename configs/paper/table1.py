"""Table 1 of the paper: GAN, ALI, Unrolled GAN and VEEGAN on mixtures, with the networks and budget of the authors.

    python -m veegan_jax.main --mode reproduce --table 1                                  all three data sets
    python -m veegan_jax.main --mode reproduce --config configs/paper/table1.py:DATA      one of them

DATA is ring, grid or synthetic1200. Networks, optimizer, batch and steps are those of the authors' notebook
(configs/grid_paper.py), for all methods; each method has the loss of its own paper.

Expected: the table of docs/reproduction.md; 13 minutes and more a seed and row on two CPU cores.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import grid_paper, ring_paper, synthetic1200_paper
from veegan_jax.errors import suggestion

# Each method, as the fields in which it differs from VEEGAN's config.
ROWS: dict[str, dict[str, Any]] = {
    # Goodfellow et al. 2014 train the generator by the non-saturating loss, in practice.
    "gan": {"objective": "gan", "gan": {"adversarial_loss": "nonsaturating"}},
    # Dumoulin et al. 2017: a stochastic encoder that learns its σ; generator and encoder minimise D's loss with the
    # labels swapped.
    "ali": {"objective": "ali", "ali": {"adversarial_loss": "nonsaturating", "learned_std": True}},
    # Metz et al. 2017: five updates ahead on mixtures; the generator of their notebook minimises the negative of D's
    # loss.
    "unrolled": {"objective": "gan", "gan": {"adversarial_loss": "minimax"}, "unroll": 5},
    "veegan": {},
}
DATA = {
    "ring": ring_paper.get_config,
    "grid": grid_paper.get_config,
    "synthetic1200": synthetic1200_paper.get_config,
}


def get_config(data: str = "ring") -> ConfigDict:
    if data not in DATA:
        raise ValueError(f"DATA is {data!r}; {suggestion(data, DATA)}")
    c = DATA[data]()
    c.num_seeds = 5
    with c.unlocked():
        c.compare = ConfigDict(ROWS)
    return c
