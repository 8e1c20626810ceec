"""Tests that images are divided by what they hold, and that a run knows the data on which it was trained."""

import json
import logging
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import veegan_jax
from tests import data_files
from tests.helpers import tiny
from veegan_jax.cli.commands import print_fingerprint
from veegan_jax.cli.model_commands import evaluate, sample
from veegan_jax.cli.options import Options
from veegan_jax.config.build import build
from veegan_jax.data import SOURCES
from veegan_jax.data.contents import Contents, changes, part_of
from veegan_jax.data.image_sources import labelled_source
from veegan_jax.errors import UserError
from veegan_jax.evaluation.scores import Evaluation
from veegan_jax.experiments.compare import compare
from veegan_jax.experiments.hooks import open_run
from veegan_jax.experiments.run import train
from veegan_jax.storage.folder import CONFIG, DATA, check_or_write_config, data_changes

IMAGES = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 3), dtype=np.uint8)


def write(path, kind, images):
    """Writes images as a folder of files or as an array; returns the path."""
    if kind == "npy":
        np.save(path / "x.npy", images)
        return path / "x.npy"
    folder = path / "x"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for image in images:
        Image.fromarray(image).save(folder / f"{int.from_bytes(image.tobytes()[:6])}.png")
    return folder


def divided(path, kind, images, **options):
    """Returns the training and the held-out images, as sets of bytes."""
    source = SOURCES["images"](path=str(write(path, kind, images)), size=8, **options)
    return tuple({image.tobytes() for image in part} for part in (source.train, source.held_out))


@pytest.mark.parametrize("kind", ["folder", "npy"])
def test_images_that_come_or_go_move_no_other(tmp_path, kind):
    train, held_out = divided(tmp_path, kind, IMAGES[:100])
    assert (len(train | held_out), train & held_out) == (100, set())
    assert 3 <= len(held_out) <= 20
    for changed in (IMAGES, IMAGES[:99], IMAGES[20:], IMAGES[:100][::-1]):
        later_train, later_held_out = divided(tmp_path, kind, changed)
        assert not train & later_held_out
        assert not held_out & later_train


@pytest.mark.parametrize("kind", ["folder", "npy"])
def test_about_the_asked_fraction_is_held_out(tmp_path, kind):
    for fraction in (0.3, 0.7):
        assert abs(len(divided(tmp_path, kind, IMAGES, held_out=fraction)[1]) / 120 - fraction) < 0.13


def test_the_held_out_part_of_a_large_set_is_a_tenth(tmp_path):
    images = np.arange(20_000, dtype=np.uint32).view(np.uint8).reshape(-1, 2, 2)
    images = np.where(images == 0, 255, images).astype(np.uint8)
    np.save(tmp_path / "x.npy", images)
    source = SOURCES["images"](path=str(tmp_path / "x.npy"), size=2, channels=1)
    assert abs(len(source.held_out) / 20_000 - 0.1) < 0.007


@pytest.mark.parametrize("num", [2, 3, 5])
@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.999])
def test_both_parts_of_a_few_images_have_one(tmp_path, num, fraction):
    train, held_out = divided(tmp_path, "npy", IMAGES[:num], held_out=fraction)
    assert len(train) >= 1
    assert len(held_out) >= 1


@pytest.mark.parametrize("kind", ["folder", "npy"])
def test_equal_images_fall_on_the_same_side(tmp_path, kind):
    path = write(tmp_path, kind, IMAGES)
    if kind == "npy":
        np.save(path, np.concatenate([IMAGES, IMAGES]))
    else:
        shutil.copytree(path, path / "again")
    source = SOURCES["images"](path=str(path), size=8)
    train, held_out = ([image.tobytes() for image in part] for part in (source.train, source.held_out))
    assert len(train) + len(held_out) == 240
    assert not set(train) & set(held_out)
    assert {train.count(image) for image in train} == {2}


