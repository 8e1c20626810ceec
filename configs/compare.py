"""All methods on one data set, with the same nets, budget and seeds.

    python -m veegan_jax.main --config configs/compare.py:DATA

DATA is ring, grid, synthetic1200, stacked_digits, stacked_mnist or cifar10. One table: the methods and real data,
beside published figures. Between rows only the recipe differs, the best that we found for each method: docs/recipes.md.
The same command goes on where it was stopped; finished methods are not trained again.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import cifar10, stacked_digits, stacked_mnist
from veegan_jax.config import base_config, suggestion

Rows = dict[str, dict[str, Any]]


def get_config(data: str = "grid") -> ConfigDict:
    if data not in DATA:
        raise ValueError(f"DATA is {data!r}; {suggestion(data, DATA)}")
    c, rows = DATA[data]()
    c.num_seeds = 3
    with c.unlocked():
        c.compare = ConfigDict(rows)
    return c


def ring() -> tuple[ConfigDict, Rows]:
    c, rows = grid()
    c.data = "ring"
    c.num_steps = c.eval_every = 3_000
    return c, rows


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
    c.num_steps = 5_000
    c.ema_half_life = 128_000.0
    c.eval_every, c.save_every = 5_000, 1_000
    small = {"x_critic": 1.0, "reconstructor_std": 0.1}
    return c, {
        "gan": {"objective": "gan"},
        "ali": paired("ali", **small),
        "bigan": paired("bigan", x_critic=1.0),
        "infogan": paired("infogan", information_weight=0.02),
        "aae": {"objective": "aae"},
        "pacgan2": {**paired("gan"), "packing": 2},
        "r3gan": paired("gan"),
        "veegan": paired("veegan", **small, reconstruction_weight=0.01),
        "veegan_data_ae": paired("veegan_data_ae", **small, reconstruction_weight=0.1),
        "unrolled": {
            "objective": "gan",
            "unroll": 5,
            "optim": {"gen": {"learning_rate": 1e-3}, "disc": {"learning_rate": 3e-4}},
        },
    }


def paired(objective: str, gamma: float = 0.1, **options: Any) -> dict[str, Any]:
    """R3GAN's loss: relativistic pairs, and R1 and R2 penalties of the same weight γ."""
    return {
        "objective": objective,
        objective: {"adversarial_loss": "relativistic", **options},
        "penalty": {"r1": gamma, "r2": gamma},
    }


def synthetic1200() -> tuple[ConfigDict, Rows]:
    c, rows = digits()
    c.data = "synthetic1200"
    return c, rows


def digits() -> tuple[ConfigDict, Rows]:
    c = stacked_digits.get_config()
    c.packing = 1
    for player in ("gen", "disc"):
        c.optim[player].schedule = "cosine"
    c.num_steps = c.eval_every = 2_000
    c.ema_half_life = 32_000.0
    return c, images()


def mnist() -> tuple[ConfigDict, Rows]:
    return convolutional(stacked_mnist.get_config())


def cifar() -> tuple[ConfigDict, Rows]:
    return convolutional(cifar10.get_config())


def convolutional(c: ConfigDict) -> tuple[ConfigDict, Rows]:
    c.packing = 1
    c.dcgan.disc_norm = "none"  # in every row, since penalties want each example's own gradient
    return c, images()


def images() -> Rows:
    critic = {"x_critic": 1.0}
    veegan = {"adversarial_loss": "nonsaturating", "reconstructor_std": 0.5, **critic}
    return {
        "gan": {"objective": "gan"},
        "ali": {"objective": "ali", "ali": critic},
        "bigan": {"objective": "bigan", "bigan": critic},
        "infogan": {"objective": "infogan", "infogan": {"information_weight": 0.1}},
        "aae": {"objective": "aae"},
        "pacgan2": {"objective": "gan", "packing": 2},
        "r3gan": paired("gan"),
        "veegan": {"objective": "veegan", "veegan": {**veegan, "reconstruction_weight": 0.1}},
        "veegan_data_ae": {"objective": "veegan_data_ae", "veegan_data_ae": {**veegan, "reconstruction_weight": 0.01}},
        "unrolled": {"objective": "gan", "unroll": 5},
    }


DATA = {
    "ring": ring,
    "grid": grid,
    "synthetic1200": synthetic1200,
    "stacked_digits": digits,
    "stacked_mnist": mnist,
    "cifar10": cifar,
}
