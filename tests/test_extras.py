"""What the extras bring, and what works without them: a plain installation trains, samples and exports."""

import ast
import importlib.metadata
import json
import re
import sys
import tomllib

import pytest

import veegan_jax
from tests.helpers import ROOT, tiny
from tests.test_architecture import MODULES, packages, parse
from tests.test_compare import comparison
from veegan_jax.cli import model_commands, prepare
from veegan_jax.cli.options import Options
from veegan_jax.config.build import build
from veegan_jax.data.readers.locate import locate
from veegan_jax.errors import UserError
from veegan_jax.evaluation import plots
from veegan_jax.experiments.compare import compare
from veegan_jax.experiments.run import train

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def names(requirements):
    """Returns the normalised names of distributions."""
    return {re.match(r"[\w-]+", line)[0].lower().replace("_", "-") for line in requirements}


@pytest.fixture
def without(monkeypatch):
    """Makes packages as absent as if they were not installed."""

    def remove(*absent):
        for name in {*absent, *(n for n in sys.modules if n.partition(".")[0] in absent)}:
            monkeypatch.setitem(sys.modules, name, None)
        plots.installed.cache_clear()

    yield remove
    plots.installed.cache_clear()


def test_every_package_that_is_imported_is_a_dependency_or_comes_with_an_extra():
    found = importlib.metadata.packages_distributions()
    imported = set().union(*(packages(ast.walk(parse(path))) for path in MODULES.values()))
    imported -= {"veegan_jax", "jaxlib", "torch", *sys.stdlib_module_names}  # jaxlib comes with JAX, torch is asked for
    known = names(PROJECT["dependencies"]) | names(EXTRAS["report"] + EXTRAS["tfds"] + EXTRAS["wandb"])
    assert [name for name in imported if not names(found.get(name, [name])) & known] == []


def test_the_extra_of_the_tests_has_what_the_other_extras_have():
    assert "veegan_jax[report,tfds]" in EXTRAS["dev"]
    assert "veegan_jax[tfds]" in EXTRAS["prepare"]


def test_a_run_without_matplotlib_has_all_but_pictures_and_samples_and_exports(tmp_path, without, caplog, capsys):
    without("matplotlib", "jinja2", "tensorflow_datasets")
    train(tiny(), tmp_path / "run")
    assert caplog.text.count("no pictures are drawn") == 1
    assert "pip install 'veegan-jax[report]'" in caplog.text
    assert not (tmp_path / "run" / "pictures").exists()
    assert json.loads((tmp_path / "run" / "results.json").read_text())["step"] == 8
    assert (tmp_path / "run" / "samples" / "00000008.npy").exists()  # for pictures that are drawn elsewhere later
    for mode in ("sample", "reconstruct", "interpolate", "export"):
        out = tmp_path / mode
        getattr(model_commands, mode)(Options(mode, None, tmp_path / "run", "latest", 4, 0, outdir=str(out)))
        assert list(out.iterdir())
        assert not list(out.rglob("*.png"))
    with pytest.raises(UserError, match=r"^a report needs jinja2, .*: pip install 'veegan-jax\[report\]'$"):
        model_commands.report(Options("report", None, tmp_path / "run", "latest", None, 0))
    assert veegan_jax.load(tmp_path / "run").sample(3).shape == (3, 2)


def test_a_comparison_without_matplotlib_has_its_table(tmp_path, without):
    without("matplotlib")
    compare(comparison({"gan": {"objective": "gan"}}), tmp_path)
    assert "| gan" in (tmp_path / "results.md").read_text()
    assert not list(tmp_path.rglob("*.png"))


def test_a_set_of_tensorflow_datasets_names_the_extra_that_reads_it(without, monkeypatch):
    without("tensorflow_datasets")
    with pytest.raises(UserError, match=r"^config.mnist.path is tfds:mnist; .* pip install 'veegan-jax\[tfds\]'$"):
        build(tiny(data="mnist", mnist={"path": "tfds:mnist"}))
    monkeypatch.delenv("VEEGAN_DATA_DIR", raising=False)
    with pytest.raises(ValueError, match="TensorFlow Datasets is not installed"):
        locate("", "mnist", "mnist")
    without("tensorflow")
    with pytest.raises(UserError, match=r"tensorflow, which is not installed: pip install 'veegan-jax\[prepare\]'"):
        prepare.prepare("mnist")
