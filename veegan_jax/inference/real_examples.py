"""The real examples that are measured and shown: each of a finite set at most once."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import Source
from veegan_jax.ops.chunks import map_in_chunks

# The number of examples computed at a time. It never changes, and example i depends on (seed, i) alone: the first m of
# n samples are, to the bit, the m samples.
CHUNK = 512


class RealExamples:
    """Draws the real examples of a source, a chunk at a time; numpy out."""

    def __init__(self, source: Source):
        self._source = source
        self._sample = jax.jit(lambda arrays, key, i: jax.vmap(source.sample, in_axes=(None, 0))(arrays, fold(key, i)))
        self._read = jax.jit(jax.vmap(source.examples.read, in_axes=(None, 0))) if source.examples else None
        self.training = functools.cache(self._training)

    def held_out(self, n: int, seed: int) -> np.ndarray:
        """Returns `n` examples of the data held out of training, float32 `[n, …]`, or all where there are fewer.

        Each example of a finite set is returned at most once.
        """
        return self._draw(self._held_out, n, seed)

    def positions(self, n: int, seed: int) -> np.ndarray:
        """Returns the positions among the held-out examples, int `[n]`, of those that `held_out(n, seed)` returns."""
        return self._positions(self._held_out, n, seed)

    @functools.cached_property
    def _held_out(self) -> Any:
        return jax.tree.map(jnp.asarray, self._source.held_out)

    def _training(self, n: int, seed: int) -> np.ndarray:
        """Returns `n` examples of the training data, float32 `[n, …]`, or all where there are fewer.

        Each example of a finite set is returned at most once. A stream gives its first ones, whatever the seed. The
        examples are kept in host memory, since the training data may fill much of the device.
        """
        source = self._source
        if source.stream:
            decode = jax.jit(jax.vmap(source.stream.decode))
            first = next(source.stream.batches(0, min(n, source.num_train)))  # an epoch has each example once
            return np.asarray(map_in_chunks(decode, first, size=CHUNK))
        return self._draw(jax.tree.map(jnp.asarray, source.train), n, seed)

    def _draw(self, arrays: Any, n: int, seed: int) -> np.ndarray:
        key, positions = jax.random.key(seed), self._positions(arrays, n, seed)
        at = functools.partial(self._read, arrays) if self._read else functools.partial(self._sample, arrays, key)
        return np.asarray(map_in_chunks(at, positions, size=CHUNK))

    def _positions(self, arrays: Any, n: int, seed: int) -> np.ndarray:
        """Returns the positions of `n` examples that are drawn without replacement; 0 to n − 1 of a distribution."""
        if self._read is None:
            return np.arange(n)
        return np.asarray(jax.random.permutation(jax.random.key(seed), self._source.num(arrays))[:n])


def fold(key: jax.Array, index: jax.Array) -> jax.Array:
    """Returns a key for each of some indices, integers `[B]`."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
