"""All methods on one data set, with the same networks, budget and seeds.

    python -m veegan_jax.main --config configs/compare.py:DATA

DATA is ring, grid, synthetic1200, stacked_digits, stacked_mnist or cifar10. The result is one table: the methods and
real data, beside published figures. Rows differ in the recipe only, which is the best that we found for each method:
docs/compare.md. The same command resumes a comparison that was stopped; finished methods are not trained again.

Expected: the tables of ring, grid and stacked_digits in docs/results. Other data were not measured.
"""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from configs import cifar10, stacked_mnist
from veegan_jax.config import base_config
from veegan_jax.errors import suggestion

Rows = dict[str, dict[str, Any]]


def get_config(data: str = "grid") -> ConfigDict:
    if data not in DATA:
        raise ValueError(f"DATA is {data!r}; {suggestion(data, DATA)}")
    c, rows = DATA[data]()
    c.num_seeds = 3
    with c.unlocked():
        c.compare = ConfigDict(rows)
    return c


def grid() -> tuple[ConfigDict, Rows]:
    c = base_config()
    c.data = "grid"
    c.latent_dim = 2
    c.mlp.gen_hidden = c.mlp.rec_hidden = c.mlp.disc_hidden = (128, 128, 128)
    for player in ("gen", "disc"):
        c.optim[player].learning_rate = 3e-3
        c.optim[player].schedule = "cosine"
    c.infogan.categories = 0
    c.infogan.continuous = 1
    c.batch_size = 256
    c.num_steps = c.eval_every = 5_000
    c.save_every = 1_000
    c.ema_half_life = 128_000.0
    return c, recipes(gamma=0.1, std=0.1, data_weight=0.1)


def ring() -> tuple[ConfigDict, Rows]:
    c, _ = grid()
    c.data = "ring"
    c.num_steps = c.eval_every = 2_000
    # The grid is four times as wide, and penalties weigh squared slopes, errors squared distances.
    return c, recipes(gamma=0.01, std=0.1, data_weight=1.0)


def stacked_8x8() -> tuple[ConfigDict, Rows]:
    c = base_config()
    c.data = "stacked_digits"
    c.latent_dim = 64
    c.mlp.gen_hidden = c.mlp.rec_hidden = c.mlp.disc_hidden = (512, 512)
    for player in ("gen", "disc"):
        c.optim[player].schedule = "cosine"
    c.batch_size = 128
    c.num_steps = c.eval_every = c.save_every = 1_000
    c.ema_half_life = 16_000.0
    return c, recipes(gamma=1.0, std=0.5, data_weight=0.01)


def synthetic1200() -> tuple[ConfigDict, Rows]:
    c, rows = stacked_8x8()
    c.data = "synthetic1200"
    return c, rows


def convolutional(c: ConfigDict) -> tuple[ConfigDict, Rows]:
    c.packing = 1
    c.dcgan.disc_norm = "none"  # all rows have none, since gradient penalties need each example's own gradient
    return c, recipes(gamma=1.0, std=0.5, data_weight=0.01)


def recipes(gamma: float, std: float, data_weight: float) -> Rows:
    """Returns the rows: a method each, by name, as the fields in which it differs from the common config.

    Args:
        gamma: the weight of the R1 and R2 penalties.
        std: σ of p(z|x), or its value at the start if it is learned.
        data_weight: the weight of the error of reconstructed data.
    """

    def paired(objective: str, **options: float) -> dict[str, Any]:
        """Returns a method with R3GAN's loss: relativistic pairs, and R1 and R2 penalties."""
        chosen = {"adversarial_loss": "relativistic", **options}
        return {"objective": objective, objective: chosen, "penalty": {"r1": gamma, "r2": gamma}}

    joint = {"x_critic": 1.0, "reconstructor_std": std}
    return {
        "gan": {"objective": "gan"},
        "unrolled": {**paired("gan"), "unroll": 1},
        "ali": paired("ali", **joint),
        "bigan": paired("bigan", x_critic=1.0),
        "infogan": paired("infogan", information_weight=0.02),
        "aae": {"objective": "aae"},
        "pacgan2": {**paired("gan"), "packing": 2},
        "r3gan": paired("gan"),
        "veegan": paired("veegan", **joint, reconstruction_weight=0.01),
        "veegan_data_ae": paired("veegan_data_ae", **joint, reconstruction_weight=data_weight),
    }


# Each data set's common config, which has networks and budget, and its rows.
DATA: dict[str, Callable[[], tuple[ConfigDict, Rows]]] = {
    "ring": ring,
    "grid": grid,
    "synthetic1200": synthetic1200,
    "stacked_digits": stacked_8x8,
    "stacked_mnist": lambda: convolutional(stacked_mnist.get_config()),
    "cifar10": lambda: convolutional(cifar10.get_config()),
}
