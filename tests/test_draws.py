"""Real examples are measured and shown without replacement: each at most once, and all where fewer are there."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import FINITE, tiny
from veegan_jax.cli.model_commands import reconstruct, sample, show_missing
from veegan_jax.cli.options import Options
from veegan_jax.config.build import build
from veegan_jax.data.base import ENDLESS
from veegan_jax.errors import UserError
from veegan_jax.evaluation.scores import Evaluation
from veegan_jax.evaluation.tables import tables
from veegan_jax.evaluation.trained import load
from veegan_jax.experiments.run import train
from veegan_jax.inference.model import CHUNK, Sampler
from veegan_jax.metrics import Comparison, Metric
from veegan_jax.metrics.manifold import birthday_support, precision_recall

HELD_OUT, TRAIN = 180, 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 240 different images, of which more are held out than trained on."""
    folder = tmp_path_factory.mktemp("draws")
    x = np.random.default_rng(0).integers(0, 256, (HELD_OUT + TRAIN, 8, 8, 1), dtype=np.uint8)
    np.savez(folder / "x.npz", x_train=x[:TRAIN], x_test=x[TRAIN:])
    return folder


def config(folder, **fields):
    c = tiny(data="images", **fields)
    c.images.path, c.images.channels = str(folder / "x.npz"), 1
    return c


@pytest.fixture(scope="module")
def experiment(folder):
    return build(config(folder))


def counted(x):
    """Returns how often each example `[…]` of `x` occurs; they are compared as uint8, as they are stored."""
    stored = np.asarray(x) if x.dtype == np.uint8 else np.round((np.asarray(x) + 1) * 127.5).astype(np.uint8)
    return Counter(image.tobytes() for image in stored)


@pytest.mark.parametrize("data", [*FINITE, "stream"])
def test_examples_of_a_finite_set_are_drawn_once_each(data):
    source, sampler = (experiment := build(tiny(data=data))).source, Sampler(experiment)
    resident = build(tiny(data="images")).source if data == "stream" else source
    for draw, num, stored in (
        (sampler.real, source.num_held_out, source.held_out),
        (sampler.training, source.num_train, resident.train),
    ):
        assert num == len(stored)
        assert counted(draw(10 * num, seed=1)) == counted(stored)
        np.testing.assert_array_equal(draw(num, seed=1)[: num // 2], draw(num // 2, seed=1))


def test_the_order_is_a_function_of_the_seed(experiment):
    sampler = Sampler(experiment)
    first, again, other = (sampler.real(40, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(sampler.real(40, 2**32 - 1), axis=0)) == 40


def test_fixed_stacks_are_drawn_once_each_and_stacks_of_a_distribution_anew():
    fixed, anew = tiny(data="stacked_mnist"), tiny(data="stacked_mnist")
    fixed.stacked_mnist.triples = 20
    experiment = build(fixed)
    source = experiment.source
    assert (source.num_train, source.num_held_out) == (20, 26_000)
    stacks = np.moveaxis(source.train.images[source.train.stacks], 1, -1)
    assert counted(Sampler(experiment).training(100, seed=0)) == counted(stacks)
    experiment = build(anew)
    assert (experiment.source.num_train, experiment.source.num_held_out) == (ENDLESS, ENDLESS)
    assert len(np.unique(Sampler(experiment).real(100, seed=0), axis=0)) > 90


def test_points_of_a_mixture_are_drawn_anew():
    experiment = build(tiny())
    assert experiment.source.num_held_out == experiment.source.num_train == ENDLESS
    assert len(np.unique(Sampler(experiment).real(1000, seed=0), axis=0)) == 1000


def test_the_row_of_real_data_is_that_of_all_held_out_examples(experiment):
    """All held-out images differ, so a duplicate in the row, or in the reference, is one of the draw."""
    evaluation = Evaluation(experiment)
    compared = {}
    evaluation.metrics["kept"] = Metric(
        lambda real: Comparison(lambda x: compared.update(x=x, real=real) or {}, str), ()
    )
    row = evaluation.real
    assert counted(compared["x"]) == counted(experiment.source.held_out)
    assert counted(compared["real"]) == counted(experiment.source.train)
    # The scores are those of the sets themselves, whatever the order; NDB is left out, since k-means depends on it.
    held_out, trained = (flat(images) for images in (experiment.source.held_out, experiment.source.train))
    expected = {**precision_recall(held_out, trained), "support": birthday_support(held_out, trained)}
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def flat(images):
    return images.reshape(len(images), -1).astype(np.float32) / 127.5 - 1


def test_the_table_says_if_training_examples_are_fewer_than_the_samples(experiment, folder):
    said = f"{HELD_OUT} samples a row; compared with all {TRAIN} training examples, which are fewer;"
    assert said in tables(Evaluation(experiment), {}, {}).table
    assert "which are fewer" not in tables(Evaluation(build(config(folder, eval_samples=TRAIN))), {}, {}).table


@pytest.mark.parametrize(("field", "most"), [("eval_samples", HELD_OUT), ("ivom_images", TRAIN)])
def test_more_than_there_are_is_refused_before_anything_is_compiled(folder, tmp_path, field, most):
    Evaluation(build(config(folder, **{field: most})))
    wrong = config(folder, **{field: most + 1})
    with pytest.raises(UserError, match=rf"config.{field} is {most + 1}; it must be at most {most}, since"):
        train(wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    build(wrong)  # an old run, which drew with replacement, can still be loaded


def test_inversion_takes_each_image_once(folder, monkeypatch):
    evaluation = Evaluation(build(config(folder, ivom_images=TRAIN)))
    inverted = []
    monkeypatch.setattr(
        evaluation.sampler, "invert", lambda params, x, seed: (inverted.append(x), (None, np.zeros(len(x))))[1]
    )
    evaluation.invert({})
    assert [len(counted(x)) for x in inverted] == [TRAIN, TRAIN]


def test_batch_normalisation_is_calibrated_by_each_example_equally_often(experiment):
    x = Sampler(experiment)._calibration_examples
    assert len(x) == CHUNK
    assert set(counted(x).values()) == {CHUNK // TRAIN, CHUNK // TRAIN + 1}


@pytest.fixture(scope="module")
def workdir(folder):
    train(config(folder), folder / "run")
    return folder / "run"


def test_a_run_gives_each_held_out_example_once_and_refuses_more(workdir, experiment):
    run = load(workdir)
    assert counted(run.held_out(HELD_OUT)) == counted(experiment.source.held_out)
    np.testing.assert_array_equal(run.held_out(HELD_OUT)[:7], run.held_out(7))
    with pytest.raises(UserError, match="n is 1000000; it must be at most 180, since 180 examples are held out"):
        run.held_out(10**6)


@pytest.mark.parametrize("command", [sample, reconstruct, show_missing], ids=lambda command: command.__name__)
def test_commands_take_all_examples_where_fewer_are_held_out_and_say_so(workdir, capsys, command, experiment):
    options = Options(command.__name__, None, workdir, "latest", HELD_OUT + 20, seed=0)
    command(options)
    out = capsys.readouterr().out
    assert list(workdir.glob(f"{command.__name__}_*.png"))
    if command is not sample:  # Only the picture of samples has real images, and it has one row of them.
        assert f"--num is {HELD_OUT + 20}; {HELD_OUT} examples are held out, and all of them are taken" in out
        assert f"{HELD_OUT} held-out examples" in out
        (arrays,) = workdir.glob(f"{command.__name__}_*.npz")
        assert counted(np.load(arrays)["x"]) == counted(experiment.source.held_out)
