"""Samples that another program made are scored by the protocol of a model's, whatever form they come in."""

import json
import os

import numpy as np
import pytest

import veegan_jax
from tests.data_files import write_images
from tests.helpers import tiny
from veegan_jax.config.build import build
from veegan_jax.data import SOURCES
from veegan_jax.errors import UserError
from veegan_jax.evaluation.samples import read_reference
from veegan_jax.evaluation.scores import MODEL_SEED, Evaluation
from veegan_jax.train.compile import initial_state

RNG = np.random.default_rng(0)


def pictures(n, seed=0, channels=3):
    """Smooth pictures, uint8 `[n, 8, 8, channels]`, of six numbers each: there are endlessly many different ones."""
    a, b = np.random.default_rng(seed).normal(size=(n, 6)), np.random.default_rng(1).normal(size=(6, 64 * channels))
    return np.clip(127.5 + 40 * a @ b / 2.4, 0, 255).astype(np.uint8).reshape(n, 8, 8, channels)


@pytest.mark.parametrize("data", ["ring", "stacked_digits"])
def test_samples_of_a_model_score_as_the_model_does(data):
    evaluation = Evaluation(build(tiny(data=data, eval_samples=64)))
    params = evaluation.sampler.trained(initial_state(evaluation.experiment), 0)
    own, samples = evaluation.measure(params)
    scored = veegan_jax.score(samples, evaluation.source)
    assert scored.num == 64
    assert scored.samples == pytest.approx({name: own[name] for name in scored.samples}, rel=1e-3, abs=1e-4)
    np.testing.assert_array_equal(samples, evaluation.sampler.generate(params, 64, MODEL_SEED)[1])
    real = evaluation.real
    assert scored.real == {name: real[name] for name in scored.real}


def test_sanity_rows_are_bad_in_the_way_that_they_say():
    scored = veegan_jax.score(RNG.normal(size=(400, 2)), "ring")
    copies, half, collapsed, apart = scored.sanity.values()
    assert copies["recall"] == copies["precision"] == 100
    assert copies["sliced_wasserstein"] == 0 < scored.real["sliced_wasserstein"]
    assert half["precision"] > 90 > 60 > half["recall"]
    assert half["modes"] in (4, 5)
    assert collapsed["modes"] == 1
    assert collapsed["rke"] == pytest.approx(1)
    assert apart["high_quality"] < 90 < scored.real["high_quality"]
    assert [line.split("|")[1].strip() for line in scored.table.splitlines()[2:8]] == [
        "samples", "real data", *scored.sanity,
    ]  # fmt: skip
    assert "veegan (paper)" in scored.table
    assert "the published protocol scores 2,500 samples" in scored.table


def saved(folder, form, images):
    """Saves images in a form in which people keep them, and returns the path."""
    path = folder / f"{form}.npy"
    match form:
        case "uint8":
            np.save(path, images)
        case "floats":
            np.save(path, images.astype(np.float32) / 127.5 - 1)
        case "unit":
            np.save(path, images / 255.0)
        case "channels first":
            np.save(path, np.moveaxis(images, -1, 1))
        case "npz":
            path = folder / "samples.npz"
            np.savez_compressed(path, samples=images)
        case "folder":
            from PIL import Image

            path = folder / "pictures"
            path.mkdir()
            for i, image in enumerate(images):
                Image.fromarray(image).save(path / f"{i:03d}.png")
    return path


@pytest.mark.parametrize("form", ["uint8", "floats", "unit", "channels first", "npz", "folder"])
def test_images_score_alike_in_every_form(tmp_path, form):
    samples, real = pictures(60, seed=2), pictures(120, seed=3)
    scored = veegan_jax.score(saved(tmp_path, form, samples), real)
    wanted = veegan_jax.score(samples, real)
    assert scored.num == 60
    for name, value in wanted.samples.items():
        assert scored.samples[name] == pytest.approx(value, rel=1e-3, abs=2), name
    assert scored.real == wanted.real
    assert scored.samples["coverage"] > 50


