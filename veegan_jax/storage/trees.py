"""Trees of arrays in files that can be made again at any time: trained classifiers."""

import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from veegan_jax.errors import UserError, one_line
from veegan_jax.storage.files import digest, replacing

CHECKSUM = "checksum"
_log = logging.getLogger("veegan_jax")


def read_tree(path: Path, otherwise: str) -> Any:
    """Reads the tree of arrays in a file; None, with a warning, if the file is damaged, and None if there is none.

    Args:
        path: the file.
        otherwise: what follows from a damaged file, for the warning, such as "the classifier is trained again".
    """
    try:
        if not path.exists():
            return None
        with path.open("rb") as file:  # opened here, since numpy leaves a file open that is no archive
            leaves = dict(np.load(file, allow_pickle=False))
        if str(leaves.pop(CHECKSUM)) != _checksum(leaves):
            raise ValueError("its checksum is another")
        return traverse_util.unflatten_dict(leaves, sep="/")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("%s is damaged (%s), so %s", path, one_line(error), otherwise)
        return None


def write_tree(path: Path, tree: Any, otherwise: str) -> None:
    """Writes a tree of arrays to a file, whole or not at all; if the file cannot be written, there is a warning.

    Args:
        path: the file, whose folder is made.
        tree: nested dictionaries of arrays.
        otherwise: what follows if the file cannot be written, for the warning, such as "the classifier is not kept".
    """
    leaves = traverse_util.flatten_dict(tree, sep="/")
    leaves[CHECKSUM] = np.asarray(_checksum(leaves))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, shared=True) as file:
            np.savez(file, allow_pickle=False, **leaves)
    except (OSError, UserError) as error:
        _log.warning("%s: %s", otherwise, one_line(error))


def _checksum(leaves: Mapping[str, np.ndarray]) -> str:
    return digest(*(part for name in sorted(leaves) for part in (name, leaves[name])))
