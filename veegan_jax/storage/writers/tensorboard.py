"""The events of a run for TensorBoard: `tensorboard --logdir runs` shows them."""

import math
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from veegan_jax.storage.files import append, replacing, sync, write_atomically
from veegan_jax.storage.writers.base import Latents, Start, Writer, grouped

if TYPE_CHECKING:
    from tensorboardX.proto.summary_pb2 import Summary

FOLDER, REAL = "tensorboard", "real_data"
VERSION = "brain.Event:2"
# The side, in pixels, of the picture of an example beside its latent; examples that are larger are thinned out.
LARGEST_SPRITE = 64


class TensorBoard(Writer):
    """TensorBoard's events, as `tensorboard/events.out.tfevents.NUMBER`: one file for each start of the run.

    Readers take the files in the order of their names (numbers give that order, and clocks that jump would not), and
    drop from the earlier files whatever is later than the step at which a file begins. Nothing is written in the
    background, so that an error is raised where it happens.

    The scores of real data are a run of their own, `tensorboard/real_data`, since TensorBoard draws the lines of
    several runs over one another, and those of one run side by side.
    """

    def __init__(self, start: Start):
        """Begins a file after the step of the start."""
        self._folder, self._step, self._num_steps = start.workdir / FOLDER, start.step, start.num_steps
        numbers = [int(path.suffix[1:]) for path in self._folder.glob("events.*") if path.suffix[1:].isdecimal()]
        self.path = self._folder / f"events.out.tfevents.{max(numbers, default=-1) + 1:010d}"
        write_atomically(self.path, "")
        # tensorboardX imports PyTorch where that is installed, so commands that write no events do not import it.
        from tensorboardX.proto.event_pb2 import SessionLog

        self._put(file_version=VERSION)
        self._put(step=start.step + 1, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """Adds scalars, in groups."""
        self._put(step=step, summary=_scalars(grouped(row)))

    def real(self, scores: Mapping[str, float]) -> None:
        """Writes the scores of real data as lines from the first step to the last."""
        events = [_record(file_version=VERSION)]
        events += [_record(step=step, summary=_scalars(grouped(scores))) for step in (0, self._num_steps)]
        with replacing(self._folder / REAL / "events.out.tfevents.0000000000") as file:
            file.write(b"".join(events))

    def text(self, name: str, markdown: str) -> None:
        """Adds a text at the first step that this process trains, so that a process that resumes before drops it."""
        from tensorboardX import summary

        self._put(step=self._step + 1, summary=summary.text(name, markdown))

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Adds a picture."""
        from tensorboardX import summary

        self._put(step=step, summary=summary.image(name, pixels, dataformats="HWC"))

    def latents(self, draw: Callable[[], Latents]) -> None:
        """Writes the files of TensorBoard's projector: points, labels, pictures, and which of them belong together."""
        latents = draw()
        parts = {"tensor_name": latents.name, "tensor_path": "latents.tsv", "metadata_path": "latents_labels.tsv"}
        write_atomically(self._folder / parts["tensor_path"], _tsv(latents.points))
        # A single column has no heading: TensorBoard would take the heading for a label.
        heading = [list(latents.labels)] if len(latents.labels) > 1 else []
        body = zip(*latents.labels.values(), strict=True)
        write_atomically(self._folder / parts["metadata_path"], _tsv([*heading, *body]))
        text = "".join(f'  {name}: "{value}"\n' for name, value in parts.items())
        if latents.images is not None:
            side = self._write_sprites(latents.images)
            text += f'  sprite {{ image_path: "latents.png" single_image_dim: {side} single_image_dim: {side} }}\n'
        write_atomically(self._folder / "projector_config.pbtxt", f"embeddings {{\n{text}}}\n")

    def sync(self) -> None:
        """Returns when the events are on disk."""
        sync(self.path)

    def _write_sprites(self, images: np.ndarray) -> int:
        """Writes images `[N, H, W, C]` in [−1, 1] as one square sheet of squares, and returns the side of a square."""
        from PIL import Image

        thin = math.ceil(max(images.shape[1:3]) / LARGEST_SPRITE)
        small = np.clip((images[:, ::thin, ::thin] + 1) * 127.5, 0, 255).astype(np.uint8)
        small = small if small.shape[-1] == 3 else np.repeat(small[..., :1], 3, axis=-1)
        side, columns = max(small.shape[1:3]), math.ceil(len(small) ** 0.5)
        sheet = np.zeros((columns, side, columns, side, 3), np.uint8)
        for i, image in enumerate(small):
            sheet[i // columns, : image.shape[0], i % columns, : image.shape[1]] = image
        with replacing(self._folder / "latents.png") as file:
            Image.fromarray(sheet.reshape(columns * side, columns * side, 3)).save(file, "PNG")
        return side

    def _put(self, **fields: Any) -> None:
        append(self.path, _record(**fields))


def _scalars(row: Mapping[str, float]) -> "Summary":
    from tensorboardX import summary
    from tensorboardX.proto.summary_pb2 import Summary

    return Summary(value=[value for name, score in row.items() for value in summary.scalar(name, score).value])


def _record(**fields: Any) -> bytes:
    """Returns the record of an event: length, checksum of the length, data, checksum of the data."""
    from tensorboardX.proto.event_pb2 import Event

    data = Event(wall_time=time.time(), **fields).SerializeToString()
    length = struct.pack("<Q", len(data))
    return b"".join((length, _checksum(length), data, _checksum(data)))


def _checksum(data: bytes) -> bytes:
    from tensorboardX.record_writer import masked_crc32c

    return struct.pack("<I", masked_crc32c(data))


def _tsv(rows: Iterable[Iterable[object]]) -> str:
    """Returns rows as lines of cells with tabs between them; white space within a cell becomes a space."""
    return "".join("\t".join(" ".join(str(cell).split()) for cell in row) + "\n" for row in rows)
