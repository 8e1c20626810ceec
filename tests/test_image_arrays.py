"""Tests that arrays of images and labels are right in every layout, dtype and range, or refused with the fix."""

import numpy as np
import pytest

from tests import data_files
from veegan_jax.data import SOURCES
from veegan_jax.data.image_sources import read_all
from veegan_jax.data.readers import arrays as module
from veegan_jax.data.readers.files import open_images, read_labelled
from veegan_jax.data.readers.pixels import ImageSpec

COLOURS, LABELS = data_files.photographs(20, size=8)
COLOURS[0, 0, 0] = 0, 255, 7  # Both ends of the range are there.
GREY = COLOURS[..., 1]


def write(path, given):
    """Writes an array, or several by name; returns the file."""
    file = path / ("x.npz" if isinstance(given, dict) else "x.npy")
    np.savez(file, **given) if isinstance(given, dict) else np.save(file, given)
    return file


def read(path, given, channels=3):
    """Returns the images of a file as networks see them, and what is said about them."""
    images, _ = open_images(str(write(path, given)), ImageSpec(8, channels))
    return read_all(images), images.found


def refusal(path, given):
    file = write(path, given)
    with pytest.raises(ValueError, match=f"^path is {file}; ") as error:
        SOURCES["images"](path=str(file), size=8)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


# Layouts


@pytest.mark.parametrize("memory", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (COLOURS, COLOURS),
        (COLOURS.transpose(0, 3, 1, 2), COLOURS),
        (GREY, GREY[..., None]),
        (GREY[..., None], GREY[..., None]),
        (GREY[:, None], GREY[..., None]),
        (COLOURS[:4], COLOURS[:4]),
    ],
)
def test_layouts_are_read_whatever_the_order_in_memory(tmp_path, array, expected, memory):
    seen, says = read(tmp_path, memory(array), expected.shape[-1])
    np.testing.assert_array_equal(seen, expected)
    assert ("channels come first" in says) == (array.shape[1:2] in ((1,), (3,)))


@pytest.mark.parametrize("first", [False, True])
def test_transparent_pixels_are_white_paper(tmp_path, first):
    opacity = np.where(np.arange(8) < 4, 255, 0).astype(np.uint8) * np.ones((20, 8, 1), np.uint8)
    array = np.concatenate([COLOURS, opacity[..., None]], axis=-1)
    seen, says = read(tmp_path, np.moveaxis(array, -1, 1) if first else array)
    np.testing.assert_array_equal(seen[:, :, :4], COLOURS[:, :, :4])
    np.testing.assert_array_equal(seen[:, :, 4:], 255)
    assert "transparent pixels are laid on white" in says


@pytest.mark.parametrize(
    ("array", "fix"),
    [
        (COLOURS.transpose(1, 2, 3, 0), "if the axis of images is the last one, save numpy.moveaxis(x, 3, 0)"),
        (GREY.transpose(1, 2, 0), "save numpy.moveaxis(x, 2, 0), or x[..., None]"),
        (np.zeros((6, 8, 500), np.uint8), "save numpy.moveaxis(x, 2, 0), or x[..., None]"),
        (COLOURS[0], "may be one image in colour, and must have several images; if it is 8 grey images of 8×3"),
        (COLOURS[0].transpose(2, 0, 1), "may be one image in colour"),
        (GREY.reshape(20, -1), "save x.reshape(-1, 8, 8)"),
        (COLOURS.reshape(20, -1), "save x.reshape(-1, 8, 8, 3), or x.reshape(-1, 3, 8, 8) as in CIFAR's own files"),
        (GREY[:, :7].reshape(20, -1), "save x.reshape(-1, H, W, C)"),
        (COLOURS[..., :2], "must be [N, H, W], [N, H, W, C] or [N, C, H, W] with 1, 3 or 4 channels C"),
        (COLOURS[None], "has shape [1, 20, 8, 8, 3]; it must be"),
        (COLOURS[:0], "has shape [0, 8, 8, 3]; it must be"),
        (np.uint8(3), "has shape []; it must be"),
    ],
)
def test_other_layouts_are_refused_with_the_command_that_helps(tmp_path, array, fix):
    assert fix in refusal(tmp_path, array)


def test_the_commands_that_refusals_name_help(tmp_path):
    for x in (np.moveaxis(COLOURS.transpose(1, 2, 3, 0), 3, 0), COLOURS.reshape(20, -1).reshape(-1, 8, 8, 3)):
        np.testing.assert_array_equal(read(tmp_path, x)[0], COLOURS)
    for x in (np.moveaxis(GREY.transpose(1, 2, 0), 2, 0), GREY.reshape(20, -1).reshape(-1, 8, 8)):
        np.testing.assert_array_equal(read(tmp_path, x, 1)[0][..., 0], GREY)


