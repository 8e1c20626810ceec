"""Finds the well-known sets of images on disk."""

from veegan_jax.data.readers import tfds
from veegan_jax.paths import path_of_variable


def locate(path: str, name: str, tfds_name: str) -> str:
    """Returns where a well-known set of images is.

    Args:
        path: What the user asks for: a folder, a file or 'tfds:NAME'; or empty for the set that is found.
        name: The name of the set's folder in VEEGAN_DATA_DIR.
        tfds_name: The set's name in TensorFlow Datasets.

    Returns:
        `path` if it is given; else the folder if there is one; else 'tfds:' and the TFDS name if that set is prepared.

    Raises:
        ValueError: if the set is nowhere; the message says how to get it.
    """
    if path:
        return path
    root = path_of_variable("VEEGAN_DATA_DIR")
    if root and (root / name).is_dir():
        return str(root / name)
    if tfds.is_prepared(tfds.PREFIX + tfds_name):
        return tfds.PREFIX + tfds_name
    known = f"has no prepared {tfds_name}" if tfds.installed() else "is not installed"
    looked = f"no folder {root / name}" if root else "VEEGAN_DATA_DIR is not set"
    raise ValueError(
        f"path is '', {looked} and TensorFlow Datasets {known}; it must be a folder, or set "
        f"VEEGAN_DATA_DIR to the parent of a folder {name}, or run: {tfds.PREPARE} {tfds_name}"
    )
