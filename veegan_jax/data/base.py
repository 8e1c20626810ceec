"""The contracts of data: a source, its examples, a stream, a set of images, and images with their classes."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from veegan_jax.data.contents import Contents
from veegan_jax.ops import draws

# The number of examples of a distribution, which can be drawn from without end.
ENDLESS = sys.maxsize


class Images(NamedTuple):
    """Images that are read by position, from memory, files or a database.

    Attributes:
        shape: The shape of one image, `(H, W, C)`.
        num: The number of images.
        read: `read(positions) -> images`, from integers `[B]` to uint8 `[B, H, W, C]`. Several threads call it at once.
        digests: Returns a digest of what each image holds, uint64 `[num]`, which depends on neither name nor position;
            None where that would take too long.
        names: The name of each image's file; empty where images have no names.
        found: What a person has to know about these images: sizes, what was converted, what was left out.
    """

    shape: tuple[int, ...]
    num: int
    read: Callable[[np.ndarray], np.ndarray]
    digests: Callable[[], np.ndarray] | None = None
    names: Sequence[str] = ()
    found: str = ""


def subset(images: Images, positions: np.ndarray) -> Images:
    """Returns the images at some positions, integers `[n]`, without reading them."""
    digests = images.digests
    return images._replace(
        num=len(positions),
        read=lambda chosen: images.read(positions[chosen]),
        digests=(lambda: digests()[positions]) if digests else None,
        names=[images.names[i] for i in positions] if images.names else (),
    )


class LabelledImages(NamedTuple):
    """Images and their classes; sources train from them, and metrics train and test classifiers on them.

    Attributes:
        train_images: uint8 `[N, H, W, C]`, or `[N, H, W]` where examples are stacks of images.
        train_labels: Integers `[N]`, classes from 0 on.
        test_images: uint8 `[M, H, W, C]` or `[M, H, W]`, never trained on.
        test_labels: Integers `[M]`.
        found: What a person has to know about these images: what was converted, what was left out.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    found: str = ""


class Examples(NamedTuple):
    """How the examples of a finite set are counted and read.

    Training draws them at random, with replacement. Scores, pictures and commands read each of them at most once: a
    set in which examples repeat looks as if it had fewer of them.

    Attributes:
        num: `num(arrays) -> n`, the number of examples in a source's `train` or `held_out`.
        read: `read(arrays, position) -> x`, the example at a position from 0 to n − 1, float32 of the source's shape.
    """

    num: Callable[[Any], int]
    read: Callable[[Any, jax.Array], jax.Array]

    def sample(self, arrays: Any, key: jax.Array) -> jax.Array:
        """Returns an example at random: the `sample` of a source whose examples these are."""
        return self.read(arrays, draws.integers(key, 1, self.num(arrays))[0])


class Stream(NamedTuple):
    """Training examples that the host reads while the device trains.

    Attributes:
        num: The number of examples.
        batches: `batches(step, batch_size)` returns an endless iterator of batches `[B, …]`, as they are stored, from
            that step on. A batch is a function of its step alone, so a resumed run reads what an uninterrupted one
            would have read.
        decode: Maps one stored example to what networks see, float32 of the source's shape.
    """

    num: int
    batches: Callable[[int, int], Iterator[Any]]
    decode: Callable[[jax.Array], jax.Array]


class DataSpec(NamedTuple):
    """What networks and tables have to know of data; a checkpoint stores it, so that a model can do without the data.

    Attributes:
        shape: The shape of one example.
        bounded: Whether all values lie in [−1, 1].
        metrics: The names of the metrics that apply.
        crop: The side in pixels of the central square that is kept of images that are larger; 0 for the largest square.
    """

    shape: tuple[int, ...]
    bounded: bool
    metrics: tuple[str, ...]
    crop: int = 0

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "DataSpec":
        """Returns the description whose fields, as `_asdict` gives them, went through JSON."""
        return cls(tuple(plain["shape"]), plain["bounded"], tuple(plain["metrics"]), plain.get("crop", 0))


class Source(NamedTuple):
    """Data that are kept on the device and drawn inside the compiled step, or streamed to it.

    Attributes:
        shape: The shape of one example.
        bounded: Whether all values lie in [−1, 1].
        train: The arrays that training draws from, as compact as they are stored: uint8 images, or means of modes.
        held_out: Arrays of the same structure, of data never trained on. A distribution that is known in closed form
            has `train` itself here.
        sample: `sample(arrays, key) -> x` draws one float32 example of `shape` from `train` or `held_out`; for a finite
            set, `examples.sample`.
        references: The metrics that apply, and what each compares samples with: `{metric name: reference}`.
        num_eval: The number of samples that the published protocol scores.
        stream: Training examples that do not fit in device memory; `train` is None then, and `sample` draws from
            `held_out` only. None where `train` is on the device.
        examples: How the examples of a finite set are counted and read. None for a distribution, of which there are
            always new examples.
        note: What a reader of any score on these data has to know, for example that they are a part of a set; or empty.
        found: What was found on disk, in one line with which a run begins; or empty.
        contents: What the data hold, so that a run can say whether they have changed; None for data without files.
        held_out_names: The name of the file of each held-out image; empty where images have no names.
        crop: The side in pixels of the central square that is kept of images that are larger; 0 for the largest square.
    """

    shape: tuple[int, ...]
    bounded: bool
    train: Any
    held_out: Any
    sample: Callable[[Any, jax.Array], jax.Array]
    references: Mapping[str, Any]
    num_eval: int
    stream: Stream | None = None
    examples: Examples | None = None
    note: str = ""
    found: str = ""
    contents: Contents | None = None
    held_out_names: Sequence[str] = ()
    crop: int = 0

    @property
    def spec(self) -> DataSpec:
        """What networks and tables have to know of these data."""
        return DataSpec(tuple(self.shape), self.bounded, tuple(self.references), self.crop)

    @property
    def num_train(self) -> int:
        """The number of training examples; `ENDLESS` for a distribution."""
        return self.stream.num if self.stream else self.num(self.train)

    @property
    def num_held_out(self) -> int:
        """The number of examples that are held out of training; `ENDLESS` for a distribution."""
        return self.num(self.held_out)

    def num(self, arrays: Any) -> int:
        """Returns the number of examples in arrays such as `train` and `held_out`; `ENDLESS` for a distribution."""
        return self.examples.num(arrays) if self.examples else ENDLESS
