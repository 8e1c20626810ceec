"""The three kinds of image sources: with classes, without classes, and stacks of digits.

All keep images as uint8, and map them to float32 in [−1, 1] on the device.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import Examples, Images, LabelledImages, Source, Stream, subset
from veegan_jax.data.contents import Contents, Part, digest_of, part_of
from veegan_jax.data.readers.pixels import DARK
from veegan_jax.data.stream import batches
from veegan_jax.ops import draws

# No more held-out images than this are kept: it is what the largest protocols score.
MOST_HELD_OUT = 10_000
# The number of images that one thread reads at once.
READ_AT_ONCE = 256
# The number of stacks that the published protocol scores (VEEGAN, section 4.2).
STACKS_SCORED = 26_000


class FixedStacks(NamedTuple):
    """A fixed set of stacks, to draw examples from.

    Attributes:
        images: uint8 `[N, H, W]`.
        stacks: int32 `[T, channels]`, the positions in `images` of the channels of each example.
    """

    images: Any
    stacks: Any


def labelled_source(data: LabelledImages, *, note: str = "") -> Source:
    """Returns the source of images `[N, H, W, C]` of known classes, kept on the device."""
    return Source(
        shape=data.train_images.shape[1:],
        bounded=True,
        train=data.train_images,
        held_out=data.test_images,
        sample=IMAGES.sample,
        examples=IMAGES,
        references={"labelled_images": data, "inception": None},
        num_eval=len(data.test_images),
        note=note,
        found=_about(data),
        contents=_labelled_contents(data),
    )


def unlabelled_source(train: Images, held_out: Images, resident_gib: float, *, divided_here: bool = False) -> Source:
    """Returns the source of images without classes, which are kept on the device or streamed to it.

    Args:
        train: The images to train from.
        held_out: Images that are never trained on. Of more than 10,000, that many evenly spaced ones are kept.
        resident_gib: The largest size in GiB, as uint8, at which `train` is kept on the device.
        divided_here: Whether this program chose which images are held out.

    Raises:
        ValueError: if `resident_gib` is negative, or an image that is read now is damaged.
    """
    if resident_gib < 0:
        raise ValueError(f"resident_gib is {resident_gib}; it must be 0 (to stream all data) or more")
    resident = train.num * np.prod(train.shape) <= resident_gib * 2**30
    contents = Contents(_part(train), _part(held_out), divided_here)
    found = f"{train.found}; {train.num:,} to train from, {held_out.num:,} held out"
    if held_out.num > MOST_HELD_OUT:
        found += f", {MOST_HELD_OUT:,} of which are used"
        held_out = subset(held_out, np.linspace(0, held_out.num - 1, MOST_HELD_OUT).astype(np.int64))
    train_pixels, held_out_pixels = read_all(train) if resident else None, read_all(held_out)
    if (brightest := held_out_pixels.max()) < DARK * 255:
        found += f"; they are nearly black: the brightest held-out pixel is {brightest} of 255"
    if train_pixels is not None:
        found += _shared(train_pixels, held_out_pixels)

    def batches_of_host(step: int, batch_size: int) -> Iterator[np.ndarray]:
        return batches(train, batch_size, step=step, shard=jax.process_index(), shards=jax.process_count())

    return Source(
        shape=train.shape,
        bounded=True,
        train=train_pixels,
        held_out=held_out_pixels,
        sample=IMAGES.sample,
        examples=IMAGES,
        references={"unlabelled_images": held_out_pixels, "inception": None},
        num_eval=held_out.num,
        found=found,
        contents=contents,
        held_out_names=held_out.names,
        stream=None if resident else Stream(train.num, batches_of_host, decode),
    )


def stacked_source(
    digits: LabelledImages,
    channels: int,
    *,
    references: Mapping[str, Any],
    white: int = 255,
    fixed: int = 0,
) -> Source:
    """Returns the source of stacks: random digits as the channels of one image, 10^channels equally likely modes.

    Args:
        digits: Images `[N, H, W]` of ten classes.
        channels: The number of digits in one stack.
        references: The metrics that apply and their references, as a `Source` has them.
        white: The brightest value of a pixel.
        fixed: The number of training stacks, which are drawn once and for all; 0 to draw new ones at every step. As
            many held-out stacks are drawn, or as many as are scored if that is more.
    """
    train, held_out = digits.train_images, digits.test_images
    examples = Examples(_num_stacks, partial(_fixed_stack, white=white)) if fixed else None
    return Source(
        shape=(*train.shape[1:], channels),
        bounded=True,
        train=draw_stacks(train, fixed, channels, seed=0) if fixed else train,
        held_out=draw_stacks(held_out, max(fixed, STACKS_SCORED), channels, seed=1) if fixed else held_out,
        sample=examples.sample if examples else partial(sample_stack, channels=channels, white=white),
        examples=examples,
        references=references,
        num_eval=STACKS_SCORED,
        note=f"stacks of {len(train):,} digits to train from, and of {len(held_out):,} held out",
        found=_about(digits),
        contents=_labelled_contents(digits),
    )


def _about(data: LabelledImages) -> str:
    train, classes = data.train_images, len(np.unique(data.train_labels))
    size = "×".join(map(str, train.shape[1:3]))
    counted = f"{len(train):,} images of {classes:,} classes and {size} pixels to train from"
    return "; ".join(filter(None, (f"{counted}, {len(data.test_images):,} held out", data.found)))


def _labelled_contents(data: LabelledImages) -> Contents:
    train, test = data.train_images, data.test_images
    return Contents(
        Part(len(train), digest_of(train, data.train_labels), {}),
        Part(len(test), digest_of(test, data.test_labels), {}),
    )


def _part(images: Images) -> Part:
    """Returns what a part of data holds; where digests would take too long, the set's name stands for them."""
    if images.digests is None:
        return Part(images.num, digest_of(f"{images.num} of {images.found}"), {})
    return part_of(images.digests(), images.names)


