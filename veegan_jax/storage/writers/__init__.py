"""The places to which a run's scalars, texts and pictures are written, beside `metrics.jsonl`."""

from veegan_jax.config import plugins
from veegan_jax.errors import UserError, suggestion
from veegan_jax.storage.writers.base import Latents, Start, Writer, grouped
from veegan_jax.storage.writers.csv_file import Csv
from veegan_jax.storage.writers.tensorboard import TensorBoard
from veegan_jax.storage.writers.weights_and_biases import WeightsAndBiases

# The project's own writers; those of plug-ins are in `config.plugins`, which is in a lower room.
WRITERS: dict[str, type[Writer]] = {"tensorboard": TensorBoard, "csv": Csv, "wandb": WeightsAndBiases}


def chosen_writers(names: str) -> list[type[Writer]]:
    """Returns the writers of some names, each once, checked: none of them is opened yet.

    Args:
        names: as `config.writers` has them, joined by commas; empty for no writers.

    Raises:
        UserError: if there is no such writer, or it cannot be used here.
    """
    if taken := sorted(WRITERS.keys() & plugins.WRITERS.keys()):
        raise UserError(f"a plugin defines the writer {taken[0]!r}, which is there already; give it another name")
    known: dict[str, type[Writer]] = {**WRITERS, **plugins.WRITERS}
    chosen = []
    for name in dict.fromkeys(filter(None, (part.strip() for part in names.split(",")))):
        if name not in known:
            raise UserError(f"config.writers is {names!r}; {suggestion(name, known)}, joined by commas")
        known[name].check()
        chosen.append(known[name])
    return chosen


__all__ = ["WRITERS", "Latents", "Start", "Writer", "chosen_writers", "grouped"]
