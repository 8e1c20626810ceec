"""Properties that hold for any input: configurations, and the readers of untrusted files."""

import contextlib
import functools
import gzip
import io
import json
import math
import tempfile
import warnings
from operator import getitem
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.extra import numpy as npst
from PIL import Image

from tests import data_files
from veegan_jax.config.check import validate
from veegan_jax.config.convert import differences, effective, from_effective
from veegan_jax.config.fields import base_config, field_names
from veegan_jax.data.image_sources import read_all
from veegan_jax.data.readers import idx
from veegan_jax.data.readers.files import open_images, read_labelled
from veegan_jax.data.readers.pixels import ImageSpec
from veegan_jax.errors import UserError

# Hypothesis keeps tables of Unicode's letters in this folder, which must not be the repository's.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "veegan_jax_hypothesis")
# Every run tries the same examples and stores none.
stable = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
slower = settings(stable, max_examples=150)

BASE = base_config()
FIELDS = field_names(BASE)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10),
    st.integers(),
    st.sampled_from([2**31, -(2**40), 10**400, 1e300, math.nan, math.inf, -0.0]),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.sampled_from(["veegan", "gan", "ring", "mlp", "float32", "cosine", "pmap", "vmap"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(st.integers(1, 20), max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=8) | st.sampled_from(FIELDS), inner, max_size=3),
    ),
    max_leaves=5,
)
PATHS = st.one_of(st.sampled_from(FIELDS), st.text(max_size=8), st.lists(st.text(max_size=4), max_size=3).map(".".join))


def nested(path, value):
    """Returns a tree of one leaf."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def current(path):
    """Returns the default of a field, or of a section."""
    return functools.reduce(getitem, path.split("."), BASE)


def near(path):
    """Returns values like a field's default, which are often valid."""
    default = current(path)
    match default:
        case bool():
            return st.booleans()
        case int():
            return st.integers(-1, 300)
        case float():
            return st.floats(-0.5, 2.0)
        case tuple():
            return st.lists(st.integers(0, 64), max_size=3)
    return VALUES


KNOWN = st.sampled_from(FIELDS).flatmap(lambda path: st.tuples(st.just(path), near(path) | VALUES))


def refusal(error_type, check):
    """Returns what a check says if it refuses, else an empty text; any other error fails the test."""
    try:
        check()
    except error_type as error:
        return str(error)
    return ""


def names(message, path):
    """Returns whether a message is one line about a field."""
    top = path.split(".")[0]
    return (
        message.startswith("config.")
        and (top in message or repr(top)[1:-1] in message)
        and len(message.splitlines()) == 1
    )


@stable
@example(("resnet.disc_hidden", [b""]))  # in a section that is not used, and so not checked
@given(st.tuples(PATHS, VALUES) | KNOWN)
def test_any_value_of_any_field_survives_json_or_is_refused_by_name(field):
    path, value = field
    if message := refusal(UserError, lambda: validate(from_effective(nested(path, value)))):
        assert names(message, path)
        return
    plain = effective(from_effective(nested(path, value)))
    back = from_effective(json.loads(json.dumps(plain, allow_nan=False)))
    validate(back)
    assert effective(back) == plain
    assert differences(effective(back), plain) == []


def assign(config, path, value):
    """Sets a field as a config file does."""
    *sections, name = path.split(".")
    functools.reduce(getitem, sections, config)[name] = value


def fresh():
    """Returns a base config, more quickly than `base_config()`."""
    return BASE.copy_and_resolve_references()


@stable
@given(KNOWN)
def test_any_assignment_of_a_config_file_is_valid_or_refused_by_name(field):
    config, (path, value) = fresh(), field
    try:
        assign(config, path, value)
    except (TypeError, ValueError, OverflowError, AttributeError):
        return  # ConfigDict itself refuses: the line of the file is shown
    if message := refusal(UserError, lambda: validate(config)):
        assert names(message, path)
    else:
        json.dumps(effective(config), allow_nan=False)


CHANGES = st.dictionaries(
    st.sampled_from([path for path in FIELDS if type(current(path)) in (bool, int, float)]),
    st.integers(0, 2),
    max_size=3,
)


@stable
@given(CHANGES, CHANGES)
def test_differences_are_none_exactly_between_equals(a, b):
    first, second = fresh(), fresh()
    for config, changes in ((first, a), (second, b)):
        for path, value in changes.items():
            with contextlib.suppress(TypeError):  # a switch takes no integer
                assign(config, path, value)
    given, stored = effective(first), effective(second)
    lines = differences(given, stored)
    assert (lines == []) == (given == stored)
    assert all(line.startswith("config.") for line in lines)


# Data


MUTATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("cut"), st.integers(0, 5000), st.just(b"")),
        st.tuples(st.just("write"), st.integers(0, 40), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("write"), st.integers(0, 5000), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("insert"), st.integers(0, 5000), st.binary(min_size=1, max_size=8)),
    ),
    max_size=3,
)


