"""What docs/configs.md says of each config is what the configs and the committed results say."""

import json

import pytest

from benchmarks import expected
from tests.helpers import ROOT, slow

CONFIGS = list(expected.configs())


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_page_is_made_of_the_configs_and_the_results():
    """`python -m benchmarks.expected > docs/configs.md` writes it again."""
    assert (ROOT / "docs" / "configs.md").read_text() == expected.page()


@pytest.mark.parametrize(("path", "paragraphs"), CONFIGS, ids=[path for path, _ in CONFIGS])
def test_each_config_says_what_it_gives(path, paragraphs):
    assert [text for text in paragraphs if text.startswith(expected.BEGINNINGS)], f"{path}: what does it give?"
    assert paragraphs[1].startswith("    python -m veegan_jax.main"), f"{path}: which command is it?"


def test_times_are_those_of_the_cells():
    seconds = json.loads((expected.CELLS / "stacked_digits_best" / "veegan.seeds0-4.json").read_text())["seconds"]
    assert expected.times("stacked_digits_best") == f"{seconds:.0f} s for 5 seeds at once, NVIDIA H100 80GB HBM3"
    assert expected.times("cifar10") == ""


def test_curves_are_drawn_for_each_column():
    figure = expected.draw(expected.COLUMNS)
    assert [axes.get_title() for axes in figure.axes[: len(expected.COLUMNS)]] == list(expected.COLUMNS)
    ends = {line.get_label(): line.get_ydata()[-1] for line in figure.axes[0].get_lines()}
    assert ends["ring_best"] == 8
    assert ends["GAN, the same settings"] < 8


@pytest.mark.parametrize("name", [slow("ring")])
def test_memory_is_that_of_a_run(name):
    assert 100 < expected.measure_memory(name)["mib"] < 10_000
