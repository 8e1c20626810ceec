"""VEEGAN on CelebA, 64×64, with the recipe of configs/cifar10.py.

    python -m veegan_jax.main --config configs/celeba.py

The run needs a GPU; docs/results has none yet. The images are read from VEEGAN_DATA_DIR/celeba or TFDS.
"""

from ml_collections import ConfigDict

from configs import cifar10


def get_config() -> ConfigDict:
    c = cifar10.get_config()
    c.data = "celeba"
    return c
