"""The modes that use a trained model, on seeds, files and folders, in each format, and outside of the run's folder."""

import os

import numpy as np
import pytest
from PIL import Image

import veegan_jax
from tests.helpers import tiny
from veegan_jax.cli import model_commands
from veegan_jax.cli.options import Options
from veegan_jax.errors import UserError
from veegan_jax.experiments.run import train


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    train(tiny(data="images", num_seeds=2), folder)
    return folder


@pytest.fixture(scope="module")
def pictures(workdir, tmp_path_factory):
    """A folder of five pictures, of another size than the model's."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), np.uint8)
    for i, image in enumerate(noise):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def files(workdir, tmp_path):
    """Calls a mode, checks that the run's folder stays as it is, and returns what was written into another folder."""

    def call(mode, num=None, **options):
        before = sorted(workdir.iterdir())
        command = {"missing": "show_missing"}.get(mode, mode)
        out = tmp_path / "out"
        getattr(model_commands, command)(Options(mode, None, workdir, "latest", num, 1, outdir=str(out), **options))
        assert sorted(workdir.iterdir()) == before
        return {
            str(path.relative_to(tmp_path / "out")): path for path in (tmp_path / "out").rglob("*") if path.is_file()
        }

    return call


def test_samples_in_each_format_are_the_same(workdir, files):
    wrote = files("sample", 12, formats=("png", "npz", "npy"))
    x = veegan_jax.load(workdir).sample(12, seed=1)
    np.testing.assert_array_equal(np.load(wrote["sample_step8_seed1.npz"])["samples"], x)
    np.testing.assert_array_equal(np.load(wrote["sample_step8_seed1.npy"]), x)
    images = [np.asarray(Image.open(wrote[f"sample_step8_seed1/{i:06d}.png"])) for i in range(12)]
    np.testing.assert_array_equal(images, veegan_jax.load(workdir).to_uint8(x))
    assert "sample_step8_seed1.png" in wrote
    fewer = files("sample", 5, formats=("png",))
    assert sum(name.startswith("sample_step8_seed1/") for name in fewer) == 5, "images of the earlier call stayed"


def test_examples_of_a_folder_are_encoded_by_name(workdir, pictures, files):
    wrote = files("encode", inputs=str(pictures))
    found = np.load(wrote["encode_step8_seed1_given.npz"], allow_pickle=False)
    run = veegan_jax.load(workdir)
    assert found["names"].tolist() == [f"{i}.png" for i in range(5)]
    np.testing.assert_array_equal(found["z"], run.encode(run.preprocess(pictures)))
    one = files("encode", inputs=str(pictures / "3.png"), formats=("npy",))
    np.testing.assert_array_equal(np.load(one["encode_step8_seed1_given_z.npy"]), found["z"][3:4])


def test_preprocessing_is_that_of_training(workdir, pictures):
    run = veegan_jax.load(workdir)
    paths = sorted(pictures.iterdir())
    whole = run.preprocess(pictures)
    assert whole.shape == (5, 8, 8, 3)
    for given in (paths, [Image.open(path) for path in paths], np.stack([np.asarray(Image.open(p)) for p in paths])):
        np.testing.assert_array_equal(run.preprocess(given), whole)
    np.testing.assert_array_equal(run.preprocess(paths[2]), whole[2:3])
    np.testing.assert_array_equal(run.preprocess(Image.open(paths[2])), whole[2:3])
    for wrong, says in ((pictures / "9.png", "there is no such file"), ([paths[0], "x.png"], "there is no such file")):
        with pytest.raises(UserError, match=says):
            run.preprocess(wrong)


def test_reconstructions_of_held_out_and_of_given_examples(workdir, pictures, files, capsys):
    wrote = files("reconstruct", 4, formats=("npz", "png"))
    found, run = np.load(wrote["reconstruct_step8_seed1.npz"]), veegan_jax.load(workdir)
    np.testing.assert_array_equal(found["reconstructions"], run.reconstruct(run.held_out(4, 1), 1))
    assert {f"reconstruct_step8_seed1/{name}_00000{i}.png" for name in ("x", "reconstruction") for i in range(4)} < set(
        wrote
    )
    assert "over 4 held-out examples" in capsys.readouterr().out
    files("reconstruct", 2, inputs=str(pictures))
    assert "over 2 given examples" in capsys.readouterr().out


def test_interpolations_between_latents_of_a_seed_and_between_examples(workdir, pictures, files):
    wrote = files("interpolate", 3, frames=4)
    found, run = np.load(wrote["interpolate_step8_seed1.npz"]), veegan_jax.load(workdir)
    z = run.latents(6, 1)
    np.testing.assert_array_equal(found["frames"], run.interpolate(z[::2], z[1::2], 4, seed=1))
    assert "interpolate_step8_seed1.png" in wrote
    between = np.load(files("interpolate", inputs=str(pictures))["interpolate_step8_seed1_given.npz"])
    assert between["frames"].shape == (4, 8, 8, 8, 3)
    np.testing.assert_array_equal(between["last"], run.encode(run.preprocess(pictures))[1:])
    with pytest.raises(UserError, match="it has 1 example"):
        files("interpolate", inputs=str(pictures / "1.png"))


def test_what_is_missing_of_given_examples(pictures, files, capsys, monkeypatch):
    monkeypatch.setattr("veegan_jax.evaluation.missing.COMPARED", 100)
    wrote = files("missing", inputs=str(pictures))
    assert "5 examples judged by" in capsys.readouterr().out
    assert "missing_step8_seed1_given.json" in wrote


def test_a_replica_has_files_of_its_own(workdir, files):
    wrote = files("sample", 3, replica=1)
    x = veegan_jax.load(workdir, replica=1).sample(3, seed=1)
    np.testing.assert_array_equal(np.load(wrote["sample_step8_seed1_replica1.npz"])["samples"], x)


def test_scores_can_be_written_elsewhere(files):
    assert {"evaluation_step8.md", "evaluation_step8.json"} <= set(files("evaluate"))


def test_points_are_no_images(tmp_path):
    train(tiny(), tmp_path)
    options = Options("interpolate", None, tmp_path, "latest", 3, 1)
    model_commands.interpolate(options)
    assert (tmp_path / "interpolate_step8_seed1.png").exists()
    for command, mode in ((model_commands.sample, "sample"), (model_commands.interpolate, "interpolate")):
        with pytest.raises(
            UserError, match=r"--format png is for images of 1 or 3 channels, and examples of ring are \[2\]"
        ):
            command(options._replace(mode=mode, formats=("png",)))
    with pytest.raises(UserError, match="ring has no images, so that nothing has pixels"):
        veegan_jax.load(tmp_path).to_uint8(np.zeros((1, 2)))
    with pytest.raises(UserError, match="latents are none"):
        model_commands.encode(options._replace(mode="encode", formats=("png",)))


def test_a_folder_that_cannot_be_made_is_one_line(workdir, tmp_path):
    (tmp_path / "file").write_text("")
    options = Options("sample", None, workdir, "latest", 3, 1, outdir=os.fspath(tmp_path / "file" / "out"))
    with pytest.raises(UserError, match="--outdir is .*file/out; it cannot be made: Not a directory"):
        model_commands.sample(options)
