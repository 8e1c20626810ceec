"""Tests on every Python that is supported, with the oldest packages that are allowed and the newest: `make matrix`."""

import nox

# uv finds the Pythons of this machine and downloads others. One that cannot be had is named as skipped.
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False
# The tests of what other packages do for this one: JAX, Flax, optax, Orbax and NumPy change under these.
FILES = [
    f"tests/test_{name}.py"
    for name in ("cli", "config", "export", "extras", "hub", "losses", "packaging", "standalone", "step")
]


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def newest(session: nox.Session) -> None:
    """Tests with the newest packages."""
    check(session, "highest")


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """Tests with the lower bound of each package in pyproject.toml."""
    check(session, "lowest-direct")


def check(session: nox.Session, resolution: str) -> None:
    """Installs the package as uv resolves its requirements, and runs the tests of this file or those that are given."""
    session.install("--resolution", resolution, "--editable", ".[dev]")
    session.run("uv", "pip", "freeze", external=True)
    session.run("pytest", "-m", "not slow", *(session.posargs or FILES))
