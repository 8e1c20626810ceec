"""The rules of the house: imports go down only, effects stay at the edge, functions fit a screen, prose is plain.

Every test reads the sources and imports none of them, so that a circular import cannot hide its own name.
"""

import ast
import graphlib
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "veegan_jax"
# The rooms of the package, from low to high. A module imports from its own room and from lower rooms only; an import
# inside a function counts like any other.
ROOMS = (
    "errors",
    "version",
    "paths",
    "ops",
    "losses",
    "models",
    "objectives",
    "metrics",
    "data",
    "config",
    "parallel",
    "train",
    "storage",
    "inference",
    "evaluation",
    "experiments",
    "cli",
    "main",
)
# Some lower rooms are forbidden too: data and metrics know neither each other nor the networks, and code that
# distributes a step over devices knows no step in particular.
APART = {
    "metrics": {"losses", "models", "objectives"},
    "data": {"losses", "models", "objectives", "metrics"},
    "parallel": {"losses", "models", "objectives", "metrics", "data", "config"},
}
ENTRY_POINTS = {"__init__.py", "__main__.py", "main.py", "errors.py", "version.py", "paths.py", "py.typed"}
# Only these rooms may import these packages: flags and configs are translated at the edge.
EDGE_ONLY = {"absl": {"main", "cli"}, "ml_collections": {"main", "cli", "config", "experiments"}}
# These packages are slow to import, so that only functions that need them import them.
HEAVY = {"PIL", "grain", "matplotlib", "scipy", "sklearn", "tensorboardX", "tensorflow", "tensorflow_datasets"} | {
    "torch",
    "wandb",
}

# Rooms and modules that compute and do nothing else.
PURE_ROOMS = {"ops", "losses", "models", "objectives", "metrics"}
PURE_MODULES = {
    "veegan_jax.train.step",
    "veegan_jax.train.state",
    "veegan_jax.parallel.logical_shards",
    "veegan_jax.parallel.devices",
}
EFFECT_PACKAGES = (
    {"glob", "io", "os", "pathlib", "pickle", "shutil", "sys", "tempfile"}
    | {"absl", "http", "logging", "socket", "tqdm", "urllib"}
    | {"importlib", "multiprocessing", "random", "signal", "subprocess", "threading", "time"}
)
EFFECT_FUNCTIONS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}
EFFECT_METHODS = {"exists", "is_dir", "is_file", "iterdir", "open", "read_bytes", "read_text", "rglob"} | {
    "chmod",
    "mkdir",
    "rename",
    "rmdir",
    "symlink_to",
    "tofile",
    "touch",
    "unlink",
    "write_bytes",
    "write_text",
}
EFFECTS_OF_NUMPY = {"fromfile", "genfromtxt", "load", "loadtxt", "memmap"} | {
    "random.seed",
    "save",
    "savetxt",
    "savez",
    "savez_compressed",
}
EFFECTS_OF_JAX = {"config.update", "debug.breakpoint", "debug.callback", "debug.print"}
# The platform that traces a function need not be the one that runs it, so that no computation may depend on it.
PLATFORM = {"jax.default_backend", "jax.devices", "jax.local_devices"} | {
    "jax.device_count",
    "jax.local_device_count",
    "jax.process_count",
    "jax.process_index",
}

# Beginnings of a sentence that has no subject, or whose subject is a pronoun for the name beneath it.
FRAGMENT = re.compile(r"(?:of|those|that|its|the same|whence)\b", re.IGNORECASE)
# Words that are hard to understand for a reader whose first language is not English, or that have a usual synonym.
UNUSUAL = re.compile(r"\b(?:whence|told|taught|so many|goes on|go(?:es|ing)? on with)\b", re.IGNORECASE)
ENTRY = re.compile(r"\s*\*{0,2}`?\w+`?(?: \([^)]*\))?: (?P<text>.*)")  # as in a docstring's Args or Attributes


