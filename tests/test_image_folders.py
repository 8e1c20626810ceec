"""Tests that a folder of pictures is what a person sees in it: nothing is left out, added or changed in silence."""

import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests import data_files
from veegan_jax.data import SOURCES
from veegan_jax.data.image_sources import read_all
from veegan_jax.data.readers.files import open_images
from veegan_jax.data.readers.pixels import ImageSpec

COLOURS = data_files.photographs(1, seed=9, size=16)[0][0]
PHOTO = Image.fromarray(COLOURS)
RAMP = (np.ones((16, 1)) * np.linspace(0, 1, 16)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """A folder of six different photographs."""
    return data_files.write_images(tmp_path / "x", 6, (16, 16))


def found(folder, channels=3):
    """Returns the number of images of a folder, and what is said about them."""
    images, _ = open_images(str(folder), ImageSpec(16, channels))
    assert len(read_all(images)) == images.num == len(images.names) == len(images.digests())
    return images.num, images.found.partition(" images in ")[2]


def shown(folder, name, channels=3):
    """Returns the pixels of one image of a folder, as networks see them."""
    images, _ = open_images(str(folder), ImageSpec(16, channels))
    return images.read(np.array([list(images.names).index(name)]))[0]


def refusal(folder):
    with pytest.raises(ValueError, match=f"^path is {folder}; ") as error:
        SOURCES["images"](path=str(folder), size=16)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


# What lies in folders


def put(folder, name, content=b"?"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def put_photo(folder, name, kind="PNG"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    PHOTO.save(path, kind)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a/.ipynb_checkpoints/1-checkpoint.png", "1 hidden (a/.ipynb_checkpoints/)"),
        (".thumbnails/1.png", "1 hidden (.thumbnails/)"),
        (".git/1.png", "1 hidden (.git/)"),
        ("@eaDir/1.png", "1 hidden (@eaDir/)"),
        ("__MACOSX/1.png", "1 hidden (__MACOSX/)"),
        ("lost+found/1.png", "1 hidden (lost+found/)"),
        ("$RECYCLE.BIN/1.png", "1 hidden ($RECYCLE.BIN/)"),
        (".1.png", "1 hidden (.1.png)"),
        (".DS_Store", "1 hidden (.DS_Store)"),
        ("Thumbs.db", "1 not images (Thumbs.db)"),
        ("1.png.part", "1 not images (1.png.part)"),
        ("labels.csv", "1 not images (labels.csv)"),
        ("1.svg", "1 in formats that are not read (1.svg)"),
        ("1.HEIC", "1 in formats that are not read (1.HEIC)"),
        ("1.avif", "1 in formats that are not read (1.avif)"),
        ("1.psd", "1 in formats that are not read (1.psd)"),
    ],
)
def test_what_programs_leave_is_left_out_and_said(folder, name, says):
    put_photo(folder, name)
    assert found(folder) == (6, f"{folder} of 16×16 pixels, in colour; left out: {says}")


@pytest.mark.parametrize("name", ["B.PNG", "b.jfif", "b.jpg", "b", "b/c.png", "b\nc.png", "b.c.png", "~b.png"])
def test_what_a_person_sees_as_an_image_is_taken(folder, name):
    put_photo(folder, name)  # The content is PNG, whatever the name says.
    num, says = found(folder)
    assert num == 7
    assert "left out" not in says
    np.testing.assert_array_equal(shown(folder, name), COLOURS)


def test_a_file_without_a_suffix_that_is_no_image_is_left_out(folder):
    put(folder, "README", b"hello")
    assert found(folder)[1].endswith("left out: 1 not images (README)")


def test_names_that_are_not_utf_8_are_read_and_printed(folder):
    os.rename(folder / "000000.png", os.path.join(os.fsencode(folder), b"\xff.png"))
    put(folder, "notes\n\udcfe.txt")
    num, says = found(folder)
    assert num == 6
    assert says.endswith(r"left out: 1 not images ('notes\n\udcfe.txt')")
    says.encode()


def test_linked_folders_are_followed_once(folder, tmp_path):
    more = data_files.write_images(tmp_path / "more", 9, (16, 16))
    for i in range(6):
        (more / f"{i:06}.png").unlink()
    os.symlink(more, folder / "linked")
    os.symlink(folder, more / "up")  # A loop.
    num, says = found(folder)
    assert num == 9
    assert "in folders linked 3" in says
    assert says.endswith("left out: 1 reached before by another link (linked/up/)")


def test_folders_are_counted(folder):
    for name in ("a/1.png", "a/2.png", "b/c/3.png"):
        put_photo(folder, name)
    assert "; in folders a 2, b 1; copies of others: 2" in found(folder)[1]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda f: os.symlink(f / "none.png", f / "a.png"), "its a.png is a link to nothing; remove it, or"),
        (lambda f: os.mkfifo(f / "a.png"), "its a.png is a device or a pipe, and no file; remove it, or"),
        (lambda f: put(f, "a.png", b""), "its a.png is truncated or corrupt, or no image: it is empty"),
        (lambda f: put(f, "a.jpg", b"<html>"), "it is text, such as a web page that was saved in place of an image"),
        (
            lambda f: put(f, "a.jpg", b"\0\0\0\x18ftypheic0000"),
            "it is HEIC, AVIF, JPEG XL or a film, whatever its name",
        ),
        (lambda f: put(f, "a.png", b"version https://git-lfs.github.com/spec/v1"), "Git LFS; run: git lfs pull"),
        (lambda f: put(f, "a\nb.png", b""), r"its 'a\nb.png' is truncated or corrupt"),
    ],
)
def test_a_file_that_cannot_be_what_it_seems_is_named(folder, make, says):
    make(folder)
    assert says in refusal(folder)


