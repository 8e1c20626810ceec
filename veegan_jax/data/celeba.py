"""CelebA: faces, aligned, centre-cropped, 64×64 (Liu et al., ICCV 2015; VEEGAN, section 4.3)."""

import numpy as np

from veegan_jax.data.base import Source, subset
from veegan_jax.data.image_sources import unlabelled_source
from veegan_jax.data.readers.files import open_images
from veegan_jax.data.readers.locate import locate
from veegan_jax.data.readers.pixels import ImageSpec

# The official partition of the 202,599 images, in the order of their names, as fractions: training images come before
# the first, test images from the second on, and the images between them are for validation.
TRAIN_UNTIL, TEST_FROM = 162_770 / 202_599, 182_637 / 202_599


def celeba(*, path: str = "", crop: int = 108, resident_gib: float = 4.0) -> Source:
    """Faces, 64×64×3: the official 162,770 to train from, and 10,000 of the test images held out.

    Args:
        path: The folder of the aligned images (178×218 pixels), or a `.npy` or `.npz` file of images in the official
            order, or 'tfds:celeb_a'. A part of the set is divided by the same fractions as the whole. An empty path
            means the folder VEEGAN_DATA_DIR/celeba, or 'tfds:celeb_a' where there is no such folder.
        crop: The side in pixels of the central square that is kept of each image; 108 is DCGAN's (Radford et al., ICLR
            2016). An image that is smaller is not cropped.
        resident_gib: The largest size in GiB at which training images are kept on the device; larger data are
            streamed. The whole set takes 1.9 GiB.

    Raises:
        ValueError: if an option is out of range, the images cannot be read, or are too few to hold any out.
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
        validation = f"{n - len(first) - len(last):,} for validation are not used"
        train = train._replace(found=f"{train.found}; {validation}")
        train, test = subset(train, first), subset(train, last)
    return unlabelled_source(train, test, resident_gib)._replace(crop=crop)
