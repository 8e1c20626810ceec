"""VEEGAN on CelebA, 64×64, with the recipe of configs/cifar10.py.

    python -m veegan_jax.main --config configs/celeba.py

Not measured: the run needs a GPU. The images are read from VEEGAN_DATA_DIR/celeba or TFDS.
"""

from ml_collections import ConfigDict

from configs import cifar10


def get_config() -> ConfigDict:
    c = cifar10.get_config()
    c.data = "celeba"
    return c
