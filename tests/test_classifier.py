"""The classifier learns and is kept in a file, and scores in its features are those of known images."""

import functools
import os

import numpy as np
import pytest
from flax import traverse_util

from veegan_jax.data import SOURCES
from veegan_jax.data.base import LabelledImages
from veegan_jax.evaluation.classifier import RECIPE, Recipe, classifier, scaled
from veegan_jax.metrics import METRICS, Features

QUICK = Recipe(channels=(16, 32), features=32, dropout=0.2, shift=0, epochs=12, learning_rate=1e-2)
SHORT = QUICK._replace(epochs=1)
FEATURES = Features(functools.partial(classifier, recipe=QUICK), inception=None)


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's 8×8 digits, as uint8 from 0 to 255."""
    found = SOURCES["stacked_digits"]().references["stacked_modes"]
    train, test = (
        np.minimum(x.astype(np.int32) * 16, 255).astype(np.uint8) for x in (found.train_images, found.test_images)
    )
    return LabelledImages(train, found.train_labels, test, found.test_labels)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cached(monkeypatch, cache):
    monkeypatch.setenv("VEEGAN_CACHE_DIR", str(cache))


@pytest.fixture(scope="module")
def trained(digits, cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VEEGAN_CACHE_DIR", str(cache))
        return classifier(digits, QUICK)


def test_it_learns(digits, trained):
    model, accuracy = trained
    assert accuracy > 0.95
    labels, features, posteriors = model(digits.test_images)
    np.testing.assert_array_equal(posteriors.argmax(axis=-1), labels)
    np.testing.assert_allclose(posteriors.sum(axis=-1), 1, rtol=1e-5)
    assert np.mean(labels == digits.test_labels) == accuracy
    assert (features.shape, features.dtype) == ((len(digits.test_images), QUICK.features), np.float32)
    np.testing.assert_array_equal(model(digits.test_images[:7])[0], labels[:7])


def test_ranges_and_shapes_are_one_convention(digits, trained):
    model, _ = trained
    stored = digits.test_images[:20]
    shown = stored.astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(model(stored)[1], model(shown[..., None])[1], atol=1e-4)
    x = np.asarray(scaled(np.asarray([[[0, 255]]], np.uint8)))
    assert (x.shape, x.dtype, x.min(), x.max()) == ((1, 1, 2, 1), np.float32, -1, 1)


def only_file(folder):
    (path,) = folder.iterdir()
    return path


def test_it_is_trained_once_and_the_same_again(digits, trained, cache, tmp_path, monkeypatch, caplog):
    with caplog.at_level("WARNING", "veegan_jax"):
        kept, accuracy = classifier(digits, QUICK)
    assert not caplog.records
    assert accuracy == trained[1]
    features = trained[0](digits.test_images)[1]
    np.testing.assert_array_equal(kept(digits.test_images)[1], features)

    outputs = []
    for folder in (tmp_path / "deep" / "one", tmp_path / "other"):
        monkeypatch.setenv("VEEGAN_CACHE_DIR", str(folder))
        with caplog.at_level("WARNING", "veegan_jax"):
            outputs.append(classifier(digits, SHORT)[0](digits.test_images)[1])
    assert caplog.text.count("training a classifier, once: 11 steps") == 2
    np.testing.assert_array_equal(*outputs)
    assert only_file(tmp_path / "deep" / "one").read_bytes() == only_file(tmp_path / "other").read_bytes()


@pytest.fixture
def trainings(trained, cache, monkeypatch):
    """The arguments of each training, which ends at once with what has been learned already."""
    with np.load(only_file(cache)) as file:
        leaves = {name.removeprefix("params/"): file[name] for name in file if name.startswith("params/")}
    calls = []

    def train(*arguments):
        calls.append(arguments)
        return traverse_util.unflatten_dict(leaves, sep="/")

    monkeypatch.setattr("veegan_jax.evaluation.classifier.train", train)
    return calls


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "swap"])
def test_a_damaged_file_is_named_and_replaced(digits, trainings, tmp_path, monkeypatch, caplog, damage):
    monkeypatch.setenv("VEEGAN_CACHE_DIR", str(tmp_path))
    model, _ = classifier(digits, QUICK)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    if damage == "swap":  # a whole file of other numbers
        with np.load(path) as file:
            leaves = {name: value + 1 if name.endswith("kernel") else value for name, value in file.items()}
        np.savez(path, **leaves)
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        path.write_bytes({"flip": flipped, "truncate": whole[:middle], "empty": b""}[damage])
    with caplog.at_level("WARNING", "veegan_jax"):
        again, _ = classifier(digits, QUICK)
    assert f"{path} is damaged" in caplog.text
    assert len(trainings) == 2
    np.testing.assert_array_equal(again(digits.test_images)[1], model(digits.test_images)[1])
    caplog.clear()
    classifier(digits, QUICK)
    assert not caplog.records
    assert len(trainings) == 2
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no scratch file is left


def test_other_data_or_recipe_is_another_classifier(digits, trainings, tmp_path, monkeypatch):
    monkeypatch.setenv("VEEGAN_CACHE_DIR", str(tmp_path))
    other = digits.train_labels.copy()
    other[0] = 9 - other[0]
    for labelled, recipe in [
        (digits, QUICK),
        (digits, QUICK._replace(seed=1)),
        (digits._replace(train_labels=other), QUICK),
        (digits._replace(test_labels=digits.test_labels[::-1]), QUICK),
    ]:
        classifier(labelled, recipe)
    assert len(list(tmp_path.iterdir())) == len(trainings) == 4
    # Equal pixels and labels are the same data, however they are stored.
    labels = digits.train_labels.astype(np.uint8)
    classifier(digits._replace(train_images=digits.train_images[..., None], train_labels=labels), QUICK)
    assert len(list(tmp_path.iterdir())) == len(trainings) == 4


