"""Finds the well-known sets of images."""

import os
from pathlib import Path

from veegan_jax.data.base import TFDS


def locate(path: str, name: str, tfds_name: str) -> str:
    """Where a well-known set of images is.

    Args:
        path: what the user asks for, a folder, file or 'tfds:NAME'; or empty for what is there.
        name: of the set's folder in VEEGAN_DATA_DIR.
        tfds_name: of the set in TensorFlow Datasets.

    Returns:
        `path` if given; else the folder if there is one; else 'tfds:' and the TFDS name if that set is prepared.

    Raises:
        ValueError: if the set is nowhere; says how to get it.
    """
    if path:
        return path
    root = os.environ.get("VEEGAN_DATA_DIR", "")
    if root and (Path(root) / name).is_dir():
        return str(Path(root) / name)
    from veegan_jax.data.readers import tfds

    if tfds.is_prepared(tfds_name):
        return TFDS + tfds_name
    looked = f"no folder {Path(root) / name}" if root else "VEEGAN_DATA_DIR is not set"
    raise ValueError(
        f"path is '', {looked} and TensorFlow Datasets has no prepared {tfds_name}; it must be a folder, or set "
        f"VEEGAN_DATA_DIR to the parent of a folder {name}, or run: python -m veegan_jax.prepare {tfds_name}"
    )
