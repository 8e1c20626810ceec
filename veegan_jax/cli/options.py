"""What the command line says to the function of a mode."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ml_collections import ConfigDict


class Options(NamedTuple):
    """What the command line says to the function of a mode.

    Attributes:
        mode: the name of the mode.
        config: the experiment; None to take the config of the run in the workdir.
        workdir: the run's folder.
        step: the checkpoint to use: 'latest', 'best' or a number.
        num: the number of examples to sample, reconstruct or invert; None for the mode's own.
        seed: the seed of what is sampled or reconstructed.
        row: the only row of a comparison to train; empty for all rows.
        samples: the file or folder of samples to score; None in other modes.
        reference: the real data to score samples against; None to take those of the config.
        comparisons: the configs of the comparisons to reproduce by their names; none in other modes.
        table: the table of the paper to reproduce; None to reproduce one comparison.
        budget: the factor on the steps of what is reproduced.
        cells: the folder of cells; None for the usual one.
        together: whether all seeds of a row are trained at once.
        rejection: K, of how many samples one is kept on average; None to keep all.
        outdir: the folder of what is written; None for the workdir.
        formats: the formats of what is written, of `usage.FORMATS`.
        inputs: the file or folder of examples to use; None for held-out ones.
        replica: the number of the seed whose model is used.
        frames: the number of examples along each interpolation.
        beside: the folders of other runs that a report shows beside the run.
        report: whether a report is written when training is finished.
    """

    mode: str
    config: ConfigDict | None
    workdir: Path
    step: str
    num: int | None
    seed: int
    row: str = ""
    samples: str | None = None
    reference: str | None = None
    comparisons: Mapping[str, ConfigDict] = MappingProxyType({})
    table: int | None = None
    budget: float = 1.0
    cells: str | None = None
    together: bool = False
    rejection: float | None = None
    outdir: str | None = None
    formats: tuple[str, ...] = ("npz",)
    inputs: str | None = None
    replica: int = 0
    frames: int = 8
    beside: tuple[str, ...] = ()
    report: bool = True
