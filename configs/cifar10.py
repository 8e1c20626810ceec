"""VEEGAN on CIFAR-10, DCGAN nets: python -m veegan_jax.main --config configs/cifar10.py

A GPU's work. The images are read from VEEGAN_DATA_DIR/cifar10 or TFDS.
"""

from ml_collections import ConfigDict

from configs import stacked_mnist


def get_config() -> ConfigDict:
    c = stacked_mnist.get_config()
    c.data = "cifar10"
    return c
