"""Tests that sets of TensorFlow Datasets, prepared here from small files, are read without TensorFlow."""

import importlib.util
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests import data_files
from tests.data_files import REAL, needs_real
from tests.helpers import ROOT
from veegan_jax.cli import prepare
from veegan_jax.data import SOURCES
from veegan_jax.data.readers import idx

DIGIT = tfds.features.Image(shape=(28, 28, 1), encoding_format="png")
LABEL = tfds.features.ClassLabel(num_classes=10)


@pytest.fixture
def data_dir(monkeypatch, tmp_path):
    monkeypatch.delenv("VEEGAN_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path


def write(data_dir, name, features, splits, version="1.0.0"):
    """Prepares a set as TFDS does, with a builder that is not registered, so that a reader has its files only."""

    def info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    members = {
        "VERSION": tfds.core.Version(version),
        "_info": info,
        "_split_generators": lambda self, manager: {name: enumerate(rows) for name, rows in splits.items()},
        "_generate_examples": lambda self: None,
    }
    builder = type(name, (tfds.core.GeneratorBasedBuilder,), {"name": name, **members}, skip_registration=True)
    builder(data_dir=data_dir, file_format="array_record").download_and_prepare()
    return data_dir / name / version


def rows(images, labels):
    """Returns labelled examples as a builder gives them."""
    return [
        {"image": data_files.png(image), "label": label} for image, label in zip(images, labels.tolist(), strict=True)
    ]


def pairs(images, labels):
    """Returns the images with their labels, in no order, because TFDS shuffles them."""
    return Counter((np.squeeze(image).tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


def write_digits(data_dir, name, version="1.0.0", train=None, test=None):
    """Prepares a set of labelled digits; returns its folder."""
    splits = {"train": rows(*(train or data_files.digits(60))), "test": rows(*(test or data_files.digits(30, seed=1)))}
    return write(data_dir, name, {"image": DIGIT, "label": LABEL}, splits, version)


def test_a_set_of_digits_is_read_whole_with_its_labels(data_dir):
    write_digits(data_dir, "my_digits")
    source = SOURCES["mnist"](path="tfds:my_digits")
    data = source.references["labelled_images"]
    assert source.shape == (28, 28, 1)
    assert pairs(data.train_images, data.train_labels) == pairs(*data_files.digits(60))
    assert pairs(data.test_images, data.test_labels) == pairs(*data_files.digits(30, seed=1))
    stacked = SOURCES["stacked_mnist"](path="tfds:my_digits")
    assert pairs(stacked.train, data.train_labels) == pairs(*data_files.digits(60))
    assert SOURCES["stacked_mnist"](path="tfds:my_digits:1.0.0").held_out.shape == (30, 28, 28)


@needs_real("mnist")
def test_the_real_digits_are_the_same_from_both_origins(data_dir):
    real = idx.read_folder(REAL / "mnist", idx.MNIST)
    train, test = (real.train_images[:500], real.train_labels[:500]), (real.test_images[:200], real.test_labels[:200])
    write_digits(data_dir, "mnist", "3.0.1", train, test)  # The official set has this place and version.
    data = SOURCES["mnist"]().references["labelled_images"]  # Without a folder of files, the prepared set is read.
    assert pairs(data.train_images, data.train_labels) == pairs(*train)
    assert pairs(data.test_images, data.test_labels) == pairs(*test)


def test_reading_needs_no_tensorflow(data_dir):
    write_digits(data_dir, "my_digits")
    code = (
        "import sys; from veegan_jax.data import SOURCES\n"
        "print(SOURCES['mnist'](path='tfds:my_digits').train.shape, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "(60, 28, 28, 1) False\n", done.stderr
    assert "WARNING" not in done.stderr


@pytest.mark.parametrize("resident_gib", [1.0, 0.0])
def test_photographs_of_several_sizes_become_of_one(data_dir, resident_gib):
    images = [data_files.photographs(1, seed, size)[0][0][:20] for seed, size in enumerate((20, 30, 40, 50))]
    features = {"id": np.int64, "picture": tfds.features.Image(shape=(None, None, 3))}
    splits = {"train": [{"id": i, "picture": data_files.png(image)} for i, image in enumerate(images)]}
    write(data_dir, "pictures", features, splits)
    source = SOURCES["images"](path="tfds:pictures", size=20, held_out=0.25, resident_gib=resident_gib)
    train = next(source.stream.batches(0, 3)) if source.stream else source.train
    seen = {image.tobytes() for image in (*train, *source.held_out)}
    assert len(seen) == 4
    assert images[0].tobytes() in seen  # The first image is of that size already.


def test_tensors_are_read_as_images_and_the_test_split_is_held_out(data_dir):
    x, test = data_files.photographs(12)[0], data_files.photographs(5, seed=1)[0]
    splits = {"train": [{"image": image} for image in x], "test": [{"image": image} for image in test]}
    write(data_dir, "tensors", {"image": tfds.features.Tensor(shape=(32, 32, 3), dtype=np.uint8)}, splits)
    source = SOURCES["images"](path="tfds:tensors", size=32)
    for read, expected in ((source.train, x), (source.held_out, test)):
        assert Counter(image.tobytes() for image in read) == Counter(image.tobytes() for image in expected)


def test_celeba_reads_the_prepared_set(data_dir):
    faces = [{"image": data_files.png(image)} for image in data_files.photographs(6, size=80)[0]]
    splits = {"train": faces[:4], "validation": faces[4:5], "test": faces[5:]}
    write(data_dir, "celeb_a", {"image": tfds.features.Image(shape=(80, 80, 3))}, splits, "2.1.0")
    source = SOURCES["celeba"](path="tfds:celeb_a")
    assert (source.train.shape, source.held_out.shape) == ((4, 64, 64, 3), (1, 64, 64, 3))


def test_cifar10_reads_the_prepared_set(data_dir):
    x, y = data_files.photographs(12)
    features = {"image": tfds.features.Image(shape=(32, 32, 3)), "label": LABEL}
    write(data_dir, "cifar10", features, {"train": rows(x, y), "test": rows(x[:5], y[:5])}, "3.0.2")
    source = SOURCES["cifar10"]()
    assert source.note.startswith("a subset of CIFAR-10: 12 of")
    assert pairs(source.train, source.references["labelled_images"].train_labels) == pairs(x, y)


def test_a_set_that_cannot_be_read_is_one_line(data_dir):
    folder = write_digits(data_dir, "my_digits")
    write(data_dir, "numbers", {"x": np.int64}, {"train": [{"x": 1}]})
    write(data_dir, "bare", {"image": DIGIT}, {"train": [{"image": data_files.png(data_files.digits(1)[0][0])}]})
    x, y = data_files.digits(3)
    write(data_dir, "half", {"image": DIGIT, "label": LABEL}, {"train": rows(x, y)})
    cases = {
        ("mnist", "tfds:cifar10"): "that set is not prepared in .* run python -m veegan_jax.cli.prepare cifar10",
        ("mnist", "tfds:no_such_set"): "cannot open that set: Dataset no_such_set not found",
        ("mnist", "tfds:"): "cannot open that set",
        ("mnist", "tfds:my_digits:9.9.9"): "cannot open that set",
        ("mnist", "tfds:bare"): "has no feature 'label'",
        ("cifar10", "tfds:half"): "has no examples in a split 'test'; it has train",
        ("images", "tfds:numbers"): "has no images among its features: x",
    }
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps({**info, "fileFormat": "tfrecord"}))
    cases["mnist", "tfds:my_digits"] = "is prepared as tfrecord, which only TensorFlow reads"
    for (name, path), says in cases.items():
        with pytest.raises(ValueError, match=says) as error:
            SOURCES[name](path=path)
        assert str(error.value).startswith(f"path is {path}; ")
        assert "\n" not in str(error.value)


def has_tensorflow():
    return importlib.util.find_spec("tensorflow") is not None


@pytest.mark.skipif(has_tensorflow(), reason="TensorFlow is installed")
def test_preparing_without_tensorflow_says_what_to_install(capsys):
    assert prepare.main(["mnist"]) == 2
    assert "error: preparing a set needs tensorflow, which is not installed: pip install 'veegan-jax[prepare]'" in (
        capsys.readouterr().err
    )


@pytest.mark.skipif(not has_tensorflow(), reason="TensorFlow is not installed (the extra 'prepare')")
@needs_real("mnist")
def test_the_official_set_is_prepared_from_its_archives_without_the_internet(data_dir, tmp_path):
    run = [sys.executable, "-m", "veegan_jax.cli.prepare"]
    for arguments, says in (
        (["nope"], "Dataset nope not found"),
        (["mnist", "--manual_dir", "/nope"], "must be a folder"),
    ):
        done = subprocess.run([*run, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, says in done.stderr.splitlines()[-1]) == (2, True), done.stderr
    subprocess.run([*run, "mnist", "--manual_dir", str(REAL / "mnist")], cwd=ROOT, check=True)
    data, real = SOURCES["mnist"]().references["labelled_images"], idx.read_folder(REAL / "mnist", idx.MNIST)
    assert pairs(data.train_images, data.train_labels) == pairs(real.train_images, real.train_labels)
    assert pairs(data.test_images, data.test_labels) == pairs(real.test_images, real.test_labels)
