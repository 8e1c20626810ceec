"""A run at Weights & Biases. The package `wandb` is imported when the config asks for it, and need not be installed."""

import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from veegan_jax.config.convert import read_json
from veegan_jax.errors import UserError, one_line
from veegan_jax.storage.files import write_atomically
from veegan_jax.storage.writers.base import Start, Writer, grouped

# The file that says which run of Weights & Biases this one is, and which step surely is there.
WANDB = "wandb.json"


class WeightsAndBiases(Writer):
    """One run of Weights & Biases, which a resumed run continues under the same id.

    `WANDB_MODE`, `WANDB_PROJECT` and the other variables of `wandb` hold. A step is sent once. After a kill, which may
    take away what `wandb` had not sent or written by then, the rows since the last orderly end are sent again; the
    service drops those that it has.
    """

    @classmethod
    def check(cls) -> None:
        """Raises UserError if the package `wandb` is not installed."""
        _wandb()

    def __init__(self, start: Start):
        """Begins the run, or continues it.

        Raises:
            UserError: if the file with the id is damaged or cannot be written, or the service does not take the run.
        """
        wandb = _wandb()
        self._path = start.workdir / WANDB
        try:
            fresh: dict[str, Any] = {"id": secrets.token_hex(4), "step": 0}
            kept = read_json(self._path) if self._path.exists() else fresh
            self._id, self._sent = str(kept["id"]), int(kept["step"])
        except (UserError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{self._path} is damaged: {one_line(error)}; delete it to begin another run of Weights & Biases"
            ) from error
        self._keep()
        named = {"project": os.environ.get("WANDB_PROJECT", "veegan_jax"), "name": start.workdir.resolve().name}
        with _taking("the run"):
            self._run = wandb.init(
                id=self._id,
                resume="allow",
                dir=str(start.workdir),
                config=dict(start.config),
                allow_val_change=True,
                settings=wandb.Settings(console="off", quiet=True),
                **named,
            )
        self._sent = max(self._sent, self._run.step - 1)  # what the service has, where there is one
        for row in start.rows():
            known = {name: value for name, value in row.items() if value is not None}
            self.scalars(int(known.pop("step")), known)

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """Sends scalars, in groups, and with them the pictures of the step."""
        if step > self._sent:
            with _taking(f"step {step}"):
                self._run.log(grouped(row), step=step, commit=True)
            self._sent = step

    def real(self, scores: Mapping[str, float]) -> None:
        """Adds the scores of real data to the run's summary."""
        with _taking("the scores of real data"):
            self._run.summary.update({f"real_data/{name}": value for name, value in scores.items()})

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Adds a picture to what the step's scalars send."""
        if step > self._sent:
            with _taking(f"the picture {name} of step {step}"):
                self._run.log({name: _wandb().Image(pixels)}, step=step, commit=False)

    def close(self) -> None:
        """Ends this part of the run, and waits until all is sent, or written if `wandb` is offline."""
        failed = sys.exc_info()[0] is not None
        try:
            with _taking("the end of the run"):
                self._run.finish(exit_code=int(failed))
        finally:
            self._keep()

    def _keep(self) -> None:
        write_atomically(self._path, json.dumps({"id": self._id, "step": self._sent}) + "\n")


@contextmanager
def _taking(what: str) -> Iterator[None]:
    """Raises UserError, which says what is not taken, in place of an error of `wandb` or of the network."""
    try:
        yield
    except (_wandb().errors.Error, OSError) as error:
        raise UserError(
            f"config.writers has 'wandb', which does not take {what}: {one_line(error).rstrip('.')}; "
            "WANDB_MODE=offline keeps it in the run's folder"
        ) from error


def _wandb() -> Any:
    """Returns the package `wandb`; a folder of that name, as `wandb` leaves where it is used, is none."""
    try:
        import wandb

        if hasattr(wandb, "init"):
            return wandb
    except ImportError:
        pass
    raise UserError(
        "config.writers has 'wandb', which is not installed: pip install wandb, or leave it out of config.writers"
    )