def module_name(path: Path) -> str:
    """Returns the dotted name of a module of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
PYTHON_FILES = [
    path
    for folder in ("veegan_jax", "configs", "benchmarks", "launch", "docs", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def parse(path: Path) -> ast.Module:
    """Returns the syntax tree of a file."""
    return ast.parse(path.read_text(), path)


def imports(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Yields the dotted names of the modules that the nodes import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else str(node.module) for name in names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "import_module":
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def own_imports(module: str) -> set[str]:
    """Returns the modules of the package that a module imports, anywhere in it."""
    names = imports(ast.walk(parse(MODULES[module])))
    return {name for name in names if name.partition(".")[0] == "veegan_jax"}


def packages(nodes: Iterator[ast.AST]) -> set[str]:
    """Returns the names of the packages that the nodes import."""
    return {name.partition(".")[0] for name in imports(nodes)}


def run_at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Yields the nodes that run when a module is imported: functions and imports for type checkers are left out."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not typing_only and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            waiting.extend(ast.iter_child_nodes(node))


def room(module: str) -> str:
    """Returns the room of a module; the package's `__init__` and `__main__` are above all rooms, and have none."""
    name = module.partition(".")[2].partition(".")[0]
    return "" if name == "__main__" else name


def rank(module: str) -> int:
    """Returns how high a module's room is."""
    return ROOMS.index(room(module)) if room(module) else len(ROOMS)


def computes_only(module: str) -> bool:
    """Returns whether a module has to be pure."""
    return room(module) in PURE_ROOMS or module in PURE_MODULES


def effects(source: str) -> Iterator[str]:
    """Yields the names in a source by which it could have an effect, or depend on anything but its arguments."""
    tree = ast.parse(source)
    yield from sorted(packages(ast.walk(tree)) & EFFECT_PACKAGES)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in EFFECT_FUNCTIONS:
            yield node.id
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            library, _, function = name.partition(".")
            of_libraries = {"os": {function}, "np": EFFECTS_OF_NUMPY, "numpy": EFFECTS_OF_NUMPY, "jax": EFFECTS_OF_JAX}
            if node.attr in EFFECT_METHODS or function in of_libraries.get(library, ()):
                yield name
        elif isinstance(node, ast.Global):
            yield f"global {', '.join(node.names)}"


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yields the first line and the text of each comment; whole-line comments on successive lines are one comment."""
    first, text, place = 0, "", (0, 0)  # `place` is where the next line of this comment would begin
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            (line, column), words = token.start, token.string.lstrip("#!").strip()
            whole_line = not token.line[:column].strip()
            if text and not (whole_line and token.start == place):
                yield first, text
                text = ""
            first, text = (first, f"{text} {words}") if text else (line, words)
            place = (line + 1, column) if whole_line else (0, 0)
    if text:
        yield first, text


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yields the line of each module, class and function that has a docstring, and the docstring."""
    for node in ast.walk(ast.parse(source)):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text


def beginnings(docstring: str) -> Iterator[str]:
    """Yields the texts that begin in a docstring: paragraphs, and the entries of `Args:` and the like."""
    for paragraph in re.split(r"\n\s*\n", docstring):
        yield paragraph.strip()
        yield from (entry["text"] for line in paragraph.splitlines() if (entry := ENTRY.match(line)))


def unclear(source: str) -> list[str]:
    """Returns the places of a source whose prose breaks a rule."""
    notes, texts = list(comments(source)), list(docstrings(source))
    starts = notes + [(line, start) for line, text in texts for start in beginnings(text)]
    found = [(line, text) for line, text in starts if FRAGMENT.match(text)]
    found += [(line, words[0]) for line, text in notes + texts if (words := UNUSUAL.search(text))]
    return [f"line {line}: {text.splitlines()[0][:80]}" for line, text in sorted(set(found))]


def test_the_root_holds_entry_points_and_rooms_only():
    present = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    folders = {name for name in ROOMS if f"{name}.py" not in ENTRY_POINTS}
    assert present == ENTRY_POINTS | folders


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module):
    for used in sorted(own_imports(module)):
        assert used in MODULES, f"{module} imports {used}, which does not exist"
        assert rank(used) <= rank(module), f"{module} imports {used}, which is in a higher room"
        assert room(used) not in APART.get(room(module), ()), f"{module} imports {used}, which this room may not know"


