"""The contract of a writer: a place to which a run's scalars, texts and pictures go, beside `metrics.jsonl`."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from veegan_jax.metrics import COLUMNS

# The name under which the speed of a run is written.
SPEED = "steps_per_second"


class Start(NamedTuple):
    """What a writer knows when it is opened.

    Attributes:
        workdir: the folder of the run, locked by this process.
        step: the step at which this process begins. What is there of later steps is written again, with the same bits.
        num_steps: the last step of the run.
        config: the fields of the run, as `config.json` has them.
        rows: returns the rows written until now, those of `metrics.jsonl`; a score that is not finite is None there.
    """

    workdir: Path
    step: int
    num_steps: int
    config: Mapping[str, Any]
    rows: Callable[[], Sequence[Mapping[str, float | None]]]


class Latents(NamedTuple):
    """Latents and what is known of each.

    Attributes:
        name: what the latents are, such as "F(x)".
        points: the latents, float32 `[N, K]`.
        labels: what is known of each, as texts `[N]` by heading.
        images: the example of each, float32 `[N, H, W, C]` in [−1, 1]; None for data that are no images.
    """

    name: str
    points: np.ndarray
    labels: Mapping[str, Sequence[str]]
    images: np.ndarray | None


class Writer:
    """A writer that writes nothing. Others override the methods for what they can show.

    A writer is used by one thread at a time, and by the process that trains alone. The methods raise UserError, naming
    the file or the service, where something cannot be written.
    """

    @classmethod
    def check(cls) -> None:
        """Raises UserError if the writer cannot be used here, in one line; called before anything is compiled."""

    def __init__(self, start: Start):
        """Opens what the writer writes to."""

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """Writes the losses, the scores, if they are measured, and the speed of a step, which may be NaN.

        Steps rise, and each row is in `metrics.jsonl` by then. The row of `Start.step` comes again where a kill came
        between a checkpoint and its row.
        """

    def real(self, scores: Mapping[str, float]) -> None:
        """Writes the scores of real data, which no step changes."""

    def text(self, name: str, markdown: str) -> None:
        """Writes a text on the part of the run that this process begins."""

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Writes a picture of a step, uint8 `[H, W, 3]`, before the step's scalars."""

    def latents(self, draw: Callable[[], Latents]) -> None:
        """Writes the latents of the last step, which take time: only a writer that shows them should draw them."""

    def sync(self) -> None:
        """Returns when all that was written until now is on disk; called before a checkpoint is saved."""

    def close(self) -> None:
        """Ends what the writer has begun; called once."""


def grouped(row: Mapping[str, float]) -> dict[str, float]:
    """Returns a row under names whose first part is a group: scores/kl, standard_errors/kl, losses/gen, speed/….

    A speed that is not known yet is left out.
    """
    found = {}
    for name, value in row.items():
        plain, _, error = name.rpartition("/")
        if name == SPEED:
            if math.isfinite(value):
                found[f"speed/{name}"] = value
        elif error == "se" and plain in COLUMNS:
            found[f"standard_errors/{plain}"] = value
        else:
            found[f"scores/{name}" if name in COLUMNS else f"losses/{name.removeprefix('loss/')}"] = value
    return found
