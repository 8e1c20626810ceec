"""Scores and tables: mean and standard error, real data, published figures, and scores that fail."""

import math
import os

import numpy as np
import pytest

from tests.data_files import write_images
from tests.helpers import ROOT, tiny
from tests.test_metrics_sanity import documented_scores
from veegan_jax.config.build import build
from veegan_jax.data import SOURCES
from veegan_jax.errors import UserError
from veegan_jax.evaluation import glossary, plots
from veegan_jax.evaluation.published import PUBLISHED, published
from veegan_jax.evaluation.scores import Evaluation
from veegan_jax.evaluation.tables import as_row, mean_and_error, number, score_table, short_table, tables
from veegan_jax.experiments.run import train
from veegan_jax.metrics import COLUMNS, METRICS, Comparison, Metric
from veegan_jax.metrics.diversity import SUPPORT
from veegan_jax.storage.logs import read_rows
from veegan_jax.train.compile import initial_state


def test_mean_and_standard_error_by_hand():
    mean, error = mean_and_error([{"kl": 1.0}, {"kl": 2.0}, {"kl": 6.0}])
    assert mean["kl"] == 3
    assert error["kl"] == pytest.approx(math.sqrt((4 + 1 + 9) / 2) / math.sqrt(3))
    assert math.isnan(mean_and_error([{"kl": 1.0}])[1]["kl"])
    assert as_row([{"kl": 1.0}]) == {"kl": 1.0}
    assert set(as_row([{"kl": 1.0}, {"kl": 2.0}])) == {"kl", "kl/se"}


def test_a_score_that_one_replica_lacks_has_no_mean():
    assert as_row([{"kl": 1.0, "ndb": 5.0}, {"kl": 2.0}]) == {"kl": 1.5, "kl/se": 0.5}
    assert as_row([{}, {"kl": 2.0}]) == {}


@pytest.fixture(scope="module")
def evaluation():
    return Evaluation(build(tiny(data="grid", eval_samples=2500)))


@pytest.fixture(scope="module")
def params(evaluation):
    return evaluation.sampler.trained(initial_state(evaluation.experiment), 0)


def header(markdown):
    return [cell.strip() for cell in markdown.splitlines()[0].split("|")[1:-1]]


def test_table_has_real_data_and_published_rows(evaluation, params):
    scores, samples = evaluation.measure(params)
    assert samples.shape == (2500, 2)
    assert set(scores) == {column.name for column in evaluation.experiment.columns}
    real = evaluation.real
    assert real["modes"] == 25
    assert real["prior_gap"] < 0.01
    markdown = tables(evaluation, {"veegan, step 0": [scores, scores]}, real).table
    assert header(markdown) == ["grid", *(column.title for column in evaluation.experiment.columns)]
    assert "reverse KL (nats) ↓" in header(markdown)
    assert "| veegan, step 0" in markdown
    assert "| real data" in markdown
    assert "| veegan (paper) " in markdown
    assert "24.6" in markdown
    assert "2,500 samples a row" in markdown


def test_support_reads_as_a_bound_and_all_numbers_have_one_format():
    def cell(*scores):
        line = score_table("ring", [SUPPORT], {"model": [{"support": s} for s in scores]}, [], num=2500).splitlines()[2]
        return line.split("|")[2].strip()

    assert cell(2500 * 2499 / 2) == "≥ 3,123,750"
    assert cell(3_123_749.0) == "3,123,749"
    assert cell(624_750.4) == "624,750"
    assert cell(1000.0, 2500 * 2499 / 2).startswith("≥ 1,562,375 ± ")
    texts = {0.0: "0", 8.0: "8", 0.00123456: "0.001235", 99.96: "99.96", 1234.56: "1,235", 999.96: "1,000"}
    assert {value: number(value) for value in texts} == texts


def test_reconstruction_of_an_untrained_model_is_near_that_of_knowing_nothing(evaluation, params):
    scores, _ = evaluation.measure(params)
    assert 0.8 < scores["reconstruction"] < 2
    assert np.isfinite(scores["prior_gap"])


def test_published_figures_are_of_known_data_and_columns():
    assert set(PUBLISHED) <= set(SOURCES)
    for rows in PUBLISHED.values():
        assert all(set(row) <= set(COLUMNS) for row in rows.values())
    config = tiny(data="stacked_mnist")
    assert published(config)["R3GAN"]["kl"] == "0.029"
    config.stacked_mnist.channels = 4
    assert published(config) == {"best known": {"modes": "10000", "kl": "0.048"}}
    assert published(tiny(data="stacked_digits")) == {}


@pytest.fixture
def ten_pictures(tmp_path):
    """A run on ten pictures, of which one is held out: too few for a third nearest neighbour, or a covariance."""
    config = tiny(data="images")
    config.images.path = str(write_images(tmp_path / "pictures", num=10))
    config.images.held_out = 0.01
    config.eval_samples, config.ivom_images = 0, 1
    return config


def test_scores_that_need_more_examples_are_named_before_training_and_cost_no_run(tmp_path, ten_pictures, caplog):
    with caplog.at_level("WARNING", "veegan_jax"):
        markdown = train(ten_pictures, tmp_path / "run").table
    columns = dict(zip(header(markdown), markdown.splitlines()[2].split("|")[1:-1], strict=True))
    assert columns[COLUMNS["precision"].title].strip() == columns[COLUMNS["prior_gap"].title].strip() == "–"
    assert columns[COLUMNS["reconstruction"].title].strip() != "–"
    assert columns[COLUMNS["ivom_train"].title].strip() != "–"
    measured = [set(row) & set(COLUMNS) for row in read_rows(tmp_path / "run") if row["step"] in (4, 8)]
    assert measured == [{"reconstruction"}, {"reconstruction"}]
    (line,) = caplog.messages
    assert line.startswith("too few examples (1) for some scores, which are left out; 2 for rke, ndb, support, vendi, ")
    assert "prior_gap; 4 for precision, recall, fld; 6 for density, coverage, " in line