def test_files_and_folders_that_may_not_be_read_are_named(folder, monkeypatch):
    """The errors are made by hand, because nothing is forbidden to a superuser."""

    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", forbidden)
        assert "its 000000.png cannot be read: Permission denied; make it readable, or" in refusal(folder)
    (folder / "a").mkdir()
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: forbidden(path) if str(path).endswith("/a") else scan(path))
    assert "its folder a cannot be read: Permission denied" in refusal(folder)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "there are no images in it: none of its files ends in .apng"),
        (["a.txt"], "1 not images (a.txt)"),
        (["a.heic"], "there are no images in it of a format that is read: convert a.heic to PNG"),
        (["a.zip"], "there are no images in it: unpack a.zip"),
        (["a.npy"], "there are no images in it, but arrays: set path to "),
    ],
)
def test_a_folder_without_images_says_what_it_has(tmp_path, names, says):
    for name in names:
        put(tmp_path, name)
    assert says in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x.zip", "unpack it, and give the folder"),
        ("x.tar.gz", "unpack it, and give the folder"),
        ("x.txt", "make a folder of links to the files that it lists"),
        ("x.pkl", "it may run code when it is read; save the images with numpy.save"),
        ("x.mat", "save its images with numpy.save"),
        ("x.PNG", "that is one image: give the folder that holds the images"),
    ],
)
def test_a_file_in_place_of_a_folder_says_what_to_do(tmp_path, name, says):
    put(tmp_path, name)
    assert says in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("parts", "train", "held_out"),
    [
        ({"train": 4, "test": 2}, "train", "test"),
        ({"Train": 4, "VAL": 2}, "Train", "VAL"),
        ({"train": 4, "test": 2, "validation": 3}, "train", "test"),
        ({"set/train/cats": 4, "set/test/cats": 2}, "set/train/cats", "set/test/cats"),
    ],
)
def test_folders_of_a_test_part_are_held_out(tmp_path, parts, train, held_out):
    for seed, (name, num) in enumerate(parts.items()):
        for i, image in enumerate(data_files.photographs(num, seed, 16)[0]):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    source = SOURCES["images"](path=str(tmp_path), size=16)
    names = list(parts)
    for read, name in ((source.train, train), (source.held_out, held_out)):
        np.testing.assert_array_equal(read, data_files.photographs(parts[name], names.index(name), 16)[0])
    assert "4 to train from, 2 held out" in source.found
    assert ("left out: 3 for validation" in source.found) == (len(parts) == 3)


def test_images_beside_the_folders_of_parts_are_refused(folder):
    for name in ("train/1.png", "test/1.png"):
        put_photo(folder, name)
    assert "it has folders of training and of test images, and 6 images in neither (000000.png" in refusal(folder)


def test_a_folder_of_training_images_alone_is_divided_like_any_other(folder):
    shutil.copytree(folder, folder / "train")
    assert "12 images" in SOURCES["images"](path=str(folder), size=16).found


# Formats, modes and ranges of pixels


