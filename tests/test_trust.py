"""Nothing that is read from disk can run code, but what the user has named as a program: a config that is Python."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT

FILES = sorted(
    path for part in ("veegan_jax", "configs", "launch", "benchmarks") for path in (ROOT / part).rglob("*.py")
)
# Modules whose files are programs, or that run what a file names.
MODULES = {"cloudpickle", "code", "dill", "importlib.util", "joblib", "marshal", "pickle", "runpy", "shelve"}
CALLS = {"eval", "exec", "compile", "__import__"}
# What each reader has to be told, or else its files can be programs.
ARGUMENTS = {
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
}
# Readers that have no such argument.
READERS = {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.hub.load", "torch.jit.load", "pandas.read_pickle"}
# `find_spec` finds, and does not run; TorchScript is a program in a language of its own, and docs/data.md says so.
ALLOWED = {("prepare.py", "importlib.util"), ("inception.py", "torch.jit.load")}


def faults(source: str) -> Iterator[str]:
    """The names in a module by which files could run code."""
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
def test_what_could_is_found(source: str):
    assert list(faults(source))


def test_what_cannot_is_not():
    sound = ("np.load(f, allow_pickle=False)", "torch.load(f, weights_only=True)", "re.compile(x)", "yaml.safe_load(x)")
    assert list(faults("; ".join(sound))) == []
