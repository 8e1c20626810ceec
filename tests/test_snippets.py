"""The code of the documentation runs: Python blocks from the top of a page to its end, and commands on trained runs.

A line `<!-- not run: REASON -->` above a block, in the page's source, names a block that is not run.
"""

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from PIL import Image

from tests.fork_server import ForkServer
from tests.helpers import ROOT, slow
from tests.test_docs import DOCS, EACH_DOC, commands, text
from tests.test_main import environment
from tests.test_rejection import QUICK
from veegan_jax.config import plugins
from veegan_jax.inference import rejection

BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```python\n(?P<source>.*?)^```", flags=re.DOTALL | re.MULTILINE
)
MARKER = re.compile(r"^<!-- not run", flags=re.MULTILINE)
# The runs that pages name: a few steps of these configs stand for them.
RUNS = {"runs/ring": "ring", "runs/stacked_digits": "stacked_digits"}
STANDS_FOR = {"runs/grid_best": "runs/ring", "runs/ring_1": "runs/ring", "runs/ring_2": "runs/ring"} | {
    "runs/mnist": "runs/stacked_digits"
}
WITH_PYTHON = [doc for doc in DOCS if "```python" in text(doc)]
# Modes that read what is there, and need no hours.
READING = {"sample", "evaluate", "reconstruct", "encode", "interpolate", "missing", "fingerprint", "report", "export"}
FEW = [f"--config.{field}=4" for field in ("num_steps", "eval_every", "save_every", "steps_per_call")]


class Block(NamedTuple):
    """A block of Python of a page; its source has as many lines above it as in the page, for the sake of tracebacks."""

    reason: str | None
    source: str


def blocks(markdown: str) -> list[Block]:
    """Returns the blocks of Python of a page, in their order."""
    return [
        Block(match["reason"], "\n" * markdown[: match.start("source")].count("\n") + match["source"])
        for match in BLOCK.finditer(markdown)
    ]


def run_blocks(markdown: str, name: str) -> None:
    """Runs the blocks of a page, which share their names; a block whose first line is `# FILE.py` is also that file."""
    names: dict[str, Any] = {}
    for reason, source in blocks(markdown):
        if reason:
            continue
        if file := re.match(r"# (\w+\.py)\n", source.lstrip()):
            Path(file[1]).write_text(source)
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # A user's JAX is as usual.
            exec(compile(source, name, "exec"), names)


def run_command(fork_server: ForkServer, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs the program in a folder, as its user does."""
    return fork_server("veegan_jax.main", words, cwd=folder, env=environment())


@pytest.fixture(scope="module")
def trained(tmp_path_factory, fork_server) -> Path:
    """A folder that has what pages name: runs, samples, pictures, and the examples of docs/extending.md."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        for workdir, name in RUNS.items():
            done = run_command(fork_server, folder, "--config", name, *FEW, "--config.eval_samples=1000", "--noreport")
            assert done.returncode == 0, done.stderr
            assert Path(workdir, "checkpoints").exists()
        for workdir, other in STANDS_FOR.items():
            shutil.copytree(other, workdir)
        pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
        Path("pictures").mkdir()
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(f"pictures/{i}.png")
        np.save("samples.npy", np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32))
        points = np.random.default_rng(1).normal(size=(400, 3))
        np.savetxt("table.csv", points, delimiter=",", header="a,b,c", comments="")
        for example in (ROOT / "docs" / "examples").glob("*.py"):
            shutil.copy(example, ".")
    return folder


@pytest.fixture
def folder(trained, monkeypatch) -> Iterator[Path]:
    """The current folder, where modules are imported from; registries are given back as they were."""
    monkeypatch.chdir(trained)
    monkeypatch.syspath_prepend(trained)
    monkeypatch.setattr(rejection, "recipe", lambda spec: QUICK)
    before = {name: dict(registry) for name, registry in plugins.REGISTRIES.items()}
    yield trained
    for name, registry in plugins.REGISTRIES.items():
        registry.clear()
        registry.update(before[name])


@pytest.mark.parametrize("doc", WITH_PYTHON, ids=lambda doc: str(doc.relative_to(ROOT)))
def test_python_of_pages_runs(doc, folder):
    run_blocks(text(doc), str(doc))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import veegan_jax\nrun = veegan_jax.lod('runs/ring')", "lod"),
        ("import veegan_jax\nveegan_jax.load('runs/ring').smaple(3)", "smaple"),
        ("from veegan_jax.experiments.run import trian", "trian"),
    ],
)
def test_a_name_that_does_not_exist_is_found(code, error, folder):
    with pytest.raises((AttributeError, ImportError), match=error):
        run_blocks(f"Some page.\n\n```python\n{code}\n```\n", "page")


def test_a_block_that_cannot_run_is_left_out_and_has_a_reason():
    page = "<!-- not run: it needs the Internet -->\n```python\nraise OSError\n```\n"
    run_blocks(page, "page")
    assert blocks(page)[0].reason == "it needs the Internet"


@EACH_DOC
def test_each_marker_stands_above_a_block(doc):
    found = blocks(text(doc))
    assert len(MARKER.findall(text(doc))) == sum(block.reason is not None for block in found)
    assert text(doc).count("```python") == len(found)


def reading_commands() -> list[list[str]]:
    """Returns the documented commands that read a run, each once, with the run that stands for theirs."""
    found = {tuple(words) for doc in DOCS for words in commands(doc) if set(words) & READING and "--workdir" in words}
    known = {**dict(zip(RUNS, RUNS, strict=True)), **STANDS_FOR}
    workdirs = {words: words[words.index("--workdir") + 1] for words in found}
    stand_ins = {
        tuple(known[word] if word == workdir else word for word in words)
        for words, workdir in workdirs.items()
        if workdir in known
    }
    return [list(words) for words in sorted(stand_ins)]


@pytest.mark.parametrize("words", [slow(words) for words in reading_commands()], ids=" ".join)
def test_commands_of_pages_work(words, trained, fork_server):
    places = {"FOLDER": "pictures"}
    done = run_command(fork_server, trained, *(places.get(word, word) for word in words))
    assert done.returncode == 0, done.stderr


PLUGIN_COMMAND = re.compile(r"^PYTHONPATH=\. veegan-jax (?P<words>--plugin .*)$", flags=re.MULTILINE)


@pytest.mark.parametrize("doc", [slow(doc) for doc in DOCS if PLUGIN_COMMAND.search(text(doc))], ids=str)
def test_plugins_of_pages_train(doc, folder):
    run_blocks(text(doc), str(doc))
    for match in PLUGIN_COMMAND.finditer(text(doc)):
        words = [*shlex.split(match["words"]), *FEW, "--config.eval_samples=0", "--noreport"]
        given = environment()
        done = subprocess.run(
            [sys.executable, "-m", "veegan_jax.main", *words, f"--workdir={folder}/{doc.stem}"],
            env={**given, "PYTHONPATH": f".:{given['PYTHONPATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "real data" in done.stdout
