"""VEEGAN on CIFAR-10, with DCGAN networks and the recipe of configs/stacked_mnist.py.

    python -m veegan_jax.main --config configs/cifar10.py

Not measured: the run needs a GPU. The images are read from VEEGAN_DATA_DIR/cifar10 or TFDS.
"""

from ml_collections import ConfigDict

from configs import stacked_mnist


def get_config() -> ConfigDict:
    c = stacked_mnist.get_config()
    c.data = "cifar10"
    return c
