"""Tests that sources of images give the right pixels of real files, and one clear line for a damaged file."""

import gzip
import hashlib
import re
import shutil
from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests import data_files
from tests.data_files import REAL, draw, needs_real
from veegan_jax.data import SOURCES
from veegan_jax.data.base import Images, subset
from veegan_jax.data.celeba import TEST_FROM, TRAIN_UNTIL
from veegan_jax.data.image_sources import decode, read_all
from veegan_jax.data.readers import idx
from veegan_jax.data.readers.files import open_images
from veegan_jax.data.readers.pixels import ImageSpec, resize_crop
from veegan_jax.data.stream import batches, positions


@pytest.fixture(autouse=True)
def _no_data_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("VEEGAN_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


def pixels(x):
    """Returns images float32 in [−1, 1] as uint8."""
    return np.rint((x + 1) * 127.5).astype(np.uint8)


def test_decode_spans_the_range_and_keeps_every_level():
    levels = np.arange(256, dtype=np.uint8)
    x = np.asarray(decode(jnp.asarray(levels)))
    assert (x[0], x[255], x.dtype) == (-1, 1, np.float32)
    np.testing.assert_allclose(x, levels / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(pixels(x), levels)


# MNIST


def test_idx_files_are_read_as_they_were_written(tmp_path):
    data = idx.read_folder(data_files.write_idx(tmp_path))
    for images, labels, seed in ((data.train_images, data.train_labels, 0), (data.test_images, data.test_labels, 1)):
        expected_images, expected_labels = data_files.digits(len(images), seed)
        np.testing.assert_array_equal(images[..., 0], expected_images)
        np.testing.assert_array_equal(labels, expected_labels)


@needs_real("mnist")
def test_mnist_is_the_published_set(monkeypatch):
    monkeypatch.setenv("VEEGAN_DATA_DIR", str(REAL))
    source = SOURCES["mnist"]()
    data = source.references["labelled_images"]
    assert (source.train.shape, source.held_out.shape) == ((60_000, 28, 28, 1), (10_000, 28, 28, 1))
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    np.testing.assert_array_equal(np.bincount(data.train_labels), counts)
    mean, square = data.train_images.mean(), np.square(data.train_images, dtype=np.uint16).mean()
    np.testing.assert_allclose([mean, np.sqrt(square - mean**2)], [33.318, 78.567], atol=1e-3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b[: len(b) // 2], "truncated or corrupt"),
        (lambda b: b[:-20] + bytes([b[-20] ^ 1]) + b[-19:], "truncated or corrupt"),
        (lambda b: b"not gzip at all", "truncated or corrupt"),
        (lambda b: gzip.compress(gzip.decompress(b)[:-5]), r"holds 47035 bytes for a shape of"),
        (lambda b: gzip.compress(b""), "begins with"),
        (lambda b: data_files.pack_idx(np.zeros(60, np.uint8)), "begins with 0x00000801"),
        (lambda b: data_files.pack_idx(np.zeros((59, 28, 28), np.uint8)), "59 images and 60 labels"),
        (lambda b: data_files.pack_idx(np.zeros((60, 8, 8), np.uint8)), "8×8 and 28×28 pixels"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path, change, says):
    name = "train-images-idx3-ubyte.gz"
    file = data_files.write_idx(tmp_path) / name
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match=says) as error:
        SOURCES["mnist"](path=str(tmp_path))
    assert str(error.value).startswith(f"path is {tmp_path}; its ")
    assert name in str(error.value) or "train" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_official_folder_must_hold_mnist_to_the_byte(tmp_path, monkeypatch):
    monkeypatch.setenv("VEEGAN_DATA_DIR", str(tmp_path))
    folder = data_files.write_idx(tmp_path / "mnist")
    with pytest.raises(ValueError, match="train-images-idx3-ubyte.gz is truncated: .* MNIST's has 9,912,422"):
        SOURCES["mnist"]()
    contents = {name: (folder / name).read_bytes() for name in idx.FILES}
    sums = {name: (len(b), hashlib.md5(b, usedforsecurity=False).hexdigest()) for name, b in contents.items()}
    monkeypatch.setattr(idx, "MNIST", sums)
    assert len(SOURCES["mnist"]().train) == 60
    labels = bytearray(contents["t10k-labels-idx1-ubyte.gz"])
    labels[9] ^= 255  # The byte tells the operating system; gzip itself does not check it.
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(labels)
    with pytest.raises(ValueError, match="its t10k-labels-idx1-ubyte.gz is corrupt: its MD5 is"):
        SOURCES["mnist"]()
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte.gz cannot be read there: No such file"):
        SOURCES["mnist"]()


@needs_real("mnist")
@pytest.mark.parametrize("flip", [False, True])
def test_a_damaged_copy_of_mnist_is_found(tmp_path, monkeypatch, flip):
    monkeypatch.setenv("VEEGAN_DATA_DIR", str(tmp_path))
    shutil.copytree(REAL / "mnist", tmp_path / "mnist")
    file = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    content[1000] ^= 1 if flip else 0
    file.write_bytes(content if flip else content[:-1])
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte.gz is " + ("corrupt" if flip else "truncated")):
        SOURCES["stacked_mnist"]()


@pytest.mark.parametrize(("name", "tfds"), [("mnist", "mnist"), ("cifar10", "cifar10"), ("celeba", "celeb_a")])
def test_missing_data_says_how_to_get_it(tmp_path, monkeypatch, name, tfds):
    with pytest.raises(ValueError, match="VEEGAN_DATA_DIR is not set .*: python -m veegan_jax.cli.prepare " + tfds):
        SOURCES[name]()
    monkeypatch.setenv("VEEGAN_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=f"no folder {tmp_path}/{name} and"):
        SOURCES[name]()


# Stacked MNIST


# A test below draws from fixed triples of 3 channels.
@pytest.mark.parametrize(("channels", "triples"), [(3, 0), (4, 0), (4, 50)])
def test_channels_are_digits_of_the_right_part(channels, triples):
    source = SOURCES["stacked_mnist"](channels=channels, triples=triples, **data_files.tiny_options("mnist"))
    for arrays, (digits, _) in ((source.train, data_files.digits(60)), (source.held_out, data_files.digits(30, 1))):
        x = draw(source, arrays, 100)
        assert x.shape == (100, 28, 28, channels)
        known = {digit.tobytes() for digit in digits}
        assert {channel.tobytes() for image in pixels(x) for channel in np.moveaxis(image, -1, 0)} <= known


def test_channels_are_drawn_independently_and_uniformly():
    source = SOURCES["stacked_mnist"](**data_files.tiny_options("mnist"))
    labels = {digit.tobytes(): label for digit, label in zip(*data_files.digits(60), strict=True)}
    x = pixels(draw(source, source.train, 4000))
    drawn = np.array([[labels[np.ascontiguousarray(image[..., c]).tobytes()] for c in range(3)] for image in x])
    for channel in drawn.T:
        np.testing.assert_allclose(np.bincount(channel, minlength=10) / 4000, 0.1, atol=0.03)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.06
    assert len(np.unique(drawn, axis=0)) > 950  # 982 of the 1000 triples are expected.


def test_fixed_triples_have_the_given_number_and_are_always_the_same():
    options = {"triples": 20, **data_files.tiny_options("mnist")}
    first, second = SOURCES["stacked_mnist"](**options), SOURCES["stacked_mnist"](**options)
    np.testing.assert_array_equal(first.train.stacks, second.train.stacks)
    assert (first.train.stacks.dtype, first.train.stacks.shape) == (np.int32, (20, 3))
    x = pixels(draw(first, first.train, 500))
    assert len(np.unique(x.reshape(500, -1), axis=0)) == 20
    stacked = first.train.images[first.train.stacks]  # [20, 3, 28, 28]
    assert {image.tobytes() for image in np.moveaxis(stacked, 1, -1)} == {image.tobytes() for image in x}


def test_stacks_without_meaning_are_refused(tmp_path):
    with pytest.raises(ValueError, match="triples is -1; it must be"):
        SOURCES["stacked_mnist"](triples=-1)
    folder = data_files.write_idx(tmp_path)
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(data_files.pack_idx(np.arange(60, dtype=np.uint8)))
    with pytest.raises(ValueError, match="labels go to 59, and must be digits"):
        SOURCES["stacked_mnist"](path=str(folder))


# CIFAR-10 and CelebA


@needs_real("cifar10")
def test_cifar10_of_the_data_folder_says_that_it_is_a_subset(monkeypatch):
    monkeypatch.setenv("VEEGAN_DATA_DIR", str(REAL))
    source = SOURCES["cifar10"]()
    assert source.shape == (32, 32, 3)
    assert source.note.startswith(f"a subset of CIFAR-10: {len(source.train):,} of its 50,000")
    data = source.references["labelled_images"]
    assert data.train_labels.shape == (len(source.train),)
    assert set(data.test_labels) == set(range(10))


def test_cifar10_reads_its_images_and_labels(tmp_path):
    file = data_files.write_npz(tmp_path / "cifar10" / "any.npz")
    for path in (file, file.parent):
        data = SOURCES["cifar10"](path=str(path)).references["labelled_images"]
        np.testing.assert_array_equal(data.train_images, data_files.photographs(60)[0])
        np.testing.assert_array_equal(data.test_images, data_files.photographs(30, seed=1)[0])
        np.testing.assert_array_equal(data.test_labels, data_files.photographs(30)[1])


def test_cifar10_refuses_files_without_sound_labels(tmp_path):
    x = data_files.photographs(6)[0]
    np.savez(tmp_path / "a.npz", x_train=x, x_test=x)
    with pytest.raises(ValueError, match="has no y_train, y_test, but x_train, x_test"):
        SOURCES["cifar10"](path=str(tmp_path))
    np.savez(tmp_path / "a.npz", x_train=x, y_train=np.zeros(5, int), x_test=x, y_test=np.zeros(6, int))
    with pytest.raises(ValueError, match=r"y_train is int64 \[5\], and must be integers \[6\]"):
        SOURCES["cifar10"](path=str(tmp_path))
    (tmp_path / "b.npz").touch()
    with pytest.raises(ValueError, match="must be a .npz file, or a folder with one"):
        SOURCES["cifar10"](path=str(tmp_path))


def test_celeba_keeps_the_official_partition_and_the_central_square(tmp_path):
    folder = data_files.write_images(tmp_path / "img_align_celeba", 20, (178, 218))
    framed = np.zeros((218, 178, 3), np.uint8)
    framed[55:163, 35:143] = 200  # These are the central 108 × 108 pixels.
    Image.fromarray(framed).save(folder / "000000.png")
    source = SOURCES["celeba"](path=str(tmp_path))
    assert (source.shape, source.train.shape[0], source.held_out.shape[0]) == ((64, 64, 3), 16, 2)
    np.testing.assert_array_equal(source.train[0], 200)
    with Image.open(folder / "000019.png") as last:
        np.testing.assert_array_equal(source.held_out[1], resize_crop(last, ImageSpec(64, 3, 108)))
    assert SOURCES["celeba"](path=str(tmp_path), crop=218).train[0].min() == 0
    whole = 202_599  # The first 162,770 images are for training; images from 182,637 on are for testing.
    assert (round(TRAIN_UNTIL * whole), round(TEST_FROM * whole)) == (162_770, 182_637)


# Your own images


def test_a_folder_of_mixed_files_becomes_images_of_one_shape(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "b").mkdir()
    Image.fromarray(rng.integers(0, 256, (40, 90, 3), dtype=np.uint8)).save(tmp_path / "b" / "1.PNG")
    Image.fromarray(np.full((30, 20), 50, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((64, 64, 3), 70, np.uint8)).convert("RGBA").save(tmp_path / "c.png")
    Image.fromarray(np.full((20, 20), 60 * 256, np.uint16)).save(tmp_path / "d.png")
    Image.fromarray(np.full((50, 50, 3), 80, np.uint8)).save(tmp_path / "e.jpg")
    Image.fromarray(np.full((50, 50, 3), 90, np.uint8)).convert("P").save(tmp_path / "f.gif")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._a.png").write_bytes(b"what macOS leaves beside an image")
    for channels in (1, 3):
        images, test = open_images(str(tmp_path), ImageSpec(16, channels))
        assert (images.num, images.shape, test) == (6, (16, 16, channels), None)
        means = read_all(images).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(means[[0, 2, 3, 4, 5]], [50, 70, 60, 80, 90], atol=1)  # The order is that of names.


def test_resizing_is_antialiased_and_keeps_the_centre():
    board = np.indices((160, 160)).sum(axis=0) % 2 * np.uint8(255)
    np.testing.assert_allclose(resize_crop(Image.fromarray(board.astype(np.uint8)), ImageSpec(32, 1)), 127, atol=3)
    wide = np.zeros((40, 100), np.uint8)
    wide[:, 22:78] = 255  # The white part ends farther beyond the central square, 30:70, than the filter reaches.
    np.testing.assert_array_equal(resize_crop(Image.fromarray(wide), ImageSpec(20, 1)), 255)
    same = data_files.photographs(1)[0][0]
    np.testing.assert_array_equal(resize_crop(Image.fromarray(same), ImageSpec(32, 3)), same)


def test_photographs_are_turned_as_their_exif_data_say(tmp_path):
    image = np.zeros((16, 16, 3), np.uint8)
    image[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # The image is upside down.
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    turned = read_all(open_images(str(tmp_path), ImageSpec(16, 3))[0])[0]
    assert (turned[:8].max(), turned[8:].min()) == (0, 255)


def test_a_part_is_held_out_and_the_rest_trained_on():
    source = SOURCES["images"](size=32, **data_files.tiny_options("images"))
    train, held_out = ({image.tobytes() for image in images} for images in (source.train, source.held_out))
    assert len(train) + len(held_out) == len(train | held_out) == 40
    assert 1 <= len(held_out) <= 9
    again = SOURCES["images"](size=32, **data_files.tiny_options("images"))
    np.testing.assert_array_equal(source.held_out, again.held_out)


@pytest.mark.parametrize("kind", ["npy", "one.npz", "two.npz"])
def test_arrays_are_read_as_they_are(tmp_path, kind):
    x, test = data_files.photographs(20)[0], data_files.photographs(5, seed=1)[0]
    file = tmp_path / f"x.{kind}"
    if kind == "npy":
        np.save(file, x)
    else:
        np.savez(file, **({"anything": x} if kind == "one.npz" else {"x_train": x, "x_test": test}))
    source = SOURCES["images"](path=str(file), size=32)
    if kind == "two.npz":
        np.testing.assert_array_equal(source.train, x)
        np.testing.assert_array_equal(source.held_out, test)
    else:
        read = np.concatenate([source.train, source.held_out])
        assert Counter(image.tobytes() for image in read) == Counter(image.tobytes() for image in x)


def test_arrays_are_resized_and_made_grey_like_files(tmp_path):
    np.save(tmp_path / "x.npy", data_files.photographs(4)[0])
    source = SOURCES["images"](path=str(tmp_path / "x.npy"), size=16, channels=1)
    assert source.shape == (16, 16, 1)
    opened, _ = open_images(str(tmp_path / "x.npy"), ImageSpec(16, 1))
    np.testing.assert_array_equal(
        read_all(opened)[2], resize_crop(Image.fromarray(data_files.photographs(4)[0][2]), ImageSpec(16, 1))
    )
    np.save(tmp_path / "grey.npy", data_files.digits(4)[0])
    assert SOURCES["images"](path=str(tmp_path / "grey.npy"), size=28, channels=3).shape == (28, 28, 3)


BAD_ARRAYS = {
    "float32": (np.zeros((4, 8, 8, 3), np.float32), "pixels of x_train are float32, and must be uint8"),
    "equal": (np.zeros((4, 8, 8, 3), np.uint8), "its 4 images are all equal, and at least two must differ"),
    "nan": (np.full((4, 8, 8, 3), np.nan, np.float32), "float32, some of them NaN, and must be uint8"),
    "none": (np.zeros((0, 8, 8, 3), np.uint8), r"x_train has shape \[0, 8, 8, 3\]; it must be"),
    "two channels": (np.zeros((4, 8, 8, 2), np.uint8), r"x_train has shape \[4, 8, 8, 2\]; it must be"),
    "flat": (np.zeros((4, 64), np.uint8), r"x_train has shape \[4, 64\]; it must be"),
    "one": (np.zeros((1, 8, 8, 3), np.uint8), "has one image, and at least two are needed"),
    "mixed": (np.array([np.zeros((4, 4)), None], object), "images of several sizes have to be a folder"),
}


@pytest.mark.parametrize("kind", [".npy", ".npz"])
@pytest.mark.parametrize("case", sorted(BAD_ARRAYS))
def test_bad_arrays_are_one_line(tmp_path, case, kind):
    array, says = BAD_ARRAYS[case]
    file = tmp_path / f"x{kind}"
    (np.save if kind == ".npy" else np.savez)(file, array)
    if kind == ".npz":
        says = says.replace("x_train", r"\w+")
    with pytest.raises(ValueError, match=says) as error:
        SOURCES["images"](path=str(file), size=8)
    assert str(error.value).startswith(f"path is {file};")
    assert "\n" not in str(error.value)


def write_corrupt(folder):
    """Writes images, one of which is truncated."""
    file = data_files.write_images(folder) / "000003.png"
    file.write_bytes(file.read_bytes()[:700])


def write_enormous(folder):
    """Writes images, one of which has more pixels than Pillow decodes, 179 million."""
    data_files.write_images(folder)
    Image.new("1", (14_000, 14_000)).save(folder / "000003.png")


BAD_FOLDERS = {
    "empty": (lambda folder: folder.mkdir(), "there are no images in it"),
    "text": (lambda folder: (folder.mkdir(), (folder / "a.txt").touch()), "there are no images in it"),
    "corrupt": (write_corrupt, "its 000003.png is truncated or corrupt"),
    "not an image": (lambda f: (data_files.write_images(f) / "x.jpg").write_text("?"), "its x.jpg is truncated or"),
    "empty file": (lambda f: (data_files.write_images(f) / "x.jpg").touch(), "its x.jpg is truncated or"),
    "enormous": (write_enormous, "its 000003.png is too large an image"),
    "missing": (lambda folder: None, "it must be a folder of images, a .npy or .npz file, or 'tfds:NAME'"),
}


@pytest.mark.parametrize("case", sorted(BAD_FOLDERS))
def test_bad_folders_are_one_line(tmp_path, case):
    make, says = BAD_FOLDERS[case]
    make(tmp_path / "x")
    with pytest.raises(ValueError, match=says) as error:
        SOURCES["images"](path=str(tmp_path / "x"), size=8)
    assert str(tmp_path / "x") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0}, "size is 0; it must be"),
        ({"size": -64}, "size is -64; it must be"),
        ({"held_out": 0.0}, "held_out is 0.0; it is a fraction"),
        ({"held_out": 1.0}, "held_out is 1.0; it is a fraction"),
        ({"resident_gib": -1.0}, "resident_gib is -1.0; it must be"),
        ({"path": ""}, "path is ''; it must be a folder"),
        ({"path": __file__}, "it must be a folder of images, a .npy or .npz file"),
    ],
)
def test_options_out_of_range_are_named(options, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        SOURCES["images"](**{**data_files.tiny_options("images"), **options})


# Images on the device and streams


def numbered(num):
    """Returns images whose pixels equal their position."""
    return Images(
        (2, 2, 1), num, lambda chosen: chosen.astype(np.uint8)[:, None, None, None] * np.ones((2, 2, 1), np.uint8)
    )


def taken(stream, steps):
    """Returns the positions of `numbered` images in some steps of a stream, `[steps, B]`."""
    return np.stack([next(stream)[:, 0, 0, 0] for _ in range(steps)])


def test_images_that_are_too_large_are_streamed_and_stay_the_same():
    options = {"size": 32, **data_files.tiny_options("images")}
    resident = SOURCES["images"](**options)
    gib = resident.train.nbytes / 2**30
    assert SOURCES["images"](**options, resident_gib=gib).stream is None
    streamed = SOURCES["images"](**options, resident_gib=gib * 0.99)
    assert streamed.train is None
    np.testing.assert_array_equal(streamed.held_out, resident.held_out)
    batch = next(streamed.stream.batches(0, len(resident.train)))
    assert batch.dtype == np.uint8
    assert Counter(image.tobytes() for image in batch) == Counter(image.tobytes() for image in resident.train)
    np.testing.assert_allclose(streamed.stream.decode(jnp.asarray(batch)).max(), batch.max() / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("batch_size", [4, 7, 50])
def test_every_image_comes_once_an_epoch_and_epochs_differ_in_order(batch_size):
    sequence = taken(batches(numbered(20), batch_size), 5 * 20 // batch_size + 1).ravel()
    epochs = sequence[: len(sequence) // 20 * 20].reshape(-1, 20)
    assert len(epochs) >= 4
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(20), (len(epochs), 1)))
    assert len(np.unique(epochs, axis=0)) == len(epochs)
    assert not (epochs == np.arange(20)).all(axis=1).any()


@pytest.mark.parametrize("step", [1, 6, 1000])
def test_a_stream_opened_later_has_the_same_bytes(step):
    whole = batches(numbered(20), 7, step=step - 1)
    next(whole)
    np.testing.assert_array_equal(taken(whole, 4), taken(batches(numbered(20), 7, step=step), 4))


def test_shards_divide_each_step_of_one_stream():
    whole = taken(batches(numbered(24), 8, step=2), 5)
    shards = [taken(batches(numbered(24), 2, step=2, shard=s, shards=4), 5) for s in range(4)]
    np.testing.assert_array_equal(np.concatenate(shards, axis=1), whole)


def test_positions_run_from_one_epoch_into_the_next():
    np.testing.assert_array_equal(positions(5, 3, 14), positions(5, 0, 15)[3:14])
    assert sorted(positions(5, 5, 10)) == [0, 1, 2, 3, 4]


def test_a_damaged_file_in_a_stream_is_named(tmp_path):
    write_corrupt(tmp_path)
    images, _ = open_images(str(tmp_path), ImageSpec(8, 3))
    with pytest.raises(ValueError, match="its 000003.png is truncated or corrupt"):
        taken(batches(subset(images, np.arange(6)), 6), 1)
