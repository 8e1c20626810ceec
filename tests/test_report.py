"""The report: one page that holds everything, says what is missing, and works in a browser without a network."""

import base64
import io
import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

import veegan_jax
from tests.helpers import ROOT, tiny
from veegan_jax.cli import commands, model_commands
from veegan_jax.cli.options import Options
from veegan_jax.errors import UserError
from veegan_jax.evaluation import drawings, page, sections
from veegan_jax.evaluation.sections import BUDGET, logit_of
from veegan_jax.evaluation.trained import pixels
from veegan_jax.experiments.compare import train_or_diverge
from veegan_jax.experiments.run import train
from veegan_jax.inference.density_ratio import Recipe
from veegan_jax.storage.history import History, command, commit, read_history

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")


def few(patch):
    """Judges few examples by few, in a fraction of the time."""
    patch.setattr("veegan_jax.evaluation.trained.JUDGED", 200)
    patch.setattr("veegan_jax.evaluation.missing.COMPARED", 500)


@pytest.fixture(autouse=True)
def few_in_every_test(monkeypatch):
    few(monkeypatch)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of three runs: on the plane with two seeds, on stacks of digits, and a GAN on images."""
    folder = tmp_path_factory.mktemp("runs")
    train(tiny(num_seeds=2, eval_every=4), folder / "plane")
    train(tiny(data="stacked_digits"), folder / "digits")
    train(tiny("gan", data="images"), folder / "images")
    return folder


@pytest.fixture(scope="module")
def pages(runs):
    """The page of each run, which tests read and do not change."""
    with pytest.MonkeyPatch.context() as patch:
        few(patch)
        return {name: page.report({name: runs / name}) for name in ("plane", "digits", "images")}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("plane", {"The critic", "Where the generator is pushed", "F(x) against the prior", "x → G(F(x))"}),
        ("digits", {"Samples", "F(x) against the prior", "x → G(F(x))"}),
        ("images", {"Samples"}),
    ],
)
def test_a_page_shows_every_part_and_needs_nothing_else(pages, name, parts):
    html = pages[name]
    shown = {re.sub("<.*?>", "", heading) for heading in re.findall(r"<h3.*?</h3>", html)}
    always = {"Scores", "Over training", "Samples over training", "What it misses", "Reached worst", "Interpolations"}
    assert shown - {"Samples"} == always | {"Rejection", "How it was made"} | parts - {"Samples"}
    assert ("Samples" in shown) == ("Samples" in parts)
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
    monkeypatch.setattr("veegan_jax.evaluation.sections._latents", lambda run: 1 / 0)
    html = page.report({"plane": runs / "plane"})
    assert "This part failed: division by zero" in html
    assert "The critic" in html
    assert "is left out: division by zero" in caplog.text


def test_a_part_that_is_not_there_is_said_to_be_missing(runs, tmp_path):
    html = {}
    for name in ("plane", "images"):
        shutil.copytree(runs / name, tmp_path / name)
        for part in ("samples", "pictures", "tensorboard"):
            shutil.rmtree(tmp_path / name / part, ignore_errors=True)
        for part in ("history.jsonl", "metrics.jsonl", "results.json"):
            (tmp_path / name / part).unlink()
        html[name] = page.report({name: tmp_path / name})
    for name, found in html.items():
        assert f"{name} has no samples of any step" in found
        for line in ("Nothing was measured yet", "metrics.jsonl has no score", "has no history.jsonl", "Reached worst"):
            assert line in found
        assert "This part failed" not in found


def test_a_run_that_diverged_says_so_and_hides_no_other(runs, tmp_path):
    """One run has a checkpoint of the time before, of which the page is, and the other has none."""
    rows = tmp_path / "rows"
    shutil.copytree(runs / "plane", rows / "fine")
    config = tiny()
    config.optim.gen.learning_rate = config.optim.disc.learning_rate = 1e30
    train_or_diverge(config, rows / "lost", "lost")
    config = tiny(num_steps=16)
    shutil.copytree(runs / "plane", rows / "late")
    stored = json.loads((rows / "late" / "config.json").read_text())
    (rows / "late" / "config.json").write_text(json.dumps({**stored, "num_steps": 16}))
    (rows / "late" / "diverged.json").write_text('{"diverged": "loss/gen is nan at step 9"}')
    model_commands.report(Options("report", None, rows, "latest", None, 0), draws=1)
    html = (rows / "report.html").read_text()
    assert re.search(r"lost</a>: diverged: [\w/]+ (is|of).* step \d", html)
    assert "step 8 of 16, diverged: loss/gen is nan at step 9, seed 0" in html
    assert "Samples of fine over real data" in html
    with pytest.raises(UserError, match="checkpoint"):
        page.report({"lost": rows / "lost"})


def test_real_data_are_a_band_where_they_can_be_drawn_again(runs, pages):
    assert "one draw of real data, whose spread is not measured" in pages["plane"]
    plane, images = (veegan_jax.load(runs / name) for name in ("plane", "images"))
    text = page._curves(plane, {"plane": runs / "plane"}, {"plane": page.measured(runs / "plane")}, 3).text
    assert "the mean of 3 draws of real data, with a band from the lowest to the highest" in text
    found = page._more_real(plane, 3)
    assert all(len({draw[name] for draw in found}) == 2 for name in ("sliced_wasserstein", "prior_gap"))
    assert page._more_real(images, 3) == []  # each of its examples is measured already


def test_a_band_goes_from_the_lowest_to_the_highest_draw():
    line = {"step": [1, 2], "modes": [3.0, 4.0], "modes/se": [0.5, None]}
    assert drawings.measured(line, "modes") == [(1, 3.0, 0.5), (2, 4.0, 0.0)]
    assert drawings.measured({"step": [1, 2], "modes": [None, 4.0]}, "modes") == [(2, 4.0, 0.0)]
    words = page._in_words("modes", {"a": line}, [7.0, 8.0])
    assert words == "modes ↑ over the steps of training. real data: 7.5; a: 3 at step 1, 4 at step 2"
    bands = [drawings.curve_of("modes", {"a": line}, real).count("opacity: 0.2") for real in ([], [8.0], [7.0, 8.0])]
    assert bands[0] == bands[1] < bands[2]


@pytest.mark.parametrize("name", ["plane", "digits"])
def test_rejection_is_shown_once_its_classifier_is_trained(runs, tmp_path, monkeypatch, name):
    way = Recipe("mlp", {"disc_hidden": (16,), "activation": "silu"}, octaves=1, steps=20, batch=32)
    monkeypatch.setattr("veegan_jax.inference.rejection.recipe", lambda spec: way)
    monkeypatch.setattr("veegan_jax.inference.rejection.COUNTED", 2**12)
    monkeypatch.setattr("veegan_jax.inference.rejection.COUNTED_IMAGES", 2**12)
    shutil.copytree(runs / name, tmp_path / name)
    run = veegan_jax.load(tmp_path / name)
    before = sections._rejection(run, tmp_path / name)
    assert (before.text, before.figures) == (
        f"Not shown: `--mode sample --rejection {BUDGET}` trains its classifier once.",
        (),
    )
    run.sample(10, rejection=BUDGET)
    all_samples, kept = sections._rejection(run, tmp_path / name).figures
    assert "all samples" in all_samples.alt
    assert "with rejection, K = 1.25" in kept.alt
    assert all_samples.svg + all_samples.image != kept.svg + kept.image


def test_stacks_are_shown_as_grey_digits(runs):
    run = veegan_jax.load(runs / "digits")
    x = run.held_out(3)
    figure = sections.images(run, "", x, 1)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(figure.image.partition(",")[2]))))
    scale = sections.SIDE // 8
    assert picture.shape == ((3 * 8 + 2 * 2) * scale, 3 * 8 * scale, 4)
    assert_allclose(picture[: 8 * scale : scale, ::scale, 0], np.concatenate(list(np.moveaxis(pixels(x[0]), -1, 0)), 1))
    (section,) = [sections._pairs(run)]
    assert re.fullmatch(r"\d{3} · \d{3}", section.figures[0].caption)
    assert re.fullmatch(
        r"example 1, from above: x, held out, digits \d{3}; G\(F\(x\)\), digits \d{3}", section.figures[0].alt
    )


def test_the_examples_that_are_reached_worst_come_with_their_best_reconstruction(runs):
    run = veegan_jax.load(runs / "plane")
    judged = run.missing(seed=1)
    table = sections._reached_worst(run, judged).table
    errors = [float(row[2]) for row in table[1:]]
    assert errors == sorted(errors, reverse=True)
    farthest = np.linalg.norm(judged.x[:, None] - judged.generated[None], axis=-1).min(axis=1)
    chosen = judged.x[np.argsort(-farthest)[: sections.INVERTED]]
    assert errors[0] == pytest.approx(np.sqrt(run.invert(chosen, sections.SEED).error.max()), rel=0.01, abs=1e-3)


def test_the_critic_is_drawn_as_the_data_are_told_from_samples(runs):
    run = veegan_jax.load(runs / "plane")
    logit = logit_of(run)
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
    monkeypatch.setattr(page, "report", lambda folders, draws: 1 / 0)
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


# What a person without one kind of cones sees, on linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    """Returns a colour as linear RGB in [0, 1]."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """Returns CIELAB, in which a distance of 2.3 is just noticeable, of linear RGB."""
    x, y, z = np.cbrt(TO_XYZ @ np.clip(rgb, 0, 1) / TO_XYZ.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_colours_differ_for_every_kind_of_sight(blindness):
    """The colours of one drawing differ by themselves, and rows have marks too."""
    seen = {colour: lab(BLINDNESS[blindness] @ linear(colour)) for colour in (drawings.REAL, *drawings.ROWS)}
    drawn = (drawings.REAL, drawings.MODEL, drawings.WHOLE, drawings.MISSED)
    for a, b in itertools.combinations(drawn, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 15, (a, b)
    styles = [tuple(drawings._line(row)[key] for key in ("color", "linestyle", "marker")) for row in range(24)]
    assert len(set(styles)) == 24


@pytest.mark.parametrize("background", ["#ffffff", "#121212"])
def test_colours_are_seen_on_light_and_on_dark_pages(background):
    """The contrast is at least 3 for what is drawn of every run, as WCAG 2.2 (1.4.11) asks."""
    for colour in (drawings.REAL, drawings.MODEL, drawings.WHOLE):
        low, high = sorted(TO_XYZ[1] @ linear(c) for c in (colour, background))
        assert (high + 0.05) / (low + 0.05) > 3, colour


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, in which a page is as wide as a test says."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


def shown_as(browser, path, width, scheme):
    """Opens a page in a window of a width that the browser's own windows may not have, in a light or dark theme."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(path.as_uri())
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []


