"""The command line before it trains: its help, how soon it names a wrong flag, and how it finds a config."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.test_main import environment
from veegan_jax.cli import commands, config_file, usage
from veegan_jax.errors import UserError
from veegan_jax.main import FLAGS
from veegan_jax.version import __version__

# Packages that take long to import, and that no answer of these needs.
SLOW = {"jax", "numpy", "flax", "optax", "orbax", "matplotlib", "tensorboardX", "sklearn", "scipy", "grain", "PIL"}
WATCHED = f"""
import sys
from veegan_jax import main
try:
    main.run()
finally:
    print("slow:", sorted({SLOW!r} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--help"], 0, "--mode missing --workdir"),
        (["--version"], 0, f"veegan-jax {__version__}"),
        (["--config=configs/compare.py", "--wrkdir=x"], 2, "error: --wrkdir is no flag; did you mean 'workdir'?"),
        (["--config=configs/compare.py", "--mode=fly"], 2, "error: --mode is 'fly'; valid: "),
        (["--config=rung"], 2, "error: --config rung: it is neither a file nor the name of a config; did you mean"),
        (["--config=nowhere.py"], 2, "error: --config nowhere.py: there is no such file"),
    ],
)
def test_answers_that_need_no_jax_come_within_a_second(arguments, code, says):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=ROOT,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == code
    assert says in done.stdout + done.stderr
    assert done.stdout.endswith("slow: []\n")
    # The time of the processor, because other processes may have the machine as well.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_the_module_and_the_package_are_the_same_program():
    printed = {
        subprocess.run([sys.executable, "-m", name, "--version"], capture_output=True, text=True, cwd=ROOT, check=True)
        .stdout
        for name in ("veegan_jax", "veegan_jax.main")
    }  # fmt: skip
    assert printed == {f"veegan-jax {__version__}\n"}


def test_help_has_a_line_with_an_example_for_each_mode_and_explains_each_flag():
    lines = usage.text(FLAGS).splitlines()
    assert set(usage.MODES) == set(commands.COMMANDS)
    for mode in usage.MODES:
        (line,) = (line for line in lines if line.startswith(f"  {mode} "))
        assert "python -m veegan_jax.main --" in line
    for name in FLAGS:
        (line,) = (line for line in lines if line.startswith(f"  --{name}") and line.split()[0] == f"--{name}")
        assert (name in usage.VALUES) == (FLAGS[name].flag_type() != "bool"), name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--help_config"], "batch_size"),
        (["--help_config=batch_size"], "batch_size"),
        (["--help_config", "optim.gen.b1"], "b1"),
        (["--help_config", "veegan"], "reconstructor_std"),
    ],
)
def test_fields_of_the_config_are_explained(fork_server, tmp_path, arguments, says):
    done = fork_server("veegan_jax.main", arguments, cwd=tmp_path, env=environment())
    assert (done.returncode, done.stderr) == (0, "")
    assert says in done.stdout


@pytest.mark.parametrize(
    ("given", "file", "workdir"),
    [
        ("ring", "configs/ring.py", "runs/ring"),
        ("compare:grid", "configs/compare.py:grid", "runs/compare-grid"),
        ("configs/ring.py", "configs/ring.py", "runs/ring"),
        ("configs/compare.py:grid", "configs/compare.py:grid", "runs/compare-grid"),
    ],
)
def test_a_config_is_found_by_name_or_path(given, file, workdir, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = config_file.find(given)
    assert Path(found) in (Path(file), ROOT / file)
    assert config_file.usual_workdir(found) == Path(workdir)


def test_a_file_that_is_no_config_is_refused_as_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("mine").touch()
    with pytest.raises(UserError, match="--config mine: it must be a file .py, as configs/ring.py, or .json"):
        config_file.find("mine")


@pytest.mark.parametrize("installed", [False, True])
def test_configs_import_one_another_whatever_else_is_called_configs(installed, tmp_path):
    """The command runs in a project that has a package `configs` of its own, as many have."""
    site, project = tmp_path / "site", tmp_path / "project"
    shutil.copytree(ROOT / "veegan_jax", site / "veegan_jax")
    configs = site / "veegan_jax" / "configs" if installed else tmp_path / "clone" / "configs"
    shutil.copytree(ROOT / "configs", configs)
    (project / "configs").mkdir(parents=True)
    (project / "configs" / "__init__.py").touch()
    given = ["--config", "images" if installed else str(configs / "images.py"), "--config.images.path=nowhere"]
    done = subprocess.run(
        [sys.executable, "-m", "veegan_jax", *given],
        capture_output=True,
        text=True,
        env={**environment(), "PYTHONPATH": str(site)},
        cwd=project,
        check=False,
    )
    assert done.returncode == 2
    assert "config.images.path is 'nowhere'" in done.stderr


@pytest.mark.parametrize(
    ("project", "says"),
    [
        ({"configs/__init__.py": "SEED = 3\n", "configs/mine.py": "from configs import SEED\n"}, "config.seed is -3"),
        (
            {"configs/other.py": "SEED = 4\n", "configs/mine.py": "from configs.other import SEED\n"},
            "config.seed is -4",
        ),
        (
            {"configs/other.py": "SEED = 6\n", "configs/best/mine.py": "from configs.other import SEED\n"},
            "config.seed is -6",
        ),
        ({"own/other.py": "SEED = 5\n", "own/mine.py": "from own.other import SEED\n"}, "config.seed is -5"),
        ({"own/mine.py": "from configs import ring\nSEED = len(ring.__name__)\n"}, "config.seed is -12"),
    ],
)
def test_a_config_of_ones_own_imports_its_neighbours_and_ours(fork_server, tmp_path, project, says):
    for name, content in project.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (mine,) = tmp_path.rglob("mine.py")
    body = "def get_config():\n    c = base_config()\n    c.seed = -SEED\n    return c\n"
    mine.write_text(f"from veegan_jax.config.fields import base_config\n{mine.read_text()}{body}")
    (tmp_path / "elsewhere").mkdir()
    done = fork_server("veegan_jax.main", [f"--config={mine}"], cwd=tmp_path / "elsewhere", env=environment())
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr
