"""Squared distances between real examples and samples, computed once for all scores of nearest neighbours.

The radius of a ball and the distances that are compared with it must be the same numbers where points are the same:
else exact copies of real data lie outside the balls whose radii they made. So each pair of distinct points has one
distance, and every score reads that one.
"""

import functools
from typing import NamedTuple

import numpy as np

# Where the cost is quadratic, at most this number of examples of each sample is compared.
MOST_COMPARED = 5000
# No score asks for a farther neighbour of a real example than this one.
MOST_NEIGHBOURS = 5
# The distances of this number of points are computed at once.
ROWS = 500


class RealDistances:
    """Squared Euclidean distances between n real examples. Many samples can be compared with the same ones.

    Attributes:
        square: the distances, float32 `[n, n]`, exactly symmetric and 0 on the diagonal.
        distinct: the positions of the first of each distinct example, int `[u]`.
    """

    def __init__(self, real: np.ndarray):
        """Computes the distances of the first 5,000 examples, features `[M, D]`.

        Raises:
            ValueError: if a feature is not finite.
        """
        rows = _float64(real)
        self._centre = rows[0]
        self._number: dict[bytes, int] = {}
        self._which = _number(rows, self._number)
        self.distinct = np.unique(self._which, return_index=True)[1]
        self._points = rows[self.distinct] - self._centre
        self._between_distinct = _within(self._points)
        repeated = len(self.distinct) < len(rows)
        self.square = self._between_distinct[np.ix_(self._which, self._which)] if repeated else self._between_distinct

    def __len__(self) -> int:
        return len(self.square)

    @functools.cached_property
    def near(self) -> np.ndarray:
        """The least of each row, ascending, `[n, 6]`, or `[n, n]` of fewer than six examples.

        The first is the example's distance to itself.
        """
        last = min(MOST_NEIGHBOURS, len(self) - 1)
        return np.sort(np.partition(self.square, last, axis=1)[:, : last + 1], axis=1)

    def radii(self, k: int) -> np.ndarray:
        """Returns the squared distance from each example to its k-th nearest other one, `[n]`, for k up to 5.

        Raises:
            ValueError: if there are not k other examples.
        """
        return nearest(self.near, k)

    def distinct_radii(self, k: int) -> np.ndarray:
        """Returns the same as `radii` where each distinct example is there once, `[u]`."""
        return self.radii(k) if len(self.distinct) == len(self) else nearest(self._between_distinct, k)

    @functools.cached_property
    def clipped_radii(self) -> np.ndarray:
        """The squared distance to the fifth nearest other example, at most that of the median distance, `[n]`."""
        squares = self.radii(MOST_NEIGHBOURS)
        radii = np.sqrt(squares)
        return np.where(radii <= (median := np.median(radii)), squares, np.square(median))

    @functools.cached_property
    def clipped_balls(self) -> np.ndarray:
        """In how many balls of `clipped_radii` around other examples each example lies, int `[n]`."""
        return np.count_nonzero(self.square <= self.clipped_radii[:, None], axis=0) - 1

    def to(self, x: np.ndarray) -> "Distances":
        """Computes the distances to the first 5,000 samples, features `[N, D]`.

        Raises:
            ValueError: if a feature is not finite.
        """
        rows, number, known = _float64(x), dict(self._number), len(self._points)
        which = _number(rows, number)
        first = np.unique(which, return_index=True)[1]
        new = rows[first[which[first] >= known]] - self._centre
        cross, samples = _between(self._points, new), _within(new)
        if len(number) < len(self) + len(rows):  # points are repeated, or samples are copies of real examples
            whole = np.block([[self._between_distinct, cross], [cross.T, samples]])
            cross, samples = whole[np.ix_(self._which, which)], whole[np.ix_(which, which)]
        return Distances(self, cross, samples)


class Distances(NamedTuple):
    """Squared Euclidean distances, float32, of n real examples and m samples.

    Attributes:
        real: the distances between real examples.
        cross: from real examples to samples, `[n, m]`.
        samples: between samples, `[m, m]`, exactly symmetric and 0 on the diagonal.
    """

    real: RealDistances
    cross: np.ndarray
    samples: np.ndarray

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
    return RealDistances(real).to(x)


def nearest(square: np.ndarray, k: int) -> np.ndarray:
    """Returns the squared distance from each example to its k-th nearest other one, `[n]`, from those to all `[n, n]`.

    Raises:
        ValueError: if there are not k other examples.
    """
    if square.shape[1] <= k:
        raise ValueError(f"a {k}-NN manifold needs more than {k} examples, and there are {square.shape[1]}")
    # Position 0 is a distance of 0: that to the example itself. A copy of all distances would take longer to make.
    return np.concatenate([np.partition(square[i : i + ROWS], k, axis=1)[:, k] for i in range(0, len(square), ROWS)])


def _float64(features: np.ndarray) -> np.ndarray:
    rows: np.ndarray = features[:MOST_COMPARED].astype(np.float64) + 0.0  # −0 becomes 0, whose bytes are compared
    if not np.all(np.isfinite(rows)):
        raise ValueError("a feature of samples or of real examples is not finite")
    return rows


def _number(rows: np.ndarray, number: dict[bytes, int]) -> np.ndarray:
    """Returns the number of each row, int `[n]`; rows whose bytes are not in `number` are added to it."""
    return np.array([number.setdefault(row.tobytes(), len(number)) for row in rows])


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the squared distances, float32 `[n, m]` from sums in float64, between points `[n, D]` and `[m, D]`."""
    square, product = np.empty((len(a), len(b)), np.float32), np.empty((ROWS, len(b)))
    left, right = _factors(a)[0], _factors(b)[1]
    for i in range(0, len(a), ROWS):
        rows = np.matmul(left[i : i + ROWS], right, out=product[: len(a) - i])
        np.maximum(rows, 0, out=square[i : i + ROWS], casting="same_kind")
    return square


def _within(a: np.ndarray) -> np.ndarray:
    """Returns the squared distances between points `[n, D]`, as `_between` does, exactly symmetric."""
    square = np.empty((len(a), len(a)), np.float32)
    left, right = _factors(a)
    for i in range(0, len(a), ROWS):
        rows = square[i : i + ROWS, i:]
        np.maximum(left[i : i + ROWS] @ right[:, i:], 0, out=rows, casting="same_kind")
        # A sum may depend on which of two points comes first, so that one half is a copy of the other.
        tile = rows[:, :ROWS]
        tile[:] = np.triu(tile, 1) + np.triu(tile, 1).T
        square[i + ROWS :, i : i + ROWS] = rows[:, ROWS:].T
    return square


def _factors(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns matrices `[n, D + 2]` and `[D + 2, n]`, whose product is ‖a‖² + ‖b‖² − 2⟨a, b⟩."""
    norms, one = np.einsum("ij,ij->i", points, points)[:, None], np.ones((len(points), 1))
    return np.hstack([-2 * points, norms, one]), np.hstack([points, one, norms]).T.copy()
