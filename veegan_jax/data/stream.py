"""Streams images that do not fit in device memory, through Grain: batches that are functions of the step alone."""

import functools
import os
import sys
from collections.abc import Iterator

import numpy as np

from veegan_jax.data.base import Images

# Of the order of the images, the same in every run: a resumed one has to go on with it.
SEED = 0
# Batches that are read ahead.
PREFETCH = 8


def batches(images: Images, batch_size: int, *, step: int = 0, shard: int = 0, shards: int = 1) -> Iterator[np.ndarray]:
    """An endless stream of batches, uint8 `[batch_size, H, W, C]`, each epoch in an order of its own.

    Step t takes the images at places t·B to (t + 1)·B − 1 of the endless sequence of epochs, B being the batch of all
    shards together: every image comes once an epoch, and what a step sees depends neither on where the stream was begun
    nor on the number of shards.

    Args:
        images: that are read, by several threads at once.
        batch_size: of this shard.
        step: of the first batch.
        shard: which part of each step's images is this one's, 0 to `shards` − 1: the index of the host.
        shards: in how many parts each step's images are split: the number of hosts.
    """
    import grain  # here, since it takes a second that other data need not wait

    read = grain.ReadOptions(num_threads=min(16, os.cpu_count() or 1), prefetch_buffer_size=PREFETCH)
    mine = grain.MapDataset.source(_Batches(images, batch_size))[step * shards + shard :: shards]
    return iter(mine.to_iter_dataset(read))


def positions(count: int, start: int, stop: int) -> np.ndarray:
    """Which of `count` images are at places `start` to `stop` − 1 of the sequence of epochs, int64 `[stop − start]`."""
    epochs = range(start // count, (stop - 1) // count + 1)
    return np.concatenate([_order(count, e)[max(start - e * count, 0) : stop - e * count] for e in epochs])


@functools.lru_cache(maxsize=2)  # an epoch, and the next where a batch reaches into it
def _order(count: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((SEED, epoch)).permutation(count)


class _Batches:
    """The batches by number, as Grain reads them."""

    def __init__(self, images: Images, batch_size: int):
        self.images, self.batch_size = images, batch_size

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, number: int) -> np.ndarray:
        start = int(number) * self.batch_size
        return self.images.read(positions(self.images.num, start, start + self.batch_size))
