"""CelebA: faces, aligned, centre-cropped, 64×64 (Liu et al., ICCV 2015; VEEGAN, section 4.3)."""

import numpy as np

from veegan_jax.data.base import Source, subset
from veegan_jax.data.image_sources import image_source
from veegan_jax.data.readers.files import ImageSpec, open_images
from veegan_jax.data.readers.locate import locate

# The official partition of the 202,599 images, in the order of their names: the first so many to train from, and the
# test images from so many on (those between are for validation).
TRAIN_UNTIL, TEST_FROM = 162_770 / 202_599, 182_637 / 202_599


def celeba(*, path: str = "", crop: int = 108, resident_gib: float = 4.0) -> Source:
    """Faces: the official 162,770 to train from, and 10,000 of the test images held out.

    Args:
        path: a folder of the aligned images (218×178 pixels), or a `.npy` or `.npz` file of images in their order: of a
            part of the set, as large shares are held out as of the whole. Or 'tfds:celeb_a'. Empty for the folder
            VEEGAN_DATA_DIR/celeba, and where that is not there 'tfds:celeb_a'.
        crop: the side of the central square that is kept of an aligned image, in pixels; 108 is DCGAN's (Radford et
            al., ICLR 2016). Smaller images are kept whole.
        resident_gib: as in `images`; the whole set takes 1.9 GiB.
    """
    if crop < 1:
        raise ValueError(f"crop is {crop}; it must be a number of pixels, as 108")
    found = locate(path, "celeba", "celeb_a")
    train, test = open_images(found, ImageSpec(64, 3, crop))
    if test is None:
        n = train.num
        first, last = np.arange(round(TRAIN_UNTIL * n)), np.arange(round(TEST_FROM * n), n)
        if not len(first) or not len(last):
            raise ValueError(f"path is {found}; it has {n} images, too few to hold any out")
        train, test = subset(train, first), subset(train, last)
    return image_source(train, test, resident_gib)