@pytest.mark.usefixtures("trainings")
def test_folder_that_cannot_be_written_costs_no_classifier(digits, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VEEGAN_CACHE_DIR", str(tmp_path / "file"))
    with caplog.at_level("WARNING", "veegan_jax"):
        classifier(digits, QUICK)
    assert "the classifier is not kept: " in caplog.text


@pytest.mark.usefixtures("trainings")
def test_default_folder_follows_xdg(digits, tmp_path, monkeypatch):
    monkeypatch.delenv("VEEGAN_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    classifier(digits, QUICK)
    assert only_file(tmp_path / "veegan_jax").name.startswith("classifier-")


def shown(stored):
    return stored.astype(np.float32) / 127.5 - 1


def stacks(digits, n):
    chosen = np.random.default_rng(0).integers(len(digits.test_images), size=(n, 3))
    return np.moveaxis(shown(digits.test_images)[chosen], 1, -1), digits.test_labels[chosen]


def test_digit_modes(digits):
    metric = METRICS["digit_modes"].make(digits, FEATURES)
    x, labels = stacks(digits, 3000)
    score = metric.score(x, None)
    assert set(score) == {column.name for column in metric.columns}
    true = len(np.unique(labels @ [1, 10, 100]))
    assert abs(score["modes"] - true) < 0.06 * true
    same = metric.score(np.repeat(x[..., :1], 3, axis=-1), None)
    assert same["modes"] == 10
    np.testing.assert_allclose(same["kl"], np.log(100), atol=0.05)
    noise = metric.score(np.random.default_rng(0).uniform(-1, 1, x.shape).astype(np.float32), None)
    assert noise["classifier_fid"] > 5 * score["classifier_fid"]
    assert noise["classifier_kid"] > 5 * score["classifier_kid"]
    assert noise["precision"] < score["precision"] - 20
    assert "accuracy on 360 test images" in metric.against(None).note()
    assert "not Inception's" in metric.against(None).note()


def test_modes_are_recognised_by_each_channel_in_order(digits):
    """Four channels are 10,000 modes, and 1-2-3-4 is another than 4-3-2-1."""
    metric = METRICS["digit_modes"].make(digits, FEATURES)
    of = {digit: shown(digits.train_images[np.flatnonzero(digits.train_labels == digit)[:1]])[0] for digit in range(10)}
    x = np.stack([np.stack([of[d] for d in order], axis=-1) for order in [(1, 2, 3, 4), (4, 3, 2, 1), (1, 2, 3, 4)]])
    score = metric.score(np.repeat(x, 2, axis=0), None)
    assert score["modes"] == 2
    np.testing.assert_allclose(score["kl"], sum(p * np.log(p * 10_000) for p in (2 / 3, 1 / 3)), rtol=1e-6)


def test_labelled_images(digits):
    metric = METRICS["labelled_images"].make(digits, FEATURES)
    x = shown(digits.test_images)[..., None]
    score = metric.score(x, None)
    assert set(score) == {column.name for column in metric.columns}
    assert score["kl"] < 0.02
    train = shown(digits.train_images)[..., None]
    own = metric.score(train, None)
    assert own["classifier_fid"] == pytest.approx(0, abs=1e-3 * score["classifier_fid"] + 1e-6)
    assert (own["precision"], own["recall"]) == (100, 100)
    zeros = metric.score(train[digits.train_labels == 0], None)
    np.testing.assert_allclose(zeros["kl"], np.log(10), atol=0.1)
    assert zeros["recall"] < 40
    assert zeros["classifier_fid"] > 10 * score["classifier_fid"]


needs_mnist = pytest.mark.skipif(
    not os.environ.get("VEEGAN_DATA_DIR"), reason="VEEGAN_DATA_DIR names no folder with MNIST"
)


@pytest.mark.slow  # Ten seconds of training, which the next test makes for all of MNIST.
@needs_mnist
def test_the_recipe_learns_a_part_of_mnist(tmp_path, monkeypatch):
    """Every part of the real recipe (its nets, shift, dropout and learning rates) works on real digits in seconds."""
    monkeypatch.setenv("VEEGAN_CACHE_DIR", str(tmp_path))
    whole = SOURCES["stacked_mnist"]().references["digit_modes"]
    part = LabelledImages(*(getattr(whole, name)[:2000] for name in LabelledImages._fields))
    _, accuracy = classifier(part, RECIPE)
    assert accuracy > 0.9


@pytest.mark.slow  # 3,750 steps of training take two minutes on two cores, and are kept between sessions
@needs_mnist
def test_mnist(request, monkeypatch):
    """The recipe recognises at least 99.2 % of MNIST's test images, and real digits score as real ones should."""
    monkeypatch.setenv("VEEGAN_CACHE_DIR", str(request.config.cache.mkdir("veegan_jax")))
    reference = SOURCES["stacked_mnist"]().references["digit_modes"]
    model, accuracy = classifier(reference, RECIPE)
    assert accuracy >= 0.992
    right = np.sum(model(reference.test_images)[0] == reference.test_labels)
    assert right == round(10_000 * accuracy)
    x, _ = stacks(reference, 3000)
    score = METRICS["digit_modes"].make(reference, Features(classifier, inception=None)).score(x, None)
    assert score["modes"] > 930  # 1000 (1 − e⁻³) of 3000 draws
    assert score["classifier_fid"] < 3