@pytest.mark.parametrize("name", ["plane", "digits", "images"])
def test_the_page_fits_a_phone_and_every_picture_has_words(pages, tmp_path, browser, name):
    path = tmp_path / "report.html"
    path.write_text(pages[name])
    for width, scheme in ((400, "dark"), (400, "light"), (1200, "light")):
        shown_as(browser, path, width, scheme)
        assert browser.execute_script("return innerWidth") == width
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        # Nothing but a table that scrolls by itself reaches beyond the page.
        wide = """return [...document.querySelectorAll('main *, header *')].filter(
            e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName)"""
        assert browser.execute_script(wide) == []
        names = browser.execute_script(
            "return [...document.querySelectorAll('img, [role=img]')].map(e => e.alt || e.getAttribute('aria-label'))"
        )
        assert names
        assert all(names)
        legends = (
            "return [...document.querySelectorAll('figure svg')].map(e => e.querySelector('[id^=legend]') !== null)"
        )
        assert all(browser.execute_script(legends))
        ink = browser.execute_script(
            "const e = document.querySelector('figure svg text'); return e && getComputedStyle(e).fill"
        )
        assert ink == ("rgb(255, 255, 255)" if scheme == "dark" else "rgb(0, 0, 0)")


def test_the_page_is_used_by_the_keyboard_alone(pages, tmp_path, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    path = tmp_path / "report.html"
    path.write_text(pages["plane"])
    shown_as(browser, path, 400, "light")
    reached = []
    while True:
        browser.switch_to.active_element.send_keys(Keys.TAB)
        element = browser.switch_to.active_element
        if element in reached or element.tag_name == "body" or len(reached) > 50:
            break
        reached.append(element)
        if element.tag_name == "summary":
            element.send_keys(Keys.ENTER)
        if element.tag_name == "input":
            frames = browser.find_elements(By.CSS_SELECTOR, ".slider figure")
            assert [frame.is_displayed() for frame in frames] == [False, True]
            element.send_keys(Keys.ARROW_LEFT)
            assert [frame.is_displayed() for frame in frames] == [True, False]
            assert element.get_attribute("aria-valuetext") == "step 4"
        if element.get_attribute("class") == "scroll":
            outline = browser.execute_script("return getComputedStyle(arguments[0]).outlineStyle", element)
            assert outline != "none"  # it is seen where the keyboard is
    # The tables of scores, of worst reached examples and of how the run was made; there may be one of what it misses.
    assert len([element for element in reached if element.get_attribute("class") == "scroll"]) >= 3
    assert {"summary", "input"} <= {element.tag_name for element in reached}
    assert browser.find_element(By.TAG_NAME, "details").get_attribute("open") is not None
