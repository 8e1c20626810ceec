"""What is installed: packages, configs, types and the command. `.ci/check-wheel` builds the wheel and tries it."""

import tomllib
from pathlib import Path

from tests.helpers import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_folder_of_the_package_is_installed_and_the_configs_within_it():
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / "veegan_jax").rglob("*.py")}
    folders |= {Path("veegan_jax") / file.parent.relative_to(ROOT) for file in (ROOT / "configs").rglob("*.py")}
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(".".join(folder.parts) for folder in folders)
    assert PROJECT["tool"]["setuptools"]["package-dir"] == {"veegan_jax.configs": "configs"}


def test_types_and_the_command_are_declared():
    assert PROJECT["tool"]["setuptools"]["package-data"] == {"veegan_jax": ["py.typed", "evaluation/templates/*.html"]}
    assert (ROOT / "veegan_jax" / "py.typed").exists()
    assert PROJECT["project"]["scripts"] == {"veegan-jax": "veegan_jax.main:run"}


def test_chex_is_a_dependency_of_the_tests_alone():
    used = [path for path in (ROOT / "veegan_jax").rglob("*.py") if "chex" in path.read_text()]
    required = [line for line in PROJECT["project"]["dependencies"] if line.startswith("chex")]
    assert not used
    assert not required
