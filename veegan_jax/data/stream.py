"""Streams images that do not fit in device memory, through Grain, in batches that are functions of the step alone."""

import functools
import os
import sys
from collections.abc import Iterator

import numpy as np

from veegan_jax.data.base import Images

# The seed of the images' order. It is the same in every run, because a resumed run has to keep the order.
SEED = 0
# The number of batches that are read ahead.
PREFETCH = 8


def batches(images: Images, batch_size: int, *, step: int = 0, shard: int = 0, shards: int = 1) -> Iterator[np.ndarray]:
    """Returns an endless stream of batches, uint8 `[batch_size, H, W, C]`, with another order in each epoch.

    Let B be the batch of all shards together. Step t takes the images at places t·B to (t + 1)·B − 1 of the endless
    sequence of epochs. So every image comes once an epoch, and the images of a step depend neither on the step at which
    the stream was opened nor on the number of shards.

    Args:
        images: The images to read; several threads read them at once.
        batch_size: The number of images in a batch of this shard.
        step: The step of the first batch.
        shard: The part of each step's images that this shard reads, 0 to `shards` − 1: the index of the host.
        shards: The number of parts that each step's images are split into: the number of hosts.
    """
    import grain  # The import takes a second, which other data need not wait for.

    options = grain.ReadOptions(num_threads=min(16, os.cpu_count() or 1), prefetch_buffer_size=PREFETCH)
    of_shard = grain.MapDataset.source(_Batches(images, batch_size))[step * shards + shard :: shards]
    return iter(of_shard.to_iter_dataset(options))


def positions(count: int, start: int, stop: int) -> np.ndarray:
    """Returns the positions of the images at places `start` to `stop` − 1 of the sequence of epochs.

    Args:
        count: The number of images, each of which comes once an epoch.
        start: The first place.
        stop: The place after the last.

    Returns:
        int64 `[stop − start]`, from 0 to `count` − 1.
    """
    epochs = range(start // count, (stop - 1) // count + 1)
    return np.concatenate([_order(count, e)[max(start - e * count, 0) : stop - e * count] for e in epochs])


# A batch may reach from one epoch into the next, so two orders are kept.
@functools.lru_cache(maxsize=2)
def _order(count: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((SEED, epoch)).permutation(count)


class _Batches:
    """An endless sequence of batches, read by number: Grain's interface to data."""

    def __init__(self, images: Images, batch_size: int):
        self.images, self.batch_size = images, batch_size

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, number: int) -> np.ndarray:
        start = int(number) * self.batch_size
        return self.images.read(positions(self.images.num, start, start + self.batch_size))
