"""Trains on Kubernetes: fills in a manifest of launch/kubernetes/ and applies it with kubectl.

    python -m launch.k8s tpu NAME CONFIG --image=IMAGE --claim=CLAIM --topology=4x8 --hosts=8 --chips=4
    python -m launch.k8s gpu NAME CONFIG --image=IMAGE --claim=CLAIM --hosts=2 --gpus=8
    python -m launch.k8s sweep NAME CONFIG --image=IMAGE --claim=CLAIM --cells=10 --gpus=1    # launch/sweep.py calls it

tpu and gpu need the JobSet controller in the cluster. The run is the folder NAME of the claim, and data are read from
the claim's folder data. launch/kubernetes/Dockerfile makes the image. All other arguments go to veegan_jax.main.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from typing import Any

MANIFESTS = Path(__file__).resolve().parent / "kubernetes"


def main(argv: Sequence[str]) -> int:
    """Does what the command line asks for, and returns the exit code."""
    options, arguments = _parser().parse_known_args(argv)
    manifest = render(options, arguments)
    if options.dry_run:
        print(manifest, end="")
        return 0
    return subprocess.run(["kubectl", "apply", "-f", "-"], input=manifest, text=True, check=False).returncode


def render(options: argparse.Namespace, arguments: Sequence[str]) -> str:
    """Returns the manifest for these options; its containers run the program with these arguments."""
    run = ["--config", options.config, "--workdir", f"/runs/{options.name}", *arguments]
    command = json.dumps(["python", "-m", *options.program, *run])  # YAML takes JSON, and its quotes
    text = (MANIFESTS / f"{options.kind}.yaml").read_text()
    return Template(text.partition("---\n")[2]).substitute(vars(options), command=command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m launch.k8s", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="tpu|gpu|sweep")
    tpu = _kind(kinds, "tpu", ["veegan_jax.main", "--distributed"])
    tpu.add_argument("--accelerator", type=_label, default="tpu-v5-lite-podslice", help="GKE's name of the TPU")
    tpu.add_argument("--topology", type=_topology, required=True, help="the slice's topology, as 4x8")
    tpu.add_argument("--hosts", type=_number, required=True, help="the slice's number of hosts, as 8")
    tpu.add_argument("--chips", type=_number, required=True, help="chips of each host, as 4")
    gpu = _kind(kinds, "gpu", ["veegan_jax.main"])
    gpu.add_argument("--hosts", type=_number, required=True, help="the number of hosts")
    gpu.add_argument("--gpus", type=_number, required=True, help="GPUs of each host; one process has all of them")
    sweep = _kind(kinds, "sweep", ["launch.sweep"])
    sweep.add_argument("--cells", type=_number, required=True, help="the number of the comparison's rows")
    sweep.add_argument("--parallel", type=_number, default=8, help="train this many rows at once (8)")
    sweep.add_argument("--gpus", type=_number, default=0, help="GPUs of each row (0)")
    return parser


def _kind(kinds: Any, kind: str, program: Sequence[str]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(kind, allow_abbrev=False)
    parser.set_defaults(program=program)
    parser.add_argument("name", type=_label, help="the name of the job and of the run's folder")
    parser.add_argument("config", help="a config in the image, as configs/stacked_mnist.py")
    parser.add_argument("--image", type=_image, required=True)
    parser.add_argument("--claim", type=_label, required=True, help="a PersistentVolumeClaim that all pods can mount")
    parser.add_argument("--dry-run", action="store_true", help="print the manifest instead")
    return parser


def _matching(pattern: str, what: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return text

    return check


# A pod's name has 23 characters more than the job's, and may have 63.
_label = _matching(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", "a name of at most 40 of a-z, 0-9 and -")
_image = _matching(r"[\w./:@-]+", "the name of an image")
_topology = _matching(r"\d+(x\d+){1,2}", "a topology, as 4x8")
_number = _matching(r"\d+", "a number")


def run() -> None:
    """Runs the program and exits."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