# Dtypes and ranges


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", ">u2", "i4", ">i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f4"])
def test_values_from_0_to_255_are_themselves_in_any_dtype(tmp_path, dtype):
    np.testing.assert_array_equal(read(tmp_path, COLOURS.astype(dtype))[0], COLOURS)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8"])
@pytest.mark.parametrize(("scale", "black", "said"), [(255, 0, "from 0 … 1"), (127.5, -1, "from −1 … 1")])
def test_floats_of_the_usual_ranges_are_the_images_that_they_were(tmp_path, dtype, scale, black, said):
    seen, says = read(tmp_path, (COLOURS / scale + black).astype(dtype))
    np.testing.assert_array_equal(seen, COLOURS)
    assert f"{said} is brought to uint8" in says


def test_16_bits_and_truth_values_fill_the_range(tmp_path):
    np.testing.assert_array_equal(read(tmp_path, COLOURS.astype(np.uint16) * 257)[0], COLOURS)
    np.testing.assert_array_equal(read(tmp_path, COLOURS > 50)[0], np.where(COLOURS > 50, 255, 0))


def test_test_images_are_scaled_as_training_images_are(tmp_path):
    dark = COLOURS // 4
    file = write(tmp_path, {"x_train": COLOURS / 255, "x_test": dark / 255})
    np.testing.assert_array_equal(SOURCES["images"](path=str(file), size=8).held_out, dark)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        ((COLOURS - COLOURS.mean()) / COLOURS.std(), "pixels of x_train are float64 from -"),
        (
            COLOURS / 255 - 0.5,
            "from -0.5 to 0.5, and must be uint8, from 0 to 255, since which value is black or white",
        ),
        (COLOURS / 250, "from 0 to 1.02, and must be uint8"),
        (COLOURS.astype(np.int16) - 128, "save numpy.rint(255.0 * (x - -128) / (127 - -128)).astype('uint8')"),
        (COLOURS.view(np.int8), "pixels of x_train are int8 from -"),
        (COLOURS.astype(np.int32) * 257, "int32 from 0 to 65535, and must be uint8"),
        (COLOURS.astype(np.uint16) * 16, "uint16 from 0 to 4080, and must be uint8"),
        ((COLOURS > 50).astype(np.uint8), "uint8 from 0 to 1, and must be uint8, from 0 to 255"),
        (COLOURS // 16, "uint8 from 0 to 15, and must be uint8, from 0 to 255"),
        (COLOURS / 255 * 0.01, "from 0 to 0.01, and must be uint8"),
        (np.where(COLOURS == 255, np.nan, COLOURS), "some of them NaN, and must be uint8, from 0 to 255; replace them"),
        (np.where(COLOURS == 255, np.inf, COLOURS), "some of them infinite, and must be uint8, from 0 to 255; replace"),
        (COLOURS.astype(complex), "pixels of x_train are complex128, and must be uint8"),
        (COLOURS.astype("U3"), "pixels of x_train are <U3, and must be uint8"),
        (COLOURS.astype("M8[s]"), "pixels of x_train are datetime64[s], and must be uint8"),
        (np.zeros((9, 8, 8), [("r", "u1")]), "and must be uint8"),
        (COLOURS * 0, "its 20 images are all equal, and at least two must differ"),
    ],
)
def test_pixels_whose_black_or_white_is_unknown_are_refused(tmp_path, array, says):
    assert says in refusal(tmp_path, array)


def test_a_bad_pixel_in_the_last_chunk_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 1000)
    array = COLOURS / 255
    array[-1, -1, -1, -1] = np.nan
    assert "some of them NaN" in refusal(tmp_path, array)
    array[-1, -1, -1, -1] = 1.5
    assert "from 0 to 1.5" in refusal(tmp_path, array)


# Archives


