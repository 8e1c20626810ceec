"""CIFAR-10: 32×32 photographs of ten kinds of things (Krizhevsky, 2009; VEEGAN, section 4.3)."""

from pathlib import Path

from veegan_jax.data.base import TFDS, LabelledImages, Source
from veegan_jax.data.image_sources import labelled_source
from veegan_jax.data.readers.files import read_labelled
from veegan_jax.data.readers.locate import locate

TRAIN, TEST = 50_000, 10_000


def cifar10(*, path: str = "") -> Source:
    """Photographs: 50,000 to train from, and the 10,000 test images held out.

    Args:
        path: a `.npz` file with `x_train`, `y_train`, `x_test` and `y_test`, or a folder with one such file; or
            'tfds:cifar10', or another set of TensorFlow Datasets. Empty for the folder VEEGAN_DATA_DIR/cifar10, and
            where that is not there 'tfds:cifar10'. Of a part of the set, tables say so.
    """
    data = _read(locate(path, "cifar10", "cifar10"))
    train, test = len(data.train_images), len(data.test_images)
    subset = f"a subset of CIFAR-10: {train:,} of its {TRAIN:,} training images, {test:,} of its {TEST:,} test images"
    return labelled_source(data, note=subset if train < TRAIN or test < TEST else "")


def _read(path: str) -> LabelledImages:
    if path.startswith(TFDS):
        from veegan_jax.data.readers import tfds  # here, since it takes a second that other data need not wait

        return tfds.read_labelled(path.removeprefix(TFDS))
    files = sorted(Path(path).glob("*.npz")) if Path(path).is_dir() else [Path(path)]
    if len(files) != 1 or not files[0].is_file():
        raise ValueError(f"path is {path}; it must be a .npz file, or a folder with one, or '{TFDS}cifar10'")
    return read_labelled(files[0])
