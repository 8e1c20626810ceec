"""The data that calls of the step are given: arrays that stay on the devices, or the batches of a stream."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.data.base import Source
from veegan_jax.errors import UserError
from veegan_jax.parallel import processes
from veegan_jax.parallel.devices import replicate


class Batches:
    """The data of a source, a call's at a time.

    Args:
        source: the source of the data.
        batch_size: B, the global batch.
        devices: the devices of all processes.
        step: the number of steps taken already; a stream begins with the batch of the next one.
    """

    def __init__(self, source: Source, batch_size: int, devices: Sequence[jax.Device], step: int):
        self._step, self._stream = step, source.stream
        if source.stream is None:
            self._arrays = replicate(jax.tree.map(jnp.asarray, source.train), devices)
        else:
            self._batches = source.stream.batches(step, batch_size // jax.process_count())

    def take(self, num_steps: int) -> Any:
        """Returns the `arrays` of a call of the next steps, as `train.step`'s batch readers expect them.

        Raises:
            UserError: if the stream's data cannot be read.
        """
        if self._stream is None:
            return self._arrays
        first, self._step = self._step, self._step + num_steps
        try:
            return np.stack([self._next_batch() for _ in range(num_steps)]), np.int32(first)
        except ValueError as error:
            raise UserError(f"the data stopped at step {first}: {error}") from error

    def _next_batch(self) -> np.ndarray:
        # All other processes wait for this one, so a read that takes too long ends the process.
        with processes.reading() if jax.process_count() > 1 else nullcontext():
            batch: np.ndarray = next(self._batches)
            return batch
