"""What the sources of images share: how images are stored, drawn on the device and shown to networks."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import Images, LabelledImages, Source, Stream, subset

# Of held-out images, at most so many are kept: as many as the largest protocols score.
MOST_HELD_OUT = 10_000


# Images that one thread reads at once.
READ_AT_ONCE = 256


def read_all(images: Images) -> np.ndarray:
    """All of them in memory, uint8 `[N, H, W, C]`, read by as many threads as there are cores."""
    out = np.empty((images.num, *images.shape), np.uint8)

    def fill(start: int) -> None:
        rows = np.arange(start, min(start + READ_AT_ONCE, images.num))
        out[rows] = images.read(rows)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(0, images.num, READ_AT_ONCE)))
    return out


def decode(images: jax.Array) -> jax.Array:
    """From uint8 `[…]`, as images are stored, to float32 `[…]` in [−1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1.0


def sample(images: jax.Array, key: jax.Array) -> jax.Array:
    """One random image of uint8 `[N, H, W, C]`, float32 `[H, W, C]` in [−1, 1]."""
    return decode(images[jax.random.randint(key, (), 0, images.shape[0])])


def labelled_source(data: LabelledImages, *, note: str = "") -> Source:
    """Images of known classes, kept on the device."""
    return Source(
        shape=data.train_images.shape[1:],
        bounded=True,
        train=data.train_images,
        held_out=data.test_images,
        sample=sample,
        references={"labelled_images": data, "inception": None},
        num_eval=len(data.test_images),
        note=note,
    )


def image_source(train: Images, held_out: Images, resident_gib: float) -> Source:
    """Images without classes.

    Args:
        train: to train from.
        held_out: never trained on; of more than 10,000, that many evenly spaced ones are kept.
        resident_gib: `train` is kept on the device if it takes at most so many GiB as uint8, and streamed if more.
    """
    if resident_gib < 0:
        raise ValueError(f"resident_gib is {resident_gib}; it must be 0 (to stream all data) or more")
    resident = train.num * np.prod(train.shape) <= resident_gib * 2**30
    held_out = subset(held_out, np.linspace(0, held_out.num - 1, min(held_out.num, MOST_HELD_OUT)).astype(np.int64))

    def stream(step: int, batch_size: int) -> Iterator[np.ndarray]:
        from veegan_jax.data.stream import batches

        return batches(train, batch_size, step=step, shard=jax.process_index(), shards=jax.process_count())

    return Source(
        shape=train.shape,
        bounded=True,
        train=read_all(train) if resident else None,
        held_out=read_all(held_out),
        sample=sample,
        references={"manifold": None, "inception": None},
        num_eval=held_out.num,
        stream=None if resident else Stream(stream, decode),
    )
