"""Sources of data, one file each.

An entry of the registry is a function that returns a `Source`. Its keyword arguments are the source's options in the
config, and `config.data` chooses the entry.
"""

from collections.abc import Callable

from veegan_jax.data.base import Source
from veegan_jax.data.celeba import celeba
from veegan_jax.data.cifar10 import cifar10
from veegan_jax.data.curves import moons, spiral
from veegan_jax.data.mixtures import grid, ring, synthetic1200
from veegan_jax.data.mnist import mnist, stacked_mnist
from veegan_jax.data.own_images import images
from veegan_jax.data.stacked_digits import stacked_digits

SOURCES: dict[str, Callable[..., Source]] = {
    "celeba": celeba,
    "cifar10": cifar10,
    "grid": grid,
    "images": images,
    "mnist": mnist,
    "moons": moons,
    "ring": ring,
    "spiral": spiral,
    "stacked_digits": stacked_digits,
    "stacked_mnist": stacked_mnist,
    "synthetic1200": synthetic1200,
}
