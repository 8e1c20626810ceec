"""CIFAR-10: 32×32 photographs of ten classes of objects (Krizhevsky, 2009; VEEGAN, section 4.3)."""

from veegan_jax.data.base import Source
from veegan_jax.data.image_sources import labelled_source
from veegan_jax.data.readers.files import read_labelled
from veegan_jax.data.readers.locate import locate

# The numbers of images in the whole set.
TRAIN, TEST = 50_000, 10_000


def cifar10(*, path: str = "") -> Source:
    """Photographs, 32×32×3: 50,000 to train from, and the 10,000 test images held out.

    Args:
        path: The `.npz` file with `x_train`, `y_train`, `x_test` and `y_test`, or a folder with one such file; or
            'tfds:cifar10', or another set of TensorFlow Datasets. An empty path means the folder
            VEEGAN_DATA_DIR/cifar10, or 'tfds:cifar10' where there is no such folder. The tables say so where the data
            are a part of CIFAR-10.

    Raises:
        ValueError: if the set is nowhere, or the file is damaged or lacks an array.
    """
    data = read_labelled(locate(path, "cifar10", "cifar10"))
    train, test = len(data.train_images), len(data.test_images)
    subset = f"a subset of CIFAR-10: {train:,} of its {TRAIN:,} training images, {test:,} of its {TEST:,} test images"
    return labelled_source(data, note=subset if train < TRAIN or test < TEST else "")