def _shared(train: np.ndarray, held_out: np.ndarray) -> str:
    """Returns the words about held-out images whose pixels are those of a training image."""
    known = {hash(image.tobytes()) for image in train}
    shared = sum(hash(image.tobytes()) in known for image in held_out)
    return f"; {shared:,} held-out images have the same pixels as training images" if shared else ""


def decode(images: jax.Array, white: int = 255) -> jax.Array:
    """Maps stored pixels, uint8 `[…]` from 0 to `white`, to float32 `[…]` in [−1, 1]."""
    return images.astype(jnp.float32) / (white / 2) - 1.0


def _image(images: jax.Array, position: jax.Array) -> jax.Array:
    return decode(images[position])


# The examples of arrays of images, uint8 `[N, H, W, C]`.
IMAGES = Examples(len, _image)


def sample_stack(digits: jax.Array, key: jax.Array, channels: int, white: int) -> jax.Array:
    """Returns independently drawn digits of uint8 `[N, H, W]`, as one float32 image `[H, W, channels]` in [−1, 1]."""
    return _stack(digits, draws.integers(key, channels, digits.shape[0]), white)


def _num_stacks(arrays: FixedStacks) -> int:
    return len(arrays.stacks)


def _fixed_stack(arrays: FixedStacks, position: jax.Array, white: int) -> jax.Array:
    return _stack(arrays.images, arrays.stacks[position], white)


def _stack(digits: jax.Array, positions: jax.Array, white: int) -> jax.Array:
    return decode(jnp.moveaxis(digits[positions], 0, -1), white)


def draw_stacks(digits: np.ndarray, count: int, channels: int, seed: int) -> FixedStacks:
    """Draws `count` stacks of images uint8 `[N, H, W]`; equal seeds give equal stacks."""
    stacks = np.random.default_rng(seed).integers(0, len(digits), (count, channels), dtype=np.int32)
    return FixedStacks(digits, stacks)


def read_all(images: Images) -> np.ndarray:
    """Reads all images into memory, uint8 `[N, H, W, C]`, with as many threads as there are cores."""
    out = np.empty((images.num, *images.shape), np.uint8)

    def fill(start: int) -> None:
        rows = np.arange(start, min(start + READ_AT_ONCE, images.num))
        out[rows] = images.read(rows)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(0, images.num, READ_AT_ONCE)))
    return out