def test_dtype_layout_and_the_size_that_is_asked_for_do_not_change_the_division(tmp_path):
    for array in (IMAGES, IMAGES / 255, IMAGES.transpose(0, 3, 1, 2)):
        np.save(tmp_path / "x.npy", array)
        sources = [SOURCES["images"](path=str(tmp_path / "x.npy"), size=size) for size in (8, 4)]
        for source in sources:
            assert {image.tobytes() for image in sources[0].held_out} == divided(tmp_path, "npy", IMAGES)[1]
            assert len(source.held_out) == len(sources[0].held_out)


def test_held_out_names_are_those_of_the_held_out_images(tmp_path):
    folder = write(tmp_path, "folder", IMAGES)
    source = SOURCES["images"](path=str(folder), size=8)
    for image, name in zip(source.held_out, source.held_out_names, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(folder / name)))


# What a run knows


def contents(train, held_out, names=False):
    """Returns the contents of data whose images are numbers."""
    return Contents(
        *(part_of(np.array(p, np.uint64), [f"{i}.png" for i in p] if names else ()) for p in (train, held_out))
    )


@pytest.mark.parametrize(
    ("then", "now", "says"),
    [
        (([1, 2], [3]), ([1, 2], [3]), ""),
        (([1, 2], [3]), ([1, 2, 4], [3]), "4 images, and 3 at training; added: 4.png"),
        (([1, 2], [3]), ([2], [3]), "2 images, and 3 at training; removed: 1.png"),
        (
            ([1, 2], [3]),
            ([1], [2, 3]),
            "3 images, and 3 at training; 1 of the images that are held out now were trained",
        ),
        (([1, 2], [3]), ([4, 5, 6, 7, 8], [3]), "added: 4.png, 5.png, 6.png and 2 more; removed: 1.png, 2.png"),
    ],
)
def test_changes_are_named(then, now, says):
    stored = json.loads(json.dumps(contents(*then, names=True).as_json()))
    found = changes(stored, contents(*now, names=True))
    assert says in found
    assert bool(says) == bool(found)
    without_names = changes(json.loads(json.dumps(contents(*then).as_json())), contents(*now))
    assert bool(says) == bool(without_names)


def test_changed_pixels_and_labels_are_noticed():
    assert "have changed" in changes(contents([1, 2], [3]).as_json(), contents([1, 5], [3]))
    named = contents([1, 2], [3], names=True)
    other = named._replace(train=part_of(np.array([1, 5], np.uint64), ["1.png", "2.png"]))
    assert "changed: 2.png" in changes(named.as_json(), other)
    source = SOURCES["mnist"](**data_files.tiny_options("mnist"))
    assert source.contents == SOURCES["mnist"](**data_files.tiny_options("mnist")).contents
    data = source.references["labelled_images"]
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        turned = labelled_source(data._replace(**{field: getattr(data, field)[::-1]}))
        assert "have changed" in changes(source.contents.as_json(), turned.contents)


def begin(config, workdir):
    """Begins or resumes a run, and takes no step."""
    with open_run(Evaluation(build(config)), workdir, "veegan", 1):
        pass


