"""An exported model: the same bits as the run's, from files that hold no code, read by JAX and NumPy alone."""

import json
import subprocess
import sys

import jax.export
import numpy as np
import pytest
import yaml

import veegan_jax
from tests.helpers import tiny
from tests.test_main import environment
from tests.test_rejection import QUICK
from veegan_jax.cli import model_commands
from veegan_jax.cli.options import Options
from veegan_jax.config.build import build
from veegan_jax.errors import UserError
from veegan_jax.evaluation.trained import Run
from veegan_jax.experiments.run import train
from veegan_jax.inference import rejection
from veegan_jax.inference.exported import Model
from veegan_jax.inference.model import Sampler, Weights
from veegan_jax.train.compile import initial_state

FILES = {"README.md", "config.json", "generator.stablehlo", "load.py", "model.safetensors", "prior.stablehlo"}
# An import of anything but JAX, NumPy and what these two import themselves fails.
ALONE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"veegan_jax", "flax", "optax", "orbax", "absl", "ml_collections", "safetensors"}:
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Absent())
sys.path.insert(0, ".")
"""


def untrained(objective="veegan", **options):
    """Returns a model that is not trained, and needs no folder."""
    experiment = build(tiny(objective, **options))
    state = initial_state(experiment)
    sampler = Sampler(experiment)
    return Run(experiment, 0, Weights(state.params, state.ema), sampler.statistics(state))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(tiny(data="stacked_digits", num_seeds=2), folder)
    return folder


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        ("veegan", {}),
        ("veegan", {"data": "images", "model": "dcgan"}),
        ("ali", {"data": "images", "model": "resnet"}),
        ("infogan", {"data": "stacked_digits"}),
        ("gan", {"noise_dim": 2}),
        ("veegan", {"data": "synthetic1200", "whiten": {"floor": 0.1}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_an_exported_model_gives_the_bits_of_the_run(tmp_path, objective, options):
    run = untrained(objective, **options)
    model = Model(run.export(tmp_path / "model"))
    x = model.sample(600, seed=3)
    np.testing.assert_array_equal(x, run.sample(600, seed=3))
    np.testing.assert_array_equal(model.latents(5, seed=1, start=9)[0], run.latents(14, seed=1)[9:])
    encodes = run.experiment.objective.encode is not None
    assert (tmp_path / "model" / "reconstructor.stablehlo").exists() == encodes
    if encodes:
        # The run encodes 512 examples at a time, and the last bits of a product depend on the size of a batch.
        np.testing.assert_allclose(model.encode(x[:30]), run.encode(x[:30]), atol=1e-5)


def test_an_exported_model_rejects_as_the_run_does(tmp_path, workdir, monkeypatch):
    monkeypatch.setattr(rejection, "recipe", lambda spec: QUICK)
    monkeypatch.setattr(rejection, "COUNTED_IMAGES", 2**12)
    run = veegan_jax.load(workdir, replica=1)
    model = Model(run.export(tmp_path / "model", rejection=2))
    np.testing.assert_array_equal(model.sample(700, seed=1), run.sample(700, seed=1, rejection=2))
    assert model.config["model"]["rejection"] == 2
    again = Model(run.export(tmp_path / "model"))  # without rejection, into the same folder
    np.testing.assert_array_equal(again.sample(5, seed=1), run.sample(5, seed=1))
    run.export(tmp_path / "model", rejection=2)
    assert "one of 2 samples is kept" in (tmp_path / "model" / "README.md").read_text()


def test_the_mode_writes_data_alone_with_a_card(tmp_path, workdir):
    model_commands.export(Options("export", None, workdir, "latest", None, 0, outdir=str(tmp_path / "out"), replica=1))
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == FILES | {"reconstructor.stablehlo"}
    config, card = json.loads((folder / "config.json").read_text()), (folder / "README.md").read_text()
    assert config["config"]["objective"] == "veegan"
    assert (config["model"]["step"], config["model"]["shape"]) == (8, [8, 8, 3])
    _, head, text = card.split("---\n", 2)
    assert yaml.safe_load(head)["tags"][:2] == ["gan", "veegan"]
    assert "step 8, seed 1" in text
    assert text.count("| modes ↑") == 1
    assert "What it misses was not measured" in text
    for program in folder.glob("*.stablehlo"):
        exported = jax.export.deserialize(bytearray(program.read_bytes()))
        assert exported.platforms == ("cpu", "cuda", "tpu")


def test_the_loader_needs_neither_the_project_nor_flax(tmp_path, workdir):
    run = veegan_jax.load(workdir)
    run.export(tmp_path / "model")
    loader = (tmp_path / "model" / "load.py").read_text()
    assert len(loader.splitlines()) <= 60
    program = f"{ALONE}\nfrom load import Model\nimport numpy\nnumpy.save('x.npy', Model('.').sample(5, seed=2))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "model", env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "model" / "x.npy"), run.sample(5, seed=2), atol=1e-6)


def test_a_model_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="model could not be written: Not a directory|file/model could not be written"):
        untrained().export(tmp_path / "file" / "model")
