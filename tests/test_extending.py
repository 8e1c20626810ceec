"""The examples of docs/extending.md do what it says: added to the registries, they train and are scored."""

import importlib.util

import jax
import pytest

from tests.helpers import ROOT, tiny
from veegan_jax.config import fields
from veegan_jax.config.build import build
from veegan_jax.config.fields import base_config
from veegan_jax.errors import UserError
from veegan_jax.evaluation.scores import Evaluation
from veegan_jax.evaluation.trained import load
from veegan_jax.experiments.run import train
from veegan_jax.metrics import METRICS
from veegan_jax.train.compile import initial_state

EXAMPLES = ROOT / "docs" / "examples"
REGISTRY = {
    "lsgan": fields.REGISTRIES["objective"],
    "circles": fields.REGISTRIES["data"],
    "fourier": fields.REGISTRIES["model"],
    "energy": METRICS,
}


@pytest.fixture(autouse=True)
def _added(monkeypatch):
    for name, registry in REGISTRY.items():
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setitem(registry, name, getattr(module, name))


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_examples_are_short_and_named(name):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 60
    assert f"[{name}.py](examples/{name}.py)" in (ROOT / "docs" / "extending.md").read_text()


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(REGISTRY)


def test_they_work_together(tmp_path):
    given = tiny("lsgan", "fourier", "circles")
    given.fourier.width = 8
    outcome = train(given, tmp_path)
    assert " energy distance (units of the data) ↓ |" in outcome.table
    assert "| lsgan, step 8 |" in outcome.table


def test_training_improves_the_score(tmp_path):
    """The method, the data and the metric agree on which way is better."""
    given = tiny("lsgan", "fourier", "circles", batch_size=64, num_steps=300, steps_per_call=50)
    given.eval_every, given.save_every, given.eval_samples = 300, 300, 1000
    given.fourier.width = 32
    evaluation = Evaluation(build(given))
    train(given, tmp_path)
    run = load(tmp_path)
    untrained = evaluation.sampler.trained(initial_state(evaluation.experiment), 0)
    before = evaluation.measure(untrained)[0]["energy"]
    assert evaluation.measure(run.replicas[0])[0]["energy"] < 0.7 * before
    assert jax.tree.leaves(run.replicas[0])


def test_their_options_are_sections_of_the_config():
    assert base_config().lsgan.margin == 1.0
    given = tiny("lsgan", "fourier", "circles")
    given.circles.noise = -1.0
    with pytest.raises(UserError, match=r"config.circles.noise is -1.0; it is a standard deviation"):
        build(given)