def mutated(content, mutations):
    for kind, at, data in mutations:
        at = at % (len(content) + 1)
        content = content[:at] + data + (b"" if kind == "cut" else content[at + len(data) * (kind == "write") :])
    return content


def read_or_refused(path, read):
    """Reads a path, or is refused by an error that names the path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd pictures that can be read give warnings
        if message := refusal(ValueError, read):
            assert message.startswith(f"path is {path}; ")
            assert len(message.splitlines()) == 1


IDX = gzip.decompress(data_files.pack_idx(data_files.digits(5)[0]))
HEADERS = st.tuples(
    st.sampled_from([0, 8, 9, 0xD]),
    st.integers(0, 4),
    st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 30), max_size=4),
).map(lambda h: bytes([0, 0, h[0], h[1]]) + b"".join(size.to_bytes(4, "big") for size in h[2]))


@stable
@given(
    st.one_of(MUTATIONS.map(lambda m: mutated(IDX, m)), st.builds(bytes.__add__, HEADERS, st.binary(max_size=60))),
    MUTATIONS,
)
def test_any_bytes_are_an_idx_file_or_are_refused(tmp_path, content, mutations):
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(mutated(gzip.compress(content), mutations))

    def read(ndim):
        array = idx.read(file, ndim)
        assert (array.dtype, array.ndim) == (np.uint8, ndim)
        assert array.size > 0

    for ndim in (1, 3):
        read_or_refused(tmp_path, lambda ndim=ndim: read(ndim))


def check_images(path):
    """Reads all images of a path, or is refused."""

    def read():
        for images in filter(None, open_images(str(path), ImageSpec(8, 3))):
            pixels = read_all(images)
            assert (pixels.dtype, pixels.shape) == (np.uint8, (images.num, 8, 8, 3))
            assert len(pixels) > 0

    read_or_refused(path, read)


SHAPES = st.one_of(
    npst.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4), st.just((2, 8, 8, 3)), st.just((3, 5, 9))
)
ARRAYS = st.one_of(
    st.one_of(npst.scalar_dtypes(), npst.array_dtypes(), st.just(np.dtype(np.uint8))).flatmap(
        lambda dtype: npst.arrays(dtype, SHAPES)
    ),
    st.lists(st.none(), max_size=2).map(lambda items: np.array(items, object)),
)


def save(function, file, *args, **arrays):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns that its version 1.16 cannot read some of these files
        function(file, *args, **arrays)


@slower
@given(ARRAYS, MUTATIONS)
def test_any_array_is_images_or_is_refused(tmp_path, array, mutations):
    packed = io.BytesIO()
    save(np.save, packed, array)
    for name in ("x.npy", "x.npz"):  # the second has the content of the first, and only the name of an archive
        (tmp_path / name).write_bytes(mutated(packed.getvalue(), mutations))
        check_images(tmp_path / name)


PARTS = st.sampled_from(["x_train", "y_train", "x_test", "y_test", "x", "../x"])
WHOLE = dict(zip(["x_train", "y_train", "x_test", "y_test"], 2 * data_files.photographs(3), strict=True))
ARCHIVES = st.dictionaries(PARTS, ARRAYS, max_size=2).flatmap(lambda some: st.sampled_from([some, {**WHOLE, **some}]))


@slower
@given(ARCHIVES, st.just([]) | MUTATIONS)
def test_any_archive_is_images_or_is_refused(tmp_path, arrays, mutations):
    packed = io.BytesIO()
    save(np.savez, packed, **arrays)
    file = tmp_path / "x.npz"
    file.write_bytes(mutated(packed.getvalue(), mutations))
    check_images(file)

    def read():
        data = read_labelled(str(file))
        assert len(data.train_images) == len(data.train_labels) > 0
        assert data.train_images.shape[1:] == data.test_images.shape[1:]

    read_or_refused(file, read)


class Payload:
    """An object that writes a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("it_ran"),))


@pytest.mark.parametrize("function", [np.save, np.savez])
@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_pickled_objects_are_refused_and_not_run(tmp_path, function, name):
    with (tmp_path / name).open("wb") as file:
        function(file, np.array([Payload()], object))
    with pytest.raises(ValueError, match=f"path is {tmp_path / name}; it cannot be read as an array"):
        open_images(str(tmp_path / name), ImageSpec(8, 3))
    assert not Path("it_ran").exists()


def pictures():
    """Yields a small picture in each format."""
    image = Image.fromarray(data_files.photographs(1)[0][0])
    for kind in ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"):
        packed = io.BytesIO()
        image.save(packed, kind, **({"exif": Image.Exif()} if kind in ("JPEG", "PNG") else {}))
        yield packed.getvalue()


PICTURES = st.builds(mutated, st.sampled_from(list(pictures())), MUTATIONS)


@stable
@given(st.one_of(PICTURES, st.binary(max_size=100)))
def test_any_bytes_are_a_picture_or_are_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    check_images(tmp_path)
