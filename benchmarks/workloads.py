"""The steps that are timed: the product's configs, with data of noise where the data's content changes no time."""

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from configs import celeba, cifar10, compare, grid_paper, ring, stacked_mnist
from veegan_jax.config import base_config
from veegan_jax.config.convert import comparison
from veegan_jax.data.readers.idx import FILES


class Workload(NamedTuple):
    """A config, and how much of it is timed at once.

    Attributes:
        make: Returns the config.
        steps: The number of steps in one call, at most the config's own `steps_per_call`.
        peers: The peers that are timed beside it by default; the others are too slow to wait for.
    """

    make: Callable[[], ConfigDict]
    steps: int
    peers: tuple[str, ...]


def _row(data: str, **fields: object) -> ConfigDict:
    """Returns the row 'veegan' of a comparison, which has two critics and the penalties R1 and R2."""
    config = comparison(compare.get_config(data))["veegan"]
    config.num_seeds = 1
    config.update(fields)
    return config


def _packed_digits() -> ConfigDict:
    """Returns a GAN's usual load for MLPs: wide layers, two packed examples, and no penalty."""
    config = base_config()
    config.data, config.latent_dim, config.packing, config.batch_size = "stacked_digits", 64, 2, 128
    config.mlp.gen_hidden = config.mlp.rec_hidden = config.mlp.disc_hidden = (512, 512)
    config.veegan.adversarial_loss = "nonsaturating"
    config.ema_half_life = 64_000.0
    return config


def _one_gen_update() -> ConfigDict:
    config = stacked_mnist.get_config()
    config.gen_updates = 1
    return config


def _resnet_cifar10() -> ConfigDict:
    config = cifar10.get_config()
    config.model, config.resnet.base_width, config.gen_updates = "resnet", 128, 1
    return config


MLP = ("naive_jax", "pytorch", "pytorch_compiled")
CONV = ("pytorch", "pytorch_channels_last", "pytorch_compiled_channels_last")
WORKLOADS: Mapping[str, Workload] = {
    "grid_paper": Workload(grid_paper.get_config, 50, MLP),
    "ring": Workload(ring.get_config, 50, MLP),
    "compare_grid": Workload(lambda: _row("grid"), 50, MLP),
    "stacked_digits": Workload(_packed_digits, 50, MLP),
    "stacked_mnist": Workload(stacked_mnist.get_config, 2, CONV),
    "stacked_mnist_1": Workload(_one_gen_update, 2, (*CONV, "naive_jax")),
    "cifar10": Workload(cifar10.get_config, 2, CONV),
    "celeba": Workload(celeba.get_config, 1, CONV),
    "dcgan_penalties": Workload(lambda: _row("stacked_mnist"), 2, CONV),
    "resnet_penalties": Workload(lambda: _row("cifar10", model="resnet", gen_updates=1), 1, CONV),
    "resnet_cifar10": Workload(_resnet_cifar10, 1, CONV),
}


def config_of(name: str, folder: Path) -> ConfigDict:
    """Returns the config of a workload; images of noise are written to a folder."""
    config = WORKLOADS[name].make()
    paths = write_noise(folder)
    if config.data in paths:
        config[config.data].path = paths[config.data]
    return config


def write_noise(folder: Path) -> dict[str, str]:
    """Writes files of noise that sources of images read; returns their paths by the source's name."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(FILES):
        shape, labels = (60, 28, 28), np.arange(60, dtype=np.uint8) % 10
        array = labels if i % 2 else rng.integers(0, 256, shape, dtype=np.uint8)
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        (folder / name).write_bytes(gzip.compress(header + array.tobytes()))
    photographs, labels = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), np.arange(60, dtype=np.uint8) % 10
    np.savez(folder / "cifar10.npz", x_train=photographs, y_train=labels, x_test=photographs, y_test=labels)
    np.save(folder / "celeba.npy", rng.integers(0, 256, (60, 64, 64, 3), dtype=np.uint8))
    paths = {"stacked_mnist": folder, "cifar10": folder / "cifar10.npz", "celeba": folder / "celeba.npy"}
    return {name: str(path) for name, path in paths.items()}
