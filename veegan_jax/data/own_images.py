"""Your own images: a folder of files, an array, or a set of TensorFlow Datasets."""

from typing import Literal

import numpy as np

from veegan_jax.data.base import Source, subset
from veegan_jax.data.image_sources import MOST_HELD_OUT, unlabelled_source
from veegan_jax.data.readers.files import ImageSpec, open_images


def images(
    *, path: str = "", size: int = 64, channels: Literal[1, 3] = 3, held_out: float = 0.1, resident_gib: float = 4.0
) -> Source:
    """Your own images of any sizes; the central square of each is resized to `size` × `size` by a Lanczos filter.

    Args:
        path: The folder of image files, which may lie in folders within it; or a `.npy` file with one array uint8
            `[N, H, W]` or `[N, H, W, C]`; or a `.npz` file with one such array, or with `x_train` and `x_test`; or
            'tfds:NAME' for a set of TensorFlow Datasets.
        size: The side in pixels of the images that networks see.
        channels: The channels of the images that networks see: 3 for colours, 1 for grey.
        held_out: The fraction of the images that training never sees, chosen at random and always the same; at most
            10,000 images. It has no effect on data with a test part, because that part is held out then.
        resident_gib: The largest size in GiB at which training images are kept on the device, at one byte for each
            pixel and channel; larger data are streamed, and each image is read when its turn comes. 0 streams all data.

    Raises:
        ValueError: if an option is out of range, or the images cannot be read or are fewer than two.
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
    return unlabelled_source(train, test, resident_gib)
