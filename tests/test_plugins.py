"""Plug-ins: a module of somebody else adds entries, and a run knows it by name."""

import subprocess
import sys

import pytest

import veegan_jax
from tests.helpers import ROOT, tiny
from tests.test_main import environment
from veegan_jax.config import plugins
from veegan_jax.config.convert import effective, from_effective
from veegan_jax.config.fields import base_config
from veegan_jax.errors import UserError
from veegan_jax.experiments.run import train
from veegan_jax.metrics import COLUMNS

EXAMPLES = ("lsgan", "circles", "fourier", "energy")
# A plug-in that offers what the examples of docs/extending.md define.
PLUGIN = f"""
import sys
sys.path.append({str(ROOT / "docs" / "examples")!r})
from circles import circles
from energy import energy
from fourier import fourier
from lsgan import lsgan
OBJECTIVES, SOURCES, MODELS, METRICS = {{"lsgan": lsgan}}, {{"circles": circles}}, {{}}, {{"energy": energy}}
MODELS["fourier"] = fourier
"""
SMALL = ["--config.num_steps=4", "--config.eval_samples=50", "--config.batch_size=16", "--config.fourier.width=8"]


@pytest.fixture
def registries(monkeypatch, tmp_path):
    """Gives the registries back as they were, and lets modules of the folder be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    before = {name: dict(registry) for name, registry in plugins.REGISTRIES.items()}
    columns, path = dict(COLUMNS), list(sys.path)
    yield tmp_path
    for name, registry in plugins.REGISTRIES.items():
        registry.clear()
        registry.update(before[name])
    COLUMNS.clear()
    COLUMNS.update(columns)
    for module in ("somebodys", "wrong", *EXAMPLES):
        sys.modules.pop(module, None)
    sys.path[:] = path


def test_a_run_finds_its_plugin_by_name(registries):
    (registries / "somebodys.py").write_text(PLUGIN)
    plugins.load_plugins("somebodys")
    plugins.load_plugins("somebodys")  # once is enough
    assert base_config().lsgan.margin == 1.0
    assert "energy" in COLUMNS
    config = tiny("lsgan", "fourier", "circles", plugins="somebodys")
    config.fourier.width = 8
    assert "energy distance" in train(config, registries / "run").table
    for name in EXAMPLES:  # as in a new process
        for registry in plugins.REGISTRIES.values():
            registry.pop(name, None)
    run = veegan_jax.load(registries / "run")
    assert run.sample(3).shape == (3, 2)
    assert effective(run.config)["plugins"] == "somebodys"


def test_the_command_line_takes_a_plugin_and_a_run_knows_it(tmp_path):
    (tmp_path / "somebodys.py").write_text(PLUGIN)

    def call(*arguments):
        # Python looks for a module where a process began to look, so that only processes of their own, which take
        # most of the time of this test, find a plug-in as a user's command does.
        there = environment() | {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
        command = [sys.executable, "-m", "veegan_jax.main", "--workdir=run", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=there, capture_output=True, text=True)

    named = ["--config.objective=lsgan", "--config.data=circles", "--config.model=fourier"]
    arguments = ["--plugin=somebodys", f"--config={ROOT / 'configs' / 'ring.py'}", *named, *SMALL, "--report=false"]
    done = call(*arguments)
    assert done.returncode == 0, done.stderr
    assert "\nlsgan, step 4 " in done.stdout
    (tmp_path / "somebodys.py").unlink()
    lost = call("--mode=sample")
    assert "config.json: plugin 'somebodys' cannot be imported: No module named 'somebodys'; install it" in lost.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "plugin 'wrong' cannot be imported: No module named 'wrong'; install it"),
        ("1 / 0", "plugin 'wrong' cannot be imported: ZeroDivisionError: division by zero"),
        ("", "plugin 'wrong' defines none of OBJECTIVES, SOURCES, MODELS, METRICS"),
        ("OBJECTIVES = {'veegan': print}", "plugin 'wrong' defines 'veegan', which is there already"),
    ],
)
def test_a_wrong_plugin_is_one_line(registries, content, says):
    if content is not None:
        (registries / "wrong.py").write_text(content)
    with pytest.raises(UserError, match=says):
        from_effective({"plugins": "wrong"})


def test_a_plugin_is_a_name_and_no_program(registries):
    with pytest.raises(UserError, match="plugin is '../evil'; it must be the name of a module"):
        plugins.load_plugins("../evil")
    assert plugins.joined(["a", "b,a", ""]) == "a,b"