def saved(image, name, **options):
    return lambda folder: image.save(folder / name, **options)


GREY = np.rint(RAMP * 255)
DEEP = {
    "16 bits, PNG": ("z.png", (RAMP * 65535).astype(np.uint16)),
    "16 bits, TIFF": ("z.tif", (RAMP * 65535).astype(np.uint16)),
    "16 bits, TIFF of other byte order": ("z.tif", (RAMP * 65535).astype(">u2")),
    "16 bits, PGM": ("z.pgm", (RAMP * 65535).astype(np.uint16)),
    "floats from 0 to 1": ("z.tif", RAMP),
    "integers from 0 to 255": ("z.tif", GREY.astype(np.int32)),
    "bytes": ("z.tif", GREY.astype(np.uint8)),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("case", DEEP)
def test_deep_pixels_are_shown_over_the_whole_range(folder, case, channels):
    name, array = DEEP[case]
    Image.fromarray(array).save(folder / name)
    np.testing.assert_allclose(shown(folder, name, channels)[..., 0], GREY, atol=1)


def test_white_that_is_stored_as_zero_is_shown_as_white(folder):
    image = Image.fromarray((RAMP * 65535).astype(np.uint16))
    image.save(folder / "z.tif", tiffinfo={262: 0})
    with Image.open(folder / "z.tif") as stored:
        assert stored.tag_v2[262] == 0
    np.testing.assert_allclose(shown(folder, "z.tif", 1)[..., 0], 255 - GREY, atol=1)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (RAMP * 2 - 1, "its z.tif is refused: its pixels are floats from -1 to 1, and which of them is white is"),
        (RAMP * 65535, "its pixels are floats from 0 to 65535"),
        (RAMP * np.float32(np.nan), "its pixels are floats from nan to nan"),
        (RAMP + np.float32(np.inf), "its pixels are floats from inf to inf"),
        (RAMP * np.float32(0.01), "its 1 images of 16 or 32 bits would look black: the brightest, z.tif, has 1.2% of"),
        ((RAMP * 3000 - 1000).astype(np.int32), "its pixels are integers of 32 bits (or 16 with a sign) from -1000 to"),
        (
            (RAMP * 65535).astype(np.int32),
            "from 0 to 65535, and which of them is white is unknown; scale them to 0 … 255",
        ),
        ((RAMP * 4095).astype(np.uint16), "would look black: the brightest, z.tif, has 5.9% of the range; scale them"),
    ],
)
def test_pixels_whose_white_is_unknown_are_refused(folder, array, says):
    Image.fromarray(array).save(folder / "z.tif")
    assert says in refusal(folder)