def test_a_file_with_labels_brings_the_scores_of_labelled_images(tmp_path):
    train, test = pictures(80, 4, channels=1), pictures(40, 5, channels=1)
    labels = [(images.mean(axis=(1, 2, 3)) > 127).astype(int) for images in (train, test)]
    np.savez(tmp_path / "real.npz", x_train=train, y_train=labels[0], x_test=test, y_test=labels[1])
    source = read_reference(tmp_path / "real.npz", pictures(40, 6, channels=1))
    assert set(source.references) == {"labelled_images", "inception"}
    assert (source.num_train, source.num_held_out) == (80, 40)


def test_vectors_of_any_width_are_compared():
    scored = veegan_jax.score(RNG.normal(size=(50, 5)), RNG.normal(size=(101, 5)).astype(np.float64))
    assert scored.num == 50
    assert "51 vectors of reference to compare with, 50 held out" in scored.table
    assert scored.samples["coverage"] > 60


SAMPLES = RNG.normal(size=(20, 2))


@pytest.mark.parametrize(
    ("samples", "reference", "says"),
    [
        (SAMPLES[:, :1], "ring", r"samples has shape \(20, 1\); it must be \[n, 2\]"),
        (SAMPLES * np.nan, "ring", "samples has 40 values that are not finite"),
        ("none.npy", "ring", "--samples is none.npy; there is no such file"),
        (SAMPLES, "rong", "--reference is rong; there is no such file"),
        (SAMPLES, SAMPLES[:1], "reference holds one vector"),
        (SAMPLES, np.zeros((0, 2)), "reference has shape|holds no examples"),
        (pictures(9)[:, :6], pictures(9), "samples are images of 6×8 pixels; they must be square"),
        (pictures(9) * 300.0, pictures(9), "pixels of x_train are float64"),
        ("gs://bucket/x.npy", "ring", "--samples is gs://bucket/x.npy; it must be a path of this machine"),
    ],
)
def test_bad_samples_and_references_are_one_line(samples, reference, says):
    with pytest.raises(UserError, match=says):
        veegan_jax.score(samples, reference)


@pytest.fixture
def call(fork_server, tmp_path):
    """Runs the program with these arguments in a fork."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return lambda *arguments: fork_server("veegan_jax.main", arguments, cwd=tmp_path, env=environment)


def test_the_command_prints_and_writes_the_table(call, tmp_path):
    np.save(tmp_path / "x.npy", SOURCES["ring"]().train.repeat(10, axis=0))
    done = call("--mode=score", "--samples=x.npy", "--reference=ring")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x_scores.md").read_text() == done.stdout
    written = json.loads((tmp_path / "x_scores.json").read_text())
    assert (written["num"], written["samples"]["modes"], written["samples"]["high_quality"]) == (80, 8, 100)
    done = call("--mode=score", "--samples=x.npy", "--config=ring", "--config.eval_samples=40")
    assert "40 samples a row" in done.stdout
    assert "40 of them, drawn at random, are scored" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--mode=score", "--reference=ring"], "--mode score needs --samples FILE"),
        (["--mode=score", "--samples=x.npy"], "needs either --reference DATA or --config CONFIG"),
        (["--mode=score", "--samples=x.npy", "--reference=ring", "--config=ring"], "needs either"),
        (["--mode=score", "--samples=x.npy", "--config=ring"], "error: path is x.npy; it cannot be read as an array"),
        (["--config=ring", "--samples=x.npy"], "--samples is for --mode score, and --mode is train"),
    ],
)
def test_flags_that_do_not_go_together_and_damaged_files_are_named(call, tmp_path, arguments, says):
    (tmp_path / "x.npy").write_bytes(b"no array")
    done = call(*arguments)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_folder_of_the_reference_is_halved(tmp_path):
    scored = veegan_jax.score(pictures(30), write_images(tmp_path / "real", num=40))
    assert 10 <= scored.num <= 30
    assert "real/ " in scored.table or "images in" in scored.table
