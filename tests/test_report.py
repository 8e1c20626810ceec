"""The report: one page that holds everything, says what is missing, and works in a browser without a network."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import veegan_jax
from tests.helpers import ROOT, tiny
from veegan_jax.cli import commands, model_commands
from veegan_jax.cli.options import Options
from veegan_jax.errors import UserError
from veegan_jax.evaluation import drawings, page
from veegan_jax.experiments.run import train
from veegan_jax.storage.history import History, command, commit, read_history

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Judges few examples by few, in a fraction of the time."""
    monkeypatch.setattr("veegan_jax.evaluation.trained.JUDGED", 200)
    monkeypatch.setattr("veegan_jax.evaluation.missing.COMPARED", 500)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of three runs: on the plane with two seeds, on stacks of digits, and a GAN on images."""
    folder = tmp_path_factory.mktemp("runs")
    train(tiny(num_seeds=2, eval_every=4), folder / "plane")
    train(tiny(data="stacked_digits"), folder / "digits")
    train(tiny("gan", data="images"), folder / "images")
    return folder


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("plane", {"Samples over training", "What it misses", "The critic", "F(x) against the prior", "x → G(F(x))"}),
        ("digits", {"Samples", "What it misses", "F(x) against the prior", "x → G(F(x))", "Interpolations"}),
        ("images", {"Samples over training", "Samples", "What it misses", "Interpolations"}),
    ],
)
def test_a_page_shows_every_part_and_needs_nothing_else(runs, name, parts):
    html = page.report({name: runs / name})
    shown = {re.sub("<.*?>", "", heading) for heading in re.findall(r"<h3.*?</h3>", html)}
    assert parts | {"Scores", "Over training", "How it was made"} <= shown
    assert ("Rejection" in shown) == (name == "plane")
    assert "This part failed" not in html
    assert "of the examples have too few generated samples near them" in html
    assert len(html) < 5e6
    assert set(re.findall(r"https?://[^\s\"'<>]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall("<img.*?>", html))
    assert "config.batch_size" in html
    assert drawings.INK not in html


def test_the_scores_are_those_of_the_results(runs):
    found, results = page.measured(runs / "plane"), json.loads((runs / "plane" / "results.json").read_text())
    assert (found.replicas, found.real, found.step) == (results["replicas"], results["real"], 8)
    unfinished = runs.parent / "unfinished"
    shutil.copytree(runs / "plane", unfinished)
    (unfinished / "results.json").unlink()
    (scores,) = page.measured(unfinished).replicas
    assert_allclose(scores["high_quality"], np.mean([one["high_quality"] for one in results["replicas"]]))


def test_a_part_that_fails_takes_no_other_with_it(runs, monkeypatch, caplog):
    monkeypatch.setattr(page, "_latents", lambda run, modes: 1 / 0)
    html = page.report({"plane": runs / "plane"})
    assert "This part failed: division by zero" in html
    assert "The critic" in html
    assert "is left out: division by zero" in caplog.text


def test_the_critic_is_drawn_as_the_data_are_told_from_samples(runs):
    run = veegan_jax.load(runs / "plane")
    logit = page._logit(run)
    x = run.held_out(5)
    values, gradient = logit(x)
    disc, params = run.experiment.objective.nets["disc"], run.replicas[0]
    assert_allclose(values, -disc.apply(params["disc"], run.encode(x), x), rtol=1e-5)
    step = 1e-3 * gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    assert (logit(x + step)[0] > values).all()


def test_the_mode_writes_the_page_of_runs_and_of_a_folder_of_runs(runs, tmp_path, capsys):
    shutil.copytree(runs / "plane", tmp_path / "rows" / "one")
    shutil.copytree(runs / "plane", tmp_path / "rows" / "two")
    options = Options("report", None, tmp_path / "rows", "latest", None, 0, outdir=str(tmp_path / "out"))
    model_commands.report(options)
    html = (tmp_path / "out" / "report.html").read_text()
    assert all(f">{name}</h2>" in html for name in ("one", "two"))
    assert "Samples side by side" in html
    head = re.search(r"<thead>.*?</thead>", html, re.DOTALL)[0]
    assert all(name in head for name in ("one, step 8", "two, step 8", "real data"))
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'report.html'}\n"
    with pytest.raises(UserError, match="a report has one source of data, and the runs are on"):
        model_commands.report(options._replace(workdir=runs))
    beside = options._replace(workdir=runs / "plane", beside=(str(runs / "images"),))
    assert model_commands.runs_of(beside) == [runs / "plane", runs / "images"]
    with pytest.raises(UserError, match="holds no run"):
        model_commands.report(options._replace(workdir=tmp_path / "out"))


def test_a_finished_run_has_a_page(tmp_path, capsys):
    """Only this sees the page of a run that ends, which takes longer than the run itself."""
    options = Options("train", tiny(), tmp_path / "run", "latest", None, 0)
    commands.train_and_print(options._replace(report=False))
    assert not (tmp_path / "run" / "report.html").exists()
    commands.train_and_print(options)
    assert "What it misses" in (tmp_path / "run" / "report.html").read_text()
    assert capsys.readouterr().out.endswith(f"{tmp_path / 'run' / 'report.html'}\n")


def test_a_report_that_fails_is_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(page, "report", lambda folders: 1 / 0)
    assert commands.train_and_print(Options("train", tiny(), tmp_path / "run", "latest", None, 0)) is None
    assert "report.html is not written: division by zero; --mode report tries again" in caplog.text


def test_a_folder_tells_a_stranger_what_happened(runs):
    card, results = ((runs / "plane" / name).read_text() for name in ("README.md", "results.json"))
    found = json.loads(results)
    assert (found["method"], found["data"], found["seeds"], found["samples"]) == ("veegan", "ring", [0, 1], 64)
    (typed,) = (line["command"] for line in read_history(runs / "plane"))
    for part in ("# veegan on ring", "last step, 8", "Seeds 0 to 1", "| high quality (%) ↑", f"`{typed}`", "jaxlib"):
        assert part in card
    digests = json.loads((runs / "images" / "data.json").read_text())
    assert digests["train"]["digest"] in (runs / "images" / "README.md").read_text()


def test_a_run_knows_who_trained_it(runs, tmp_path):
    (line,) = read_history(runs / "plane")
    assert (line["from_step"], line["to_step"]) == (0, 8)
    assert line["versions"]["jax"]
    assert line["commit"] == commit()
    module = str(ROOT / "veegan_jax" / "main.py")
    assert command([module, "--config", "a b"]) == "python -m veegan_jax.main --config 'a b'"
    assert command(["/usr/bin/veegan-jax", "--mode=sample"]) == "veegan-jax --mode=sample"
    assert command(["mine.py", "1"]) == "mine.py 1"
    killed = History(tmp_path, 3, {"jax": "1"})
    History(tmp_path, 5, {"jax": "2"}).end(9)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"began": "2')
    found = read_history(tmp_path)
    assert [("ended" in line, line["from_step"]) for line in found] == [(False, 3), (True, 5)]
    assert killed
    assert read_history(Path("nowhere")) == []


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")
def test_the_page_works_in_a_browser(runs, tmp_path):
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    path = tmp_path / "report.html"
    path.write_text(page.report({"plane": runs / "plane"}))
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=400,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    try:
        browser.get(path.as_uri())
        assert browser.get_log("browser") == []
        assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
        assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        slider = browser.find_element(By.CSS_SELECTOR, ".slider input")
        frames = browser.find_elements(By.CSS_SELECTOR, ".slider figure")
        assert [frame.is_displayed() for frame in frames] == [False, True]
        slider.send_keys(Keys.ARROW_LEFT)
        assert [frame.is_displayed() for frame in frames] == [True, False]
        assert slider.get_attribute("aria-valuetext") == "step 4"
    finally:
        browser.quit()
