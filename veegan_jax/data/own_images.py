"""Your own images: a folder of files, an array, or a set of TensorFlow Datasets."""

from typing import Literal

import numpy as np

from veegan_jax.data.base import Source, subset
from veegan_jax.data.image_sources import MOST_HELD_OUT, image_source
from veegan_jax.data.readers.files import ImageSpec, open_images


def images(
    *, path: str = "", size: int = 64, channels: Literal[1, 3] = 3, held_out: float = 0.1, resident_gib: float = 4.0
) -> Source:
    """Images of any sizes, which are made `size` × `size`: the central square, by a Lanczos filter.

    Args:
        path: a folder of image files, folders within it included; a `.npy` file with one array uint8 `[N, H, W]` or
            `[N, H, W, C]`; a `.npz` file with one such array, or `x_train` and `x_test`; or 'tfds:NAME'.
        size: of the images that networks see, in pixels.
        channels: 3 for colours, 1 for grey.
        held_out: the fraction of the images, chosen at random and always the same, that training never sees; at most
            10,000. Without effect on data that have a test part, which is then what is held out.
        resident_gib: training images are kept on the device if they take at most so many GiB, a byte for each pixel and
            channel; if more they are streamed, and each is read when its turn comes. 0 to stream all data.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is {held_out}; it is a fraction, between 0 and 1")
    train, test = open_images(path, ImageSpec(size, channels))
    if test is None:
        if train.num < 2:
            raise ValueError(f"path is {path}; it has one image, and at least two are needed: one is held out")
        order = np.random.default_rng(0).permutation(train.num)
        num = min(max(round(held_out * train.num), 1), train.num - 1, MOST_HELD_OUT)
        train, test = subset(train, np.sort(order[num:])), subset(train, np.sort(order[:num]))
    return image_source(train, test, resident_gib)