@pytest.mark.parametrize(
    ("arrays", "num", "held_out", "left_out"),
    [
        ({"images": COLOURS}, 20, None, ""),
        ({"images": COLOURS, "labels": LABELS}, 20, None, "left out: the arrays labels"),
        ({"X": COLOURS, "y": LABELS, "names": LABELS.astype("U3")}, 20, None, "left out: the arrays y, names"),
        ({"x_train": COLOURS[:15], "x_test": COLOURS[15:]}, 15, 5, ""),
        ({"X_train": COLOURS[:15], "X_test": COLOURS[15:]}, 15, 5, ""),
        (
            {"train_images": COLOURS[:15], "val_images": COLOURS, "test_images": COLOURS[15:]},
            15,
            5,
            "arrays val_images",
        ),
    ],
)
def test_the_images_of_an_archive_are_found_by_name_or_shape(tmp_path, arrays, num, held_out, left_out):
    file = str(write(tmp_path, arrays))
    train, test = open_images(file, ImageSpec(8, 3))
    assert (train.num, test and test.num) == (num, held_out)
    assert left_out in train.found
    np.testing.assert_array_equal(read_all(train), COLOURS[:num])


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"a": COLOURS, "b": COLOURS}, "it holds a, b, and must hold one array, or x_train and x_test"),
        ({"a": LABELS, "b": LABELS}, "it holds a, b, and must hold one array, or x_train and x_test"),
        ({"x_train": COLOURS, "x_test": COLOURS / 255}, "x_train uint8 and x_test float64, and must be of one dtype"),
        ({"x_train": COLOURS, "x_test": GREY.reshape(20, -1)}, "x_test has shape [20, 64]; it must be"),
    ],
)
def test_archives_that_could_mean_several_things_are_refused(tmp_path, arrays, says):
    assert says in refusal(tmp_path, arrays)


def test_held_out_images_that_are_training_images_too_are_said(tmp_path):
    file = write(tmp_path, {"x_train": COLOURS, "x_test": COLOURS[3:6]})
    assert "; 3 held-out images have the same pixels as training" in SOURCES["images"](path=str(file), size=8).found


# Labels


def labelled(path, y_train, y_test=None, x=COLOURS):
    y_test = y_train if y_test is None else y_test
    return write(path, {"x_train": x, "y_train": y_train, "x_test": x, "y_test": y_test})


ONE_HOT = np.eye(10)[LABELS]


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        LABELS[:, None],
        LABELS.astype(">i8"),
        LABELS.astype(np.int8),
        ONE_HOT,
        ONE_HOT.astype(np.uint8),
        ONE_HOT > 0,
    ],
)
def test_labels_are_read_in_the_forms_that_people_keep(tmp_path, labels):
    data = read_labelled(str(labelled(tmp_path, labels)))
    np.testing.assert_array_equal(data.train_labels, LABELS)
    np.testing.assert_array_equal(data.test_labels, LABELS)
    assert data.train_labels.dtype.kind in "iu"


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        (
            LABELS.astype(float),
            None,
            "y_train is float64 [20], and must be integers [20], one for each image: y = numpy.",
        ),
        (LABELS.astype("U1"), None, "y_train is <U1 [20], and must be integers [20]"),
        (0.9 * ONE_HOT, None, "y_train is float64 [20, 10], and must be integers [20]"),
        (LABELS[:5], None, "y_train is uint8 [5], and must be integers [20]"),
        (
            LABELS + 1,
            None,
            "its 10 classes are 1 to 10, and no training image is of class 0; number the classes from 0",
        ),
        (
            LABELS * 2,
            None,
            "its 10 classes are 0 to 18, and no training image is of class 1; number the classes from 0",
        ),
        (LABELS, LABELS + 1, "its test images are of class 10, and no training image is"),
        (LABELS.astype(int) - 1, None, "y_train has -1 to 8, and must be classes, from 0 on"),
    ],
)
def test_labels_that_are_no_classes_from_0_on_are_refused(tmp_path, train, test, says):
    with pytest.raises(ValueError, match="^path is ") as error:
        SOURCES["cifar10"](path=str(labelled(tmp_path, train, test)))
    assert says in str(error.value)


def test_the_command_that_numbers_classes_helps(tmp_path):
    labels = np.unique(LABELS.astype("U1"), return_inverse=True)[1]
    np.testing.assert_array_equal(read_labelled(str(labelled(tmp_path, labels))).train_labels, LABELS)


def test_images_with_labels_are_converted_like_others_and_said(tmp_path):
    source = SOURCES["cifar10"](path=str(labelled(tmp_path, LABELS, x=COLOURS.transpose(0, 3, 1, 2) / 255)))
    np.testing.assert_array_equal(source.train, COLOURS)
    assert source.found == (
        "20 images of 10 classes and 8×8 pixels to train from, 20 held out; float64 from 0 … 1 is brought to uint8; "
        "channels come first"
    )


def test_files_of_digits_with_classes_from_1_on_are_refused(tmp_path):
    folder = data_files.write_idx(tmp_path)
    for name in ("train-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        num = 60 if "train" in name else 30
        (folder / name).write_bytes(data_files.pack_idx(data_files.digits(num)[1] + np.uint8(1)))
    with pytest.raises(ValueError, match="its 10 classes are 1 to 10, and no training image is of class 0"):
        SOURCES["mnist"](path=str(folder))
