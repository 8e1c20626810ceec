"""VEEGAN on images of your own, with the recipe of configs/cifar10.py.

    python -m veegan_jax.main --config configs/images.py --config.images.path=FOLDER

The path is that of a folder of images, a .npy or .npz file, or tfds:NAME (docs/data.md). Images are made 64×64, or of
another size, as with --config.images.size=32.

Not measured: it depends on the images.
"""

from ml_collections import ConfigDict

from configs import cifar10


def get_config() -> ConfigDict:
    c = cifar10.get_config()
    c.data = "images"
    return c