def test_no_module_imports_itself_by_way_of_others():
    graph = {module: own_imports(module) for module in MODULES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("package", EDGE_ONLY)
def test_flags_and_configs_stay_at_the_edge(package):
    users = {module for module in MODULES if package in packages(ast.walk(parse(MODULES[module])))}
    assert {module for module in users if room(module) not in EDGE_ONLY[package]} == set()


def test_flags_are_defined_in_main_and_those_of_fields_where_the_config_is_read():
    for module, path in MODULES.items():
        names = {ast.unparse(node) for node in ast.walk(parse(path)) if isinstance(node, ast.Attribute | ast.Name)}
        defined = {name for name in names if name.rpartition(".")[2].startswith("DEFINE_")}
        assert not defined or module in ("veegan_jax.main", "veegan_jax.cli.config_file"), f"{module}: {defined}"


@pytest.mark.parametrize("module", MODULES)
def test_slow_packages_are_imported_when_they_are_needed(module):
    assert packages(run_at_import(parse(MODULES[module]))) & HEAVY == set()


def test_the_pure_modules_exist():
    assert set(MODULES) >= PURE_MODULES
    assert set(ROOMS) >= PURE_ROOMS


@pytest.mark.parametrize("module", [module for module in MODULES if computes_only(module)])
def test_pure_modules_have_no_effects(module):
    assert list(effects(MODULES[module].read_text())) == []


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in PURE_ROOMS or m == "veegan_jax.train.step"])
def test_no_computation_depends_on_the_platform_that_traces_it(module):
    names = {ast.unparse(node) for node in ast.walk(parse(MODULES[module])) if isinstance(node, ast.Attribute)}
    assert names & PLATFORM == set()


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "from os import environ",
        "import os.path as p",
        "def f():\n    import logging",
        "from pathlib import Path",
        "importlib.import_module('sys')",
        "open('a')",
        "write = print",
        "path.open()",
        "folder.joinpath('a').write_text('b')",
        "read = path.read_text",
        "file.parent.mkdir()",
        "os.replace(a, b)",
        "os.environ['A']",
        "np.load(file)",
        "np.savez_compressed(file, x=x)",
        "np.random.seed(0)",
        "jax.config.update('a', 1)",
        "jax.debug.print('a')",
        "def f():\n    global a\n    a = 1",
    ],
)
def test_an_effect_is_found(source):
    assert list(effects(source))


@pytest.mark.parametrize(
    "source",
    [
        "import jax.numpy as jnp",
        "x = text.replace('a', 'b')",
        "pair = pair._replace(x=1)",
        "state = dataclasses.replace(state, step=1)",
        "rng = np.random.default_rng(0)",
        "def f(open_set):\n    return open_set",
    ],
)
def test_a_pure_source_is_left_alone(source):
    assert list(effects(source)) == []


def test_functions_fit_a_screen():
    for path in MODULES.values():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                code = node.body[1:] if ast.get_docstring(node) else node.body
                length = (node.end_lineno or 0) - code[0].lineno + 1 if code else 0
                assert length <= 50, f"{path}:{node.lineno}: {node.name} has {length} lines"


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_comments_and_docstrings_are_plain_sentences(path):
    assert unclear(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("# Of those, the first.", 1),
        ("a = 1\nb = 2  # of the second", 2),
        ("# The first line is right,\n# of the second nothing is said.", None),
        ("a = 1  # The first.\n# That of the second.", 2),
        ("# The same command resumes it.", 1),
        ("x = '# Of a text, no rule says anything.'", None),
        ('"""Its first line."""', 1),
        ('def f():\n    """Returns a.\n\n    Those are numbers.\n    """', 1),
        ('def f(a):\n    """Returns a.\n\n    Args:\n        a: of the step.\n    """', 1),
        ('def f(a):\n    """Returns a.\n\n    Args:\n        a: The number of the step.\n    """', None),
        ("# A classifier is taught here.", 1),
        ('"""The run goes on."""', 1),
        ("# The offset is small.", None),
    ],
)
def test_an_unclear_sentence_is_found(source, line):
    found = [int(place.split(":")[0].removeprefix("line ")) for place in unclear(source)]
    assert found == ([] if line is None else [line])
