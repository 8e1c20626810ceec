"""Squared distances between real examples and samples, computed once for all scores of nearest neighbours.

The radius of a ball and the distances that are compared with it must be the same numbers where points are the same:
else exact copies of real data lie outside the balls whose radii they made. So each pair of distinct points has one
distance, and every score reads that one.
"""

from typing import NamedTuple

import numpy as np

# Where the cost is quadratic, at most this number of examples of each sample is compared.
MOST_COMPARED = 5000
# No score asks for a farther neighbour of a real example than this one.
MOST_NEIGHBOURS = 5
# The distances are computed in square tiles of this side, which fit in a processor's cache. (Rows that a power of two
# separates would share the lines of the cache.)
TILE = 500


class Distances(NamedTuple):
    """Squared Euclidean distances, float32, of n real examples and m samples.

    Attributes:
        real: between real examples, `[n, n]`, exactly symmetric and 0 on the diagonal.
        cross: from real examples to samples, `[n, m]`.
        samples: between samples, `[m, m]`.
        distinct: the positions of the first of each distinct real example, int `[u]`.
        near: the least of each row of `real`, ascending, `[n, 6]`, or `[n, n]` of fewer than six examples. The first is
            the example's distance to itself.
    """

    real: np.ndarray
    cross: np.ndarray
    samples: np.ndarray
    distinct: np.ndarray
    near: np.ndarray

    def radii(self, k: int) -> np.ndarray:
        """Returns the squared distance from each real example to its k-th nearest other one, `[n]`, for k up to 5.

        Raises:
            ValueError: if there are not k other examples.
        """
        return nearest(self.near, k)

    def distinct_radii(self, k: int) -> np.ndarray:
        """Returns the same as `radii` where each distinct real example is there once, `[u]`."""
        if len(self.distinct) == len(self.real):
            return self.radii(k)
        return nearest(self.real[np.ix_(self.distinct, self.distinct)], k)

    @property
    def least(self) -> int:
        """The smaller of the numbers of real examples and of samples."""
        return min(self.cross.shape)


def distances(x: np.ndarray, real: np.ndarray) -> Distances:
    """Computes the distances of the first 5,000 samples and the first 5,000 real examples.

    Args:
        x: features of samples, `[N, D]`.
        real: features of real examples, `[M, D]`.

    Raises:
        ValueError: if a feature is not finite.
    """
    real, x = real[:MOST_COMPARED], x[:MOST_COMPARED]
    rows = np.concatenate([real, x]).astype(np.float64) + 0.0  # −0 becomes 0, whose bytes are compared
    if not np.all(np.isfinite(rows)):
        raise ValueError("a feature of samples or of real examples is not finite")
    points, inverse = _distinct(rows)
    square = _between(rows[points] - rows[0])
    if len(points) < len(rows):
        square = square[np.ix_(inverse, inverse)]
    n = len(real)
    within = square[:n, :n]
    last = min(MOST_NEIGHBOURS, n - 1)
    near = np.sort(np.partition(within, last, axis=1)[:, : last + 1], axis=1)
    return Distances(within, square[:n, n:], square[n:, n:], points[points < n], near)


def nearest(square: np.ndarray, k: int) -> np.ndarray:
    """Returns the squared distance from each example to its k-th nearest other one, `[n]`, from those to all `[n, n]`.

    Raises:
        ValueError: if there are not k other examples.
    """
    if square.shape[1] <= k:
        raise ValueError(f"a {k}-NN manifold needs more than {k} examples, and there are {square.shape[1]}")
    # Position 0 is a distance of 0: that to the example itself.
    radii: np.ndarray = np.partition(square, k, axis=1)[:, k]
    return radii


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the position of the first of each distinct row, in order, and which of these each row is."""
    keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return np.sort(first), rank[inverse]


def _between(points: np.ndarray) -> np.ndarray:
    """Returns the squared distances, float32 `[U, U]` from sums in float64, between points `[U, D]`."""
    u, one = len(points), np.ones((len(points), 1))
    norms = np.einsum("ij,ij->i", points, points)[:, None]
    # One product of matrices gives ‖a‖² + ‖b‖² − 2⟨a, b⟩.
    left, right = np.hstack([-2 * points, norms, one]), np.hstack([points, one, norms]).T.copy()
    square, product = np.empty((u, u), np.float32), np.empty((TILE, TILE))
    for i in range(0, u, TILE):
        for j in range(i, u, TILE):
            rows, columns = left[i : i + TILE], right[:, j : j + TILE]
            found = np.matmul(rows, columns, out=product[: len(rows), : columns.shape[1]])
            tile = square[i : i + TILE, j : j + TILE]
            np.maximum(found, 0, out=tile, casting="same_kind")
            if i == j:  # A sum may depend on which of two points comes first, so that one half is a copy of the other.
                tile[:] = np.triu(tile, 1) + np.triu(tile, 1).T
            else:
                square[j : j + TILE, i : i + TILE] = tile.T
    return square
