"""Tests that no file that is read can run code, except a file that the user names as a program: a Python config."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT

FILES = sorted(
    path for part in ("veegan_jax", "configs", "launch", "benchmarks") for path in (ROOT / part).rglob("*.py")
)
# These modules read files that are programs, or run what a file names.
MODULES = {"cloudpickle", "code", "dill", "importlib.util", "joblib", "marshal", "pickle", "runpy", "shelve"}
CALLS = {"eval", "exec", "compile", "__import__"}
# Without this argument, the files of these readers can be programs.
ARGUMENTS = {
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
}
# These readers run programs whatever their arguments are.
READERS = {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.hub.load", "torch.jit.load", "pandas.read_pickle"}
# `find_spec` finds a module and does not run it. TorchScript is a program, and docs/data.md says so. A Python config is
# a program that the user names.
ALLOWED = {
    ("errors.py", "importlib.util"),
    ("tfds.py", "importlib.util"),
    ("config_file.py", "importlib.util"),
    ("inception.py", "torch.jit.load"),
}


def faults(source: str) -> Iterator[str]:
    """Yields the names in a module by which files could run code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", None)
            found = {*names} if isinstance(node, ast.Import) else {module, *(f"{module}.{name}" for name in names)}
            yield from found & (MODULES | READERS | {*ARGUMENTS})
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name in CALLS | READERS or name == "Image.open" and "formats" not in given:
                yield name
            elif name in ARGUMENTS:
                argument, value = ARGUMENTS[name]
                if given.get(argument) != str(value):
                    yield name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_reader_runs_what_it_reads(path: Path):
    assert [name for name in faults(path.read_text()) if (path.name, name) not in ALLOWED] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "from joblib import load as read",
        "import importlib.util",
        "np.load(file)",
        "np.load(file, allow_pickle=True)",
        "from numpy import load",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "torch.jit.load(file)",
        "yaml.load(text, Loader)",
        "def f():\n    return eval(text)",
        "Image.open(file)",
    ],
)
def test_readers_that_could_run_code_are_found(source: str):
    assert list(faults(source))


def test_readers_that_cannot_run_code_are_let_pass():
    sound = ("np.load(f, allow_pickle=False)", "torch.load(f, weights_only=True)", "re.compile(x)", "yaml.safe_load(x)")
    assert list(faults("; ".join(sound))) == []
