"""What `--help` prints: the modes with an example each, the flags, and the configs that are found by name."""

import textwrap
from typing import Any, NamedTuple

from absl import flags

from veegan_jax.cli.config_file import known_configs

PROGRAM = "python -m veegan_jax.main"


class Mode(NamedTuple):
    """What a mode does, in a few words, and the arguments of an example."""

    summary: str
    example: str


MODES = {
    "train": Mode("train, or resume, and print the table", "--config ring"),
    "evaluate": Mode("measure a checkpoint and print the table", "--mode evaluate --workdir runs/ring --step best"),
    "sample": Mode("write samples, and draw them", "--mode sample --workdir runs/ring --num 1000 --sample_seed 3"),
    "reconstruct": Mode("write real x beside G(F(x))", "--mode reconstruct --workdir runs/ring"),
    "encode": Mode("write the latents F(x) of real x", "--mode encode --workdir runs/mnist --inputs FOLDER"),
    "interpolate": Mode("write samples on the way between latents", "--mode interpolate --workdir runs/ring"),
    "report": Mode("write a page to look at: report.html", "--mode report --workdir runs/ring"),
    "export": Mode("write the model for programs without this one", "--mode export --workdir runs/ring"),
    "missing": Mode("say which regions of the data G misses", "--mode missing --workdir runs/ring"),
    "score": Mode("score samples of any program", "--mode score --samples samples.npy --reference ring"),
    "reproduce": Mode("compute the cells of a table, each once", "--mode reproduce --table 1"),
    "fingerprint": Mode("print digests that identify the bits", "--mode fingerprint --workdir runs/ring"),
}

# The comparisons of each table of the paper.
TABLES = {
    1: ("table1:ring", "table1:grid", "table1:synthetic1200"),
    2: ("table2:stacked_mnist", "table2:cifar10"),
}

# The formats in which arrays are written.
FORMATS = ("npz", "npy", "png")
# The modes that use a trained model of one seed, those that take examples, and the modes that each flag is for where it
# is not for all.
_MODEL = ("sample", "reconstruct", "encode", "interpolate", "export", "missing")
_EXAMPLES = ("reconstruct", "encode", "interpolate", "missing")
FLAG_MODES = {
    **dict.fromkeys(("table", "budget", "cells", "together"), ("reproduce",)),
    **dict.fromkeys(("samples", "reference"), ("score",)),
    "rejection": ("sample", "evaluate", "export"),
    "replica": _MODEL,
    "outdir": ("evaluate", "report", *_MODEL),
    "beside": ("report",),
    "report": ("train",),
    "format": ("sample", "reconstruct", "encode", "interpolate"),
    "inputs": _EXAMPLES,
    "frames": ("interpolate",),
}

# The word that stands for the value of each flag. A flag that is not listed here is a switch.
VALUES = {
    "config": "CONFIG",
    "plugin": "MODULE",
    "workdir": "FOLDER",
    "mode": "MODE",
    "step": "STEP",
    "num": "N",
    "sample_seed": "SEED",
    "rejection": "K",
    "replica": "I",
    "inputs": "PATH",
    "frames": "N",
    "outdir": "FOLDER",
    "beside": "FOLDER",
    "format": "FORMATS",
    "samples": "FILE",
    "reference": "DATA",
    "row": "NAME",
    "table": "N",
    "budget": "FACTOR",
    "cells": "FOLDER",
    "coordinator": "HOST:PORT",
    "num_processes": "N",
    "process_id": "I",
    "heartbeat_seconds": "N",
    "help_config": "[FIELD]",
}


class OptionalTextFlag(flags.Flag[str]):
    """A flag that may have a text as its value, as `--name=TEXT`, or none, as `--name`: the value is then empty."""

    def __init__(self, name: str, help_: str):
        super().__init__(flags.ArgumentParser(), flags.ArgumentSerializer(), name, None, help_, boolean=True)

    def parse(self, argument: Any) -> None:
        """Parses the value; absl's word for one that is absent is 'true'."""
        super().parse("" if argument == "true" else argument)


def text(values: flags.FlagValues) -> str:
    """Returns the text of `--help` for these flags."""
    modes = [f"  {name:<13}{mode.summary:<44}{PROGRAM} {mode.example}" for name, mode in MODES.items()]
    paragraphs = [
        "VEEGAN, and the GANs it is compared with: trains, measures and samples.",
        f"usage: {PROGRAM} --config CONFIG [--config.FIELD=VALUE …] [--workdir FOLDER] [--mode MODE] [FLAGS]\n"
        "       (veegan-jax and python -m veegan_jax are the same program)",
        "\n".join(["modes:", *modes]),
        "\n".join(["flags:", "\n".join(_flag(values[name]) for name in _names(values))]),
        textwrap.fill(f"configs: {', '.join(known_configs())}", 116, subsequent_indent="  "),
    ]
    return "\n\n".join(paragraphs)


def _names(values: flags.FlagValues) -> list[str]:
    """Returns the names of the flags in the order in which they were defined."""
    return list(values.flag_values_dict())


def _flag(flag: flags.Flag[Any]) -> str:
    word = VALUES.get(flag.name, "")
    head = f"  --{flag.name} {word}".rstrip()
    default = f" (default: {flag.default})" if word and flag.default not in (None, "") else ""
    return textwrap.fill(f"{head:<26}{flag.help}{default}", 116, subsequent_indent=" " * 26)
