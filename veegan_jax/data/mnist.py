"""MNIST (LeCun et al., 1998), and stacked MNIST: random digits as the channels of one image (VEEGAN, section 4.2)."""

from pathlib import Path
from typing import Literal

from veegan_jax.data.base import LabelledImages, Source
from veegan_jax.data.image_sources import labelled_source, stacked_source
from veegan_jax.data.readers import idx, tfds
from veegan_jax.data.readers.locate import locate


def mnist(*, path: str = "") -> Source:
    """Handwritten digits, 28×28×1: 60,000 to train from, and the 10,000 test images held out.

    Args:
        path: The folder with the four files in IDX format, those of MNIST or of a set with the same names such as
            Fashion-MNIST; or 'tfds:mnist', or another set of TensorFlow Datasets. An empty path means the folder
            VEEGAN_DATA_DIR/mnist, whose files must be MNIST's to the byte; where there is no such folder, it means
            'tfds:mnist'.

    Raises:
        ValueError: if the set is nowhere, or a file is missing, damaged or of another kind.
    """
    return labelled_source(_read(path))


def stacked_mnist(*, channels: Literal[3, 4] = 3, triples: int = 0, path: str = "") -> Source:
    """Random digits of MNIST as the channels of one image, 28×28×channels: 10^channels modes.

    Args:
        channels: The number of digits in one image: 3 for the paper's 1000 modes, or 4 for 10,000.
        triples: The number of stacks that are drawn once and for all: the paper's authors use 50,000 in one protocol,
            PacGAN uses 128,000. 0 draws new ones at every step.
        path: The place of MNIST's files, as in the source `mnist`.

    Raises:
        ValueError: if an option is out of range, the digits cannot be read, or their classes are not 0 to 9.
    """
    if triples < 0:
        raise ValueError(f"triples is {triples}; it must be 0 (drawn anew at every step) or a number such as 128000")
    read = _read(path)
    if (largest := max(read.train_labels.max(), read.test_labels.max())) > 9:
        raise ValueError(f"path is {path!r}; its labels go to {largest}, and must be digits, 0 to 9")
    digits = read._replace(train_images=read.train_images[..., 0], test_images=read.test_images[..., 0])
    return stacked_source(digits, channels, fixed=triples, references={"digit_modes": digits})


def _read(path: str) -> LabelledImages:
    found = locate(path, "mnist", "mnist")
    if found.startswith(tfds.PREFIX):
        return tfds.read_labelled(found)
    return idx.read_folder(Path(found), None if path else idx.MNIST)
