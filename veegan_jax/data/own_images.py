"""Your own images: a folder of files, an array, or a set of TensorFlow Datasets."""

from typing import Literal

import numpy as np

from veegan_jax.data.base import Images, Source, subset
from veegan_jax.data.image_sources import unlabelled_source
from veegan_jax.data.readers.files import open_images
from veegan_jax.data.readers.pixels import ImageSpec


def images(
    *, path: str = "", size: int = 64, channels: Literal[1, 3] = 3, held_out: float = 0.1, resident_gib: float = 4.0
) -> Source:
    """Your own images of any sizes; the central square of each is resized to `size` × `size` by a Lanczos filter.

    Args:
        path: The folder of image files, which may lie in folders within it; or a `.npy` file with one array of images
            `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]`; or a `.npz` file with one such array, or with `x_train` and
            `x_test`; or 'tfds:NAME' for a set of TensorFlow Datasets.
        size: The side in pixels of the images that networks see.
        channels: The channels of the images that networks see: 3 for colours, 1 for grey.
        held_out: The fraction of the images that training never sees, about. A digest of what an image holds decides,
            so that images that are added or removed later move no other image. It has no effect on data with a test
            part, because that part is held out then.
        resident_gib: The largest size in GiB at which training images are kept on the device, at one byte for each
            pixel and channel; larger data are streamed, and each image is read when its turn comes. 0 streams all data.

    Raises:
        ValueError: if an option is out of range, or the images cannot be read or are fewer than two.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is {held_out}; it is a fraction, between 0 and 1")
    opened, test = open_images(path, ImageSpec(size, channels))
    return images_source(opened, test, path, held_out, resident_gib)


def images_source(opened: Images, test: Images | None, path: str, held_out: float, resident_gib: float) -> Source:
    """Returns the source of images that are open; a fraction of them is held out if there are no test images.

    Raises:
        ValueError: if the images are fewer than two, all equal, or damaged.
    """
    if test is not None:
        return unlabelled_source(opened, test, resident_gib)
    train, test = _divide(opened, path, held_out)
    return unlabelled_source(train, test, resident_gib, divided_here=True)


def _divide(images: Images, path: str, fraction: float) -> tuple[Images, Images]:
    """Divides images by what they hold: into those to train from, and about a fraction that is held out.

    The digest of each image is a number that is equally likely to be any of 64 bits, and images below a bound are held
    out. So equal images fall on the same side, and which other images there are makes no difference, unless no image
    lies on one side of the bound: then the nearest one is taken.
    """
    if images.num < 2:
        raise ValueError(f"path is {path}; it has one image, and at least two are needed: one is held out")
    assert images.digests is not None
    digests = images.digests()
    if digests.min() == digests.max():
        raise ValueError(f"path is {path}; its {images.num:,} images are all equal, and at least two must differ")
    held_out = digests < np.uint64(int(fraction * 2**64))
    if not held_out.any():
        held_out = digests == digests.min()
    if held_out.all():
        held_out = digests != digests.max()
    return subset(images, np.flatnonzero(~held_out)), subset(images, np.flatnonzero(held_out))
