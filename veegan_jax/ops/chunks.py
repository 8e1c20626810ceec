"""Computes many examples a chunk at a time."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def map_in_chunks(function: Callable[..., Any], *arrays: np.ndarray, size: int) -> Any:
    """Applies a function to `size` rows of arrays at a time, so that it is compiled for one shape only.

    The last chunk is padded with copies of the first row, whose results are dropped.

    Args:
        function: from arrays `[size, …]` to a tree of arrays `[size, …]`, each row by itself.
        arrays: `[N, …]` each, N ≥ 1.
        size: rows a chunk.

    Returns:
        The tree of results, numpy arrays `[N, …]`.
    """
    n = len(arrays[0])
    padded = [np.concatenate([a, np.repeat(a[:1], -n % size, axis=0)]) for a in arrays]
    chunks = [
        jax.tree.map(np.asarray, function(*(a[start : start + size] for a in padded))) for start in range(0, n, size)
    ]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *chunks)
