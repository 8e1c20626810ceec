"""Prepares an official set of TensorFlow Datasets, once: `python -m veegan_jax.cli.prepare mnist`.

Preparing needs TensorFlow (`pip install 'veegan-jax[prepare]'`), and the Internet or the original archives; training
then reads the set without them. The program exits with 2 and one line if something is wrong.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from veegan_jax.cli.exit_codes import EXIT_ERROR
from veegan_jax.cli.streams import open_streams
from veegan_jax.errors import UserError, check_installed, one_line
from veegan_jax.paths import local_path, path_of_variable

DESCRIPTION = "Downloads an official set of TensorFlow Datasets, checks it, and writes it so that training can read it."


def prepare(name: str, data_dir: str = "", manual_dir: str = "") -> Path:
    """Downloads a set, unless its archives are at hand, checks their checksums, and writes it as array_record.

    Args:
        name: the set's name, as 'mnist', 'cifar10', 'celeb_a'.
        data_dir: the folder to write to; empty for TFDS_DATA_DIR, or `~/tensorflow_datasets`.
        manual_dir: a folder with the original archives, under their original names; empty to download them.

    Returns:
        The folder of the prepared set.

    Raises:
        UserError: if TensorFlow is not installed, there is no such set, or an archive is missing or wrong.
    """
    for package in ("tensorflow", "tensorflow_datasets"):
        check_installed(package, "prepare", "preparing a set")
    archives_in = local_path(manual_dir, "--manual_dir") if manual_dir else None
    if archives_in and not archives_in.is_dir():
        raise UserError(f"--manual_dir is {manual_dir}; it must be a folder with the set's original archives")
    folder = local_path(data_dir, "--data_dir") if data_dir else path_of_variable("TFDS_DATA_DIR")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow_datasets as tfds

    try:
        builder: Any = tfds.builder(name, data_dir=folder, file_format="array_record", try_gcs=False)
    except (ValueError, AssertionError) as error:
        raise UserError(f"the set is {name!r}; TensorFlow Datasets cannot open it: {one_line(error)}") from error
    config = tfds.download.DownloadConfig(manual_dir=archives_in, try_download_gcs=False)
    try:
        builder.download_and_prepare(download_config=config)
    except Exception as error:  # the network, checksums and a full disk raise errors of many kinds
        archives = ", ".join(sorted({info.filename for info in (builder.url_infos or {}).values()}))
        raise UserError(
            f"{name} cannot be prepared: {type(error).__name__}: {one_line(error)} (to prepare it without the "
            f"Internet, put its original archives into a folder and give that as --manual_dir; they are {archives})"
        ) from error
    return Path(builder.data_dir)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help shows what is possible")


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line asks for, and returns the exit code."""
    parser = _Parser(prog="python -m veegan_jax.cli.prepare", description=DESCRIPTION)
    parser.add_argument("name", help="the set's name in TensorFlow Datasets: mnist, cifar10, celeb_a, …")
    parser.add_argument("--data_dir", default="", help="write here (TFDS_DATA_DIR, or ~/tensorflow_datasets)")
    parser.add_argument("--manual_dir", default="", help="a folder with the original archives, instead of the Internet")
    try:
        given = parser.parse_args(arguments)
        folder = prepare(given.name, given.data_dir, given.manual_dir)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    print(f"prepared in {folder}" + (f"; set TFDS_DATA_DIR={given.data_dir} to read it" if given.data_dir else ""))
    return 0


def run() -> None:
    """Runs the program and exits."""
    open_streams()
    sys.exit(main())


if __name__ == "__main__":
    run()