@pytest.mark.parametrize("error", [UserError("mend it"), OSError("disk full"), MemoryError()], ids=repr)
def test_errors_that_are_not_of_a_score_pass_through(evaluation, params, monkeypatch, error):
    def fail(samples):
        raise error

    metric = Metric(lambda real: Comparison(fail, str), METRICS["mixture"].columns)
    monkeypatch.setitem(evaluation.metrics, "mixture", metric)
    with pytest.raises(type(error)):
        evaluation.measure(params)


def test_inversion_and_notes_that_fail_cost_no_run(evaluation, monkeypatch, caplog):
    def fail(*arguments):
        raise RuntimeError("RESOURCE_EXHAUSTED\nand a long trace")

    evaluation = Evaluation(build(tiny(data="stacked_digits", ivom_images=2)))
    params = evaluation.sampler.trained(initial_state(evaluation.experiment), 0)
    monkeypatch.setattr(evaluation.sampler, "invert", fail)
    monkeypatch.setitem(evaluation.metrics, "manifold", Metric(fail, METRICS["manifold"].columns))
    with caplog.at_level("WARNING", "veegan_jax"):
        assert evaluation.invert(params) == {}
        assert "SVM" in tables(evaluation, {"veegan": []}, {}).table
    assert "ivom_train cannot be measured, and is left out: RESOURCE_EXHAUSTED" in caplog.messages


def test_a_metric_that_ranks_checkpoints_must_be_measured(monkeypatch):
    monkeypatch.delenv("VEEGAN_INCEPTION", raising=False)
    experiment = build(tiny(data="mnist", best_metric="fid"))
    with pytest.raises(UserError, match=r"config.best_metric is 'fid'; .*valid: authpct, classifier_fid"):
        Evaluation(experiment)


def test_a_metric_that_cannot_be_made_is_one_line(monkeypatch):
    monkeypatch.setenv("VEEGAN_INCEPTION", "none.pt")
    with pytest.raises(UserError, match="VEEGAN_INCEPTION is none.pt; it must be a file"):
        Evaluation(build(tiny(data="mnist")))


def test_the_glossary_is_current():
    """UPDATE_DOCS=1 writes it again. The known scores in it are those of tests/test_metrics_sanity.py."""
    path = ROOT / "docs" / "metrics.md"
    if os.environ.get("UPDATE_DOCS"):
        path.write_text(glossary.render(glossary.known_scores()))
    assert path.read_text() == glossary.render(documented_scores())
    assert all(f"| `{column.name}` | {column.heading} |" in path.read_text() for column in COLUMNS.values())


@pytest.mark.parametrize("data", sorted(SOURCES))
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_table_in_the_terminal_has_80_columns_and_the_most_important_scores(data, seeds):
    experiment = build(tiny(data=data))
    scores = [{column.name: 1.2345678e-5 * (1 + i) for column in experiment.columns} for i in range(seeds)]
    named = {"veegan_data_ae, step 1,000,000": scores, "a_row_of_a_comparison_with_a_long_name_indeed": []}
    rows = {**named, "real data": scores[:1]}
    lines = short_table(data, experiment.headline, rows, 100).splitlines()
    assert max(map(len, lines)) <= 80
    assert len({line.split("  ")[0] for line in lines[-3:]}) == 3
    first = experiment.headline[:2] if seeds == 1 else experiment.headline[:1]
    for column in first:
        assert column.title.split()[0] in "\n".join(lines)
    assert lines[-2].split() == ["a_row_of_a_comparison_with_a_long_name_…"] + ["–"] * (len(lines[-1].split()) - 2)


def test_the_table_in_the_terminal_is_in_the_order_of_the_glossary_and_leaves_out_what_is_not_measured():
    columns = [COLUMNS[name] for name in ("modes", "bin_kl", "fid", "high_quality")]
    scores = {"modes": 7, "bin_kl": 0.51, "high_quality": 90.5}
    rows = {"gan": [scores], "real data": [{"modes": 8, "high_quality": 99}]}
    lines = short_table("ring", columns, rows, 100).splitlines()
    assert [line.split() for line in lines[-2:]] == [["gan", "7", "90.5", "0.51"], ["real", "data", "8", "99", "–"]]


@pytest.mark.parametrize(("name", "title"), [("", "veegan on ring, step 8"), ("pacgan2", "pacgan2 on ring, step 8")])
def test_tables_and_pictures_of_a_row_have_its_name(tmp_path, monkeypatch, name, title):
    titles, draw = [], plots.draw_samples
    monkeypatch.setattr(plots, "draw_samples", lambda x, real, title: titles.append(title) or draw(x, real, title))
    outcome = train(tiny(), tmp_path, name)
    assert titles[-1] == title
    assert f"\n| {name or 'veegan'}, step 8 " in outcome.table
    assert outcome.short_table.splitlines()[-2].startswith(f"{name or 'veegan'}, step 8 ")
    card = (tmp_path / "README.md").read_text()
    assert card.startswith(f"# {name or 'veegan'} on ring\n")
    kept = {path.name for path in tmp_path.iterdir()} - {"README.md", ".lock"}
    assert [entry for entry in kept if f"\n| `{entry}" not in card] == []
    assert "wandb" not in card
    assert "| `latent_dim` " in card
