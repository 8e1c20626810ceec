"""The house: imports point one way, and effects stay at the edge."""

import ast

import pytest

from tests.helpers import ROOT

PACKAGE = ROOT / "veegan_jax"
# Each room, and what of the package it may import besides itself.
PURE = {
    "losses": {"losses"},
    "models": {"models"},
    "data": {"data"},
    "metrics": {"metrics"},
    "objectives": {"objectives", "losses", "models"},
    "errors": set(),
    "state": set(),
    "optim": set(),
    "step": {"objectives", "state"},
    "elastic": {"step"},
    "parallel": {"models", "step"},
    "config": {"data", "errors", "models", "objectives", "optim"},
    "hosts": {"errors"},
    "report": {"workdir"},
    "runtime": set(),
    "writers": {"workdir"},
}
EDGE_ONLY = {"absl": {"main"}, "ml_collections": {"main", "config", "build", "train", "commands", "compare"}}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).with_suffix("").parts[0], path


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = node.module or ""
            yield from ([f"{module}.{alias.name}" for alias in node.names] if module == "veegan_jax" else [module])


@pytest.mark.parametrize("room", sorted(PURE))
def test_imports_point_one_way(room):
    for name, path in modules():
        if name == room:
            used = {i.split(".")[1] for i in imports(path) if i.startswith("veegan_jax.")}
            assert used <= PURE[room] | {room}, f"{path} imports {used}"


def test_configs_and_flags_stay_at_the_edge():
    for name, path in modules():
        for package, allowed in EDGE_ONLY.items():
            if package in {i.split(".")[0] for i in imports(path)}:
                assert name in allowed, f"{path} imports {package}"


def test_flags_are_defined_in_main_only():
    for name, path in modules():
        assert name == "main" or "DEFINE_" not in path.read_text(), path


def test_pure_rooms_have_no_effects():
    for name, path in modules():
        if name in {"losses", "models", "objectives", "metrics", "step", "elastic", "parallel", "optim", "state"}:
            called = {
                n.func.id
                for n in ast.walk(ast.parse(path.read_text()))
                if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
            }
            assert not called & {"open", "print", "input"}, path


def test_functions_fit_a_screen():
    for _, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                code = node.body[1:] if ast.get_docstring(node) else node.body
                assert node.end_lineno - code[0].lineno < 50, f"{path}:{node.lineno} {node.name}"