def png_of_16_bits(levels):
    """Returns a PNG file of colours uint16 `[h, w, 3]`, which Pillow reads and does not write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = levels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colours_of_16_bits_are_shown_or_refused_like_greys(folder):
    levels = np.repeat(RAMP[..., None], 3, axis=-1)
    put(folder, "z.png", png_of_16_bits(np.rint(levels * 65535)))
    np.testing.assert_allclose(shown(folder, "z.png")[..., 1], GREY, atol=1)
    assert "of 16 or 32 bits, brought to 8: 1 (z.png)" in found(folder)[1]
    put(folder, "z.png", png_of_16_bits(np.rint(levels * 4095)))
    assert "its 1 images of 16 or 32 bits would look black: the brightest, z.png, has 5.9% of" in refusal(folder)


def test_one_dark_image_among_others_of_16_bits_is_dark(folder):
    Image.fromarray((RAMP * 65535).astype(np.uint16)).save(folder / "y.png")
    Image.fromarray((RAMP * 4095).astype(np.uint16)).save(folder / "z.png")
    assert shown(folder, "z.png").max() == 15


@pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "PA", "RGBA", "RGBa", "CMYK", "YCbCr", "LAB"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_any_mode_looks_as_it_does_elsewhere(folder, mode, channels):
    flat = np.full((16, 16, 3), 255, np.uint8)
    flat[:8] = (200, 0, 0) if mode not in ("1", "L", "LA") else 0
    image = Image.fromarray(flat).convert("RGBA" if mode == "RGBa" else mode if mode not in ("LAB", "PA") else "RGB")
    if mode == "LAB":
        image = ImageCms.profileToProfile(
            image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    if mode == "PA":
        image = image.convert("P").convert("PA")
    kind = {"1": "png", "P": "png", "L": "png", "LA": "png", "RGBA": "png"}.get(mode, "tif")
    image.convert("RGBA" if mode == "PA" else image.mode).save(folder / f"z.{kind}")
    expected = flat if channels == 3 else np.asarray(Image.fromarray(flat).convert("L"))[..., None]
    seen = shown(folder, f"z.{kind}", channels)
    np.testing.assert_allclose(seen[[2, 13]], expected[[2, 13]], atol=8)  # LAB rounds to 8 bits too.


def transparent_photo(mode):
    """Returns an image, black where it is transparent; its left half is opaque and of the value 100."""
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, :8] = (100, 100, 100, 255)
    image = Image.fromarray(pixels)
    if mode == "P":
        paletted = Image.fromarray((pixels[..., 0] > 0).astype(np.uint8), "P")
        paletted.putpalette([0, 0, 0, 100, 100, 100])
        return paletted, {"transparency": 0}
    if mode == "L":
        return image.convert("L"), {"transparency": 0}
    return image.convert(mode), {}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparent_pixels_are_white_paper(folder, mode, channels):
    image, options = transparent_photo(mode)
    image.save(folder / "z.png", **options)
    seen = shown(folder, "z.png", channels)
    assert (seen[:, :4].min(), seen[:, :4].max(), seen[:, 12:].min()) == (100, 100, 255)
    assert "with transparency, laid on white: 1 (z.png)" in found(folder)[1]


@pytest.mark.parametrize("kind", ["gif", "png", "tif", "webp"])
def test_of_several_frames_the_first_is_taken_and_said(folder, kind):
    frames = [Image.fromarray(np.full((16, 16, 3), level, np.uint8)) for level in (40, 120, 240)]
    frames[0].save(folder / f"z.{kind}", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(shown(folder, f"z.{kind}"), 40, atol=2)
    assert f"with several frames or pages, of which the first is taken: 1 (z.{kind})" in found(folder)[1]


def swapped_profile():
    """Returns an RGB colour profile in which red and green have changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_is_applied(folder, mode):
    red = Image.new("RGB", (16, 16), (255, 0, 0)).convert(mode)
    red.save(folder / "z.png", icc_profile=swapped_profile())
    np.testing.assert_allclose(shown(folder, "z.png")[5, 5], (0, 255, 0), atol=6)


@pytest.mark.parametrize("profile", [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"damaged"])
def test_the_usual_and_a_damaged_profile_change_no_bit(folder, profile):
    PHOTO.save(folder / "z.png", icc_profile=profile)
    np.testing.assert_array_equal(shown(folder, "z.png"), COLOURS)


@pytest.mark.parametrize("deep", [False, True])
def test_an_image_is_turned_as_the_camera_was_held(folder, deep):
    array = (RAMP * 65535).astype(np.uint16) if deep else GREY.astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 3  # The image is upside down.
    Image.fromarray(array).save(folder / "z.png", exif=exif)
    np.testing.assert_allclose(shown(folder, "z.png", 1)[..., 0], GREY[:, ::-1], atol=1)


def test_sizes_and_colours_are_said(folder):
    Image.fromarray(np.zeros((20, 40), np.uint8)).save(folder / "wide.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "small.png")
    assert found(folder)[1] == (
        f"{folder} of 4×4 to 40×20 pixels, 6 in colour, 2 grey; cropped to the central square: 1 (wide.png); "
        "enlarged to 16 pixels: 1 (small.png)"
    )


def test_images_that_are_nearly_black_are_said_to_be(tmp_path):
    for i in range(4):
        Image.fromarray(np.arange(i, i + 4, dtype=np.uint8).reshape(2, 2)).save(tmp_path / f"{i}.png")
    assert "they are nearly black: the brightest held-out pixel is" in SOURCES["images"](path=str(tmp_path)).found


def test_equal_pixels_in_files_of_two_formats_are_said(tmp_path):
    for i, image in enumerate(data_files.photographs(40, size=8)[0]):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
        Image.fromarray(image).save(tmp_path / f"{i}.bmp")
    source = SOURCES["images"](path=str(tmp_path), size=8)
    train = {image.tobytes() for image in source.train}
    shared = sum(image.tobytes() in train for image in source.held_out)
    assert shared > 0
    assert f"; {shared} held-out images have the same pixels as training images" in source.found