def test_names_that_are_not_utf_8_are_stored_and_compared(tmp_path):
    folder = write(tmp_path, "folder", IMAGES[:20])
    (folder / os.fsdecode(b"\xff.png")).write_bytes(next(folder.iterdir()).read_bytes())
    source = SOURCES["images"](path=str(folder), size=8)
    check_or_write_config(tmp_path / "run", {}, source.contents)
    assert data_changes(tmp_path / "run", source.contents) == ""
    (folder / os.fsdecode(b"\xff.png")).unlink()
    assert r"removed: '\udcff.png'" in data_changes(
        tmp_path / "run", SOURCES["images"](path=str(folder), size=8).contents
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a tiny run on a folder of images, and the config of that run."""
    path = tmp_path_factory.mktemp("trained")
    config = tiny("gan", data="images", num_steps=2, eval_samples=8)
    config.images.path = str(write(path, "folder", IMAGES[:100]))
    train(config, path / "run")
    return path, config


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run; the images are as they were at training."""
    path, config = trained
    write(path, "folder", IMAGES[:100])
    shutil.copytree(path / "run", tmp_path / "run")
    return tmp_path / "run", config, path


def options(mode, workdir):
    return Options(mode, None, workdir, "latest", 4, 0)


def test_a_run_begins_with_what_was_found_and_stores_it(tmp_path, capfd):
    config = tiny("gan", data="images")
    folder = write(tmp_path, "folder", IMAGES[:100])
    config.images.path = str(folder)
    begin(config, tmp_path / "run")
    stored = json.loads((tmp_path / "run" / DATA).read_text())
    num = stored["held_out"]["num"]
    says = f"data: 100 images in {folder} of 8×8 pixels, in colour; {100 - num} to train from, {num} held out"
    assert says in "".join(capfd.readouterr())
    names = stored["train"]["names"].keys() | stored["held_out"]["names"].keys()
    assert names == {file.name for file in folder.iterdir()}


def test_a_run_whose_data_are_the_same_says_nothing(run, caplog):
    workdir, config, _ = run
    veegan_jax.load(workdir).held_out(1)
    begin(config, workdir)
    assert [record for record in caplog.records if record.name == "veegan_jax"] == []


def test_a_run_is_not_resumed_on_other_data(run):
    workdir, config, path = run
    write(path, "folder", IMAGES[:101])
    with pytest.raises(UserError, match=r"holds a run of other data: 101 images, and 100 at training; added: \d+.png;"):
        begin(config, workdir)
    (workdir / DATA).unlink()  # The message says that this resumes the run all the same.
    begin(config, workdir)
    assert not (workdir / DATA).exists()


def test_a_measurement_says_that_the_data_have_changed(run, caplog):
    workdir, _, path = run
    write(path, "folder", IMAGES[:101])
    with caplog.at_level(logging.WARNING, "veegan_jax"):
        evaluate(options("evaluate", workdir))
    assert (
        "the data may have changed since the run was trained: 101 images, and 100 at training; added: " in caplog.text
    )
    (table,) = workdir.glob("evaluation_step*.md")
    assert "other data than at training: 101 images" in table.read_text()


def test_a_trained_model_needs_no_data(run, caplog):
    workdir, _, path = run
    shutil.rmtree(path / "x")
    for mode in (sample, print_fingerprint):
        mode(options(mode.__name__, workdir))
    with pytest.raises(UserError, match="config.images.path is"):
        veegan_jax.load(workdir).held_out(1)


def test_a_run_of_an_earlier_version_loads_and_says_what_is_not_known(run, caplog):
    workdir, config, _ = run
    (workdir / DATA).unlink()
    veegan_jax.load(workdir).held_out(1)
    assert (
        "an earlier version made the run or the file was deleted; images that are held out now may have" in caplog.text
    )
    begin(config, workdir)
    assert not (workdir / DATA).exists()  # A file would say that these are the data of the whole run.


def test_a_run_on_a_set_with_its_own_test_part_needs_no_file(tmp_path):
    """The parts of such sets are those of version 0.1.0."""
    found = SOURCES["mnist"](**data_files.tiny_options("mnist")).contents
    check_or_write_config(tmp_path, {}, None)
    assert (tmp_path / CONFIG).exists()
    assert data_changes(tmp_path, found) == ""


def test_a_damaged_file_is_named(run):
    workdir, _, _ = run
    for text in ("{", "{}", '{"train": 3}'):
        (workdir / DATA).write_text(text)
        with pytest.raises(UserError, match=f"{workdir / DATA} is damaged: "):
            veegan_jax.load(workdir).held_out(1)


def test_no_row_of_a_comparison_is_trained_on_other_data_than_the_finished_ones(tmp_path):
    config = tiny("gan", data="images")
    config.images.path = str(write(tmp_path, "folder", IMAGES[:100]))
    begin(config, tmp_path / "runs" / "a")
    with config.unlocked():
        config.compare = {"a": {}, "b": {"seed": 1}}
    write(tmp_path, "folder", IMAGES[:101])
    with pytest.raises(UserError, match="a holds a run of other data: 101 images"):
        compare(config, tmp_path / "runs")
